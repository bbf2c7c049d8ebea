"""JSON Schemas and tool lists become GBNF; GBNF is checked, matched and loaded."""

from llmgate.grammar.calls import compile_calls
from llmgate.grammar.check import check
from llmgate.grammar.closing import Closer
from llmgate.grammar.load import load
from llmgate.grammar.matcher import Matcher, Mismatch, begins, matches
from llmgate.grammar.schema import compile  # noqa: A004
from llmgate.grammar.values import CallShape, Grammar, Relaxed

__all__ = [
    "CallShape",
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
