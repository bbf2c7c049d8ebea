"""Tool calls → GBNF, in every style."""
