"""GBNF itself: read, checked, followed through a text."""
