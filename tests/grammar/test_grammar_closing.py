"""From anywhere in an answer, the shortest ending completes it."""

from __future__ import annotations

import json

import pytest

from llmgate import grammar
from llmgate.styles import STYLES
from llmgate.types import Tool, ToolCall
from llmgate.wrappers.writing import write_calls

TOOLS = (
    Tool(
        "plan",
        "",
        {
            "type": "object",
            "properties": {
                "title": {"type": "string"},
                "level": {"enum": ["low", "high"]},
                "when": {"type": "string", "format": "date"},
                "steps": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "properties": {"n": {"type": "integer"}, "é": {"type": "boolean"}},
                        "required": ["n", "é"],
                    },
                },
            },
            "required": ["title", "level", "steps"],
        },
    ),
    Tool("stop"),
)
CALLS = grammar.compile_calls(TOOLS, STYLES["json"], required=True)
MATCHER = grammar.Matcher(CALLS.text)
ARGUMENTS = {
    "title": 'Grüße "an" \\ alle 😀',
    "level": "high",
    "when": "2026-11-21",
    "steps": [{"n": 12, "é": True}, {"n": -3, "é": False}],
}
CALL = {"function": "plan", "params": ARGUMENTS}


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("indent", [None, 2])
def test_every_prefix_of_a_call_can_be_completed(ascii_only, indent):
    text = json.dumps(CALL, ensure_ascii=ascii_only, indent=indent)
    closer = grammar.Closer(CALLS.text)
    for at in range(len(text)):
        assert MATCHER.matches(text[:at] + closer.ending)
        closer.feed(text[at])
    assert closer.ending == ""


def test_the_ending_is_the_shortest():
    closer = grammar.Closer(CALLS.text)
    closer.feed('{"function": "plan", "params": {"title": "x')
    assert json.loads('{"function": "plan", "params": {"title": "x' + closer.ending) == {
        "function": "plan",
        "params": {"title": "x", "level": "low", "steps": [{"n": 0, "é": True}]},
    }


def test_a_text_that_does_not_fit_has_no_ending():
    closer = grammar.Closer(CALLS.text)
    closer.feed('{"name')
    assert closer.ending is None


def test_free_text_may_end_anywhere():
    free = grammar.compile_calls(TOOLS, STYLES["json"], required=False)
    closer = grammar.Closer(free.text)
    closer.feed("I think")
    assert closer.ending == ""


@pytest.mark.parametrize("style", STYLES.values(), ids=lambda style: style.name)
def test_a_call_in_any_style_is_ended(style):
    text = grammar.compile_calls(TOOLS, style, required=True).text
    call = ToolCall("call00001", "plan", json.dumps(ARGUMENTS, ensure_ascii=False))
    written = write_calls(style, [call], {tool.name: tool.parameters for tool in TOOLS})
    matcher, closer = grammar.Matcher(text), grammar.Closer(text)
    for at in range(len(written)):
        if at % 7 == 0:
            assert matcher.matches(written[:at] + closer.ending), written[:at]
        closer.feed(written[at])
    assert closer.ending == ""


def test_the_way_out_of_a_loop_is_found():
    rules = 'root ::= a | "xxxxxx"\na ::= "a" b | [^a] a\nb ::= "b" a | "c" c\n'
    closer = grammar.Closer(rules + 'c ::= "d" | c2\nc2 ::= "" "e" c')
    assert closer.ending == "acd"
    closer.feed("zzab")
    assert closer.ending == "acd"


def test_many_rules_are_no_burden():
    rules = [f'r{n} ::= "a" r{n + 1} | "b" r{n + 1} "c"' for n in range(3_000)]
    closer = grammar.Closer("root ::= r0\n" + "\n".join(rules) + '\nr3000 ::= "end"')
    closer.feed("b" * 1_500)
    assert closer.ending == "a" * 1_500 + "end" + "c" * 1_500
