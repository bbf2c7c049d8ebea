"""JSON Schemas and tool lists become GBNF; GBNF is checked, matched and loaded."""

from llmgate.grammar.calls.answers import compile_calls
from llmgate.grammar.gbnf.check import check
from llmgate.grammar.gbnf.closing import Closer
from llmgate.grammar.gbnf.matcher import Matcher, Mismatch, begins, matches
from llmgate.grammar.load import load
from llmgate.grammar.schema.compiler import compile  # noqa: A004
from llmgate.grammar.values import Grammar, Relaxed

__all__ = [
    "Closer",
    "Grammar",
    "Matcher",
    "Mismatch",
    "Relaxed",
    "begins",
    "check",
    "compile",
    "compile_calls",
    "load",
    "matches",
]
