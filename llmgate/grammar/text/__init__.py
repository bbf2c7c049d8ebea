"""Regular languages of strings: patterns, formats and lengths, and how they are written as GBNF."""
