"""JSON Schema → GBNF, keyword by keyword."""
