"""From anywhere in an answer, the shortest ending completes it."""

from __future__ import annotations

import json

import pytest

from llmgate import grammar
from llmgate.types import Tool

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
CALLS = grammar.compile_calls(TOOLS, grammar.CallShape(), required=True)
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
    free = grammar.compile_calls(TOOLS, grammar.CallShape(), required=False)
    closer = grammar.Closer(free.text)
    closer.feed("I think")
    assert closer.ending == ""
