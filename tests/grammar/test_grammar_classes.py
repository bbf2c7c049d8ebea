"""No class leaves out characters of several bytes: llama.cpp would refuse others with them.

Where tokens split a character, llama.cpp compares its first byte with what a negated class leaves
out, and refuses it as soon as anything left out begins with that byte.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgate import resources
from llmgate.grammar import Matcher, compile, compile_calls, load  # noqa: A004
from llmgate.grammar.gbnf.program import Chars, Program
from llmgate.grammar.text import charsets
from llmgate.grammar.text.spelling import bracket
from llmgate.styles import STYLES
from llmgate.types import Tool

SCHEMAS: list[Any] = [
    {"type": "string", "pattern": pattern}
    for pattern in (
        ".",
        "^.+$",
        "^\\S+$",
        "[^é]",
        "^[^\\u2028]*x",
        "\\W",
        "a.b|c\\D",
        "^[^ü-ÿ]{2,9}$",
    )
]
SCHEMAS += [
    {"type": "string", "format": name}
    for name in (
        "uri",
        "iri",
        "email",
        "idn-email",
        "hostname",
        "regex",
        "uri-template",
        "date-time",
    )
]
SCHEMAS += [
    {"properties": {"ä": {"type": "string"}, "äh": {}, "😀": {}, "z": {}}},
    {"patternProperties": {"^é": {"type": "integer"}, "[^a]$": True}, "properties": {"é1": {}}},
    {"propertyNames": {"pattern": "^\\S*$", "not": {"const": "ß"}}},
    {"type": "string", "not": {"enum": ["ß", "s", "ſ"]}},
    {"type": "string", "not": {"pattern": "[à-ÿ]"}, "minLength": 2, "maxLength": 5},
]
TOOL = Tool(
    name="look",
    parameters={
        "type": "object",
        "properties": {
            "text": {"type": "string", "pattern": "^\\S.*$"},
            "short": {"type": "string", "maxLength": 12},
            "é": {"type": "object", "properties": {"ü": {"not": {"const": "ö"}}}},
            "free": {"type": "string"},
        },
    },
)


def splitting(grammar: str) -> list[str]:
    """The classes that leave out characters of several bytes."""
    return [
        symbol.source
        for ways in Program().read(grammar).productions
        for way in ways or ()
        for symbol in way
        if isinstance(symbol, Chars) and symbol.negated
        if any(high >= 0x80 for _, high in symbol.ranges)
    ]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_no_schema_makes_a_class_that_splits_characters(schema: Any) -> None:
    assert splitting(compile(schema).text) == []


@pytest.mark.parametrize("style", STYLES.values(), ids=lambda style: style.name)
def test_no_style_makes_a_class_that_splits_characters(style: Any) -> None:
    for required in (True, False):
        grammar = compile_calls([TOOL], style, required=required, thoughts="inside").text
        assert splitting(grammar) == []


def test_no_shipped_grammar_has_a_class_that_splits_characters() -> None:
    assert [splitting(load(name).text) for name in resources.names("grammars")] == [
        [] for _ in resources.names("grammars")
    ]


CODES = st.integers(0, 0x10FFFF) | st.sampled_from([0x7F, 0x80, 0xD7FF, 0xE000, 0x2028, 0x10FFFF])


@given(st.lists(st.tuples(CODES, CODES).map(sorted), max_size=5), st.booleans())
@settings(deadline=None)
def test_a_class_has_just_its_characters(pairs: list[list[int]], negated: bool) -> None:
    ranges = charsets.union([((low, high),) for low, high in pairs])
    if negated:
        ranges = charsets.complement(ranges)
    text = bracket(charsets.without(ranges, charsets.SURROGATES))
    if text is None:
        return
    grammar = f"root ::= {text}\n"
    assert splitting(grammar) == []
    matcher = Matcher(grammar)
    edges = {code + by for pair in ranges for code in pair for by in (-1, 0, 1)}
    for code in edges | {0x20, 0xE9, 0x4E00, 0x1F600}:
        if 0 <= code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF:
            assert matcher.matches(chr(code)) == charsets.has(ranges, code), code
