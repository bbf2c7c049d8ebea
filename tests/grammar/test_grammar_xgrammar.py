"""Grammars for vLLM and SGLang: what they are rewritten to means the same, there too."""

from __future__ import annotations

import importlib.util
from importlib.metadata import version
from random import Random
from typing import Any

import pytest
from grammar_walk import Walker
from test_grammar_check import GOOD
from test_grammar_compile import EXACT, RELAXED
from test_grammar_styles import CALLS, SCHEMAS, THINK, compiled

from llmgate import resources
from llmgate.errors import GrammarError
from llmgate.grammar import Matcher, check, compile, load  # noqa: A004
from llmgate.grammar.gbnf.xgrammar import to_xgrammar
from llmgate.styles import STYLES
from llmgate.wrappers.writing import write_calls

OPTIONS: tuple[dict[str, Any], ...] = (
    {"required": True},
    {"required": True, "parallel": True, "thoughts": "inside"},
    {"required": True, "thoughts": "beside", "reasoning": THINK},
    {"required": False, "parallel": True},
)
# Texts of a few grammars are as long as a book.
_LONGEST = 1_500
Cases = list[tuple[str, list[str]]]


def of_styles(some: slice = slice(None)) -> Cases:
    """Grammars of all styles, each with texts that fit and texts that do not."""
    random, found = Random(2), []
    for number, style in list(enumerate(STYLES.values()))[some]:
        grammar = compiled(style, **OPTIONS[number % len(OPTIONS)]).text
        texts = [Walker(grammar, 30).walk(random)]
        texts += [write_calls(style, CALLS[1:2], SCHEMAS), "Hello", "[1]", ""]
        texts += [texts[0][:-3], texts[1].replace("weather", "wether")]
        found.append((grammar, texts))
    return found


def of_schemas(some: slice = slice(None)) -> Cases:
    """Grammars of schemas and the shipped ones, with texts that fit and their beginnings."""
    random, found = Random(3), []
    grammars = [compile(schema).text for schema, _, _ in (*EXACT, *RELAXED)[some]]
    for grammar in (*grammars, *(load(name).text for name in resources.names("grammars"))):
        text = Walker(grammar, 20).walk(random)
        texts = [text, text[:-1], text + " x", "{}", "null"]
        found.append((grammar, [text for text in texts if len(text) < _LONGEST]))
    return found


@pytest.mark.parametrize(
    ("grammar", "expected"),
    [
        ('root ::= "a"', 'root ::= "a"\n'),
        ("root ::= true\ntrue ::= [a-c-]", "root ::= g-true\ng-true ::= [a-c\\u002d]\n"),
        ("root ::= | 1x\n1x ::= (|[^\\x00])", 'root ::= "" | g-1x\ng-1x ::= ( "" | [^\\u0000] )\n'),
        ('root ::= "a"*? # why\n', 'root ::= ( "a"* )?\n'),
        ('root ::= ("a"\n b | .){2, 3}\nb ::= ""', None),
        ('root ::= "\\x41BC\\U0001F600é\\""', 'root ::= "ABC\\U0001f600\\u00e9\\u0022"\n'),
    ],
)
def test_what_is_gbnfs_alone_is_rewritten(grammar, expected):
    if expected is None:
        expected = 'root ::= ( "a" g-b | [\\u0000-\\U0010ffff] ){2,3}\ng-b ::= ""\n'
    assert to_xgrammar(grammar) == expected


def test_a_grammar_that_is_none_is_refused():
    with pytest.raises(GrammarError):
        to_xgrammar("root ::= nothing")


def test_what_is_written_is_a_grammar_of_the_same_texts():
    for grammar, texts in of_styles(slice(0, None, 5)) + of_schemas(slice(0, None, 9)):
        rewritten = to_xgrammar(grammar)
        check(rewritten)
        before, after = Matcher(grammar), Matcher(rewritten)
        assert [after.matches(text) for text in texts] == [before.matches(text) for text in texts]


def _xgrammar() -> Any:
    # It needs torch, too: whoever has both may see whether it agrees.
    if importlib.util.find_spec("xgrammar") is None:
        pytest.skip("xgrammar is not installed")
    if version("xgrammar").startswith("0.1."):
        pytest.skip("versions of xgrammar before 0.2 read some grammars otherwise")
    return pytest.importorskip("xgrammar.testing", exc_type=ImportError)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("source", [of_styles, of_schemas])
def test_xgrammar_takes_the_grammars_and_matches_as_we_do(source):
    testing = _xgrammar()
    for grammar, texts in source():
        taken = testing.Grammar.from_ebnf(to_xgrammar(grammar))
        matcher = Matcher(grammar)
        for text in texts:
            accepted = testing._is_grammar_accept_string(taken, text)
            assert accepted == matcher.matches(text), (text, grammar)


@pytest.mark.filterwarnings("default")
def test_xgrammar_takes_whatever_is_a_grammar():
    testing = _xgrammar()
    for grammar, good, bad in GOOD:
        taken = testing.Grammar.from_ebnf(to_xgrammar(grammar))
        for text, fits in [*((text, True) for text in good), *((text, False) for text in bad)]:
            assert testing._is_grammar_accept_string(taken, text) == fits, (text, grammar)
