"""Tool grammars in every style: what its writer writes fits, and what fits is read as a call."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from grammar_walk import Walker

from llmgate.grammar import Grammar, Matcher, check, compile_calls
from llmgate.styles import STYLES, Style
from llmgate.types import Completion, Tool, ToolCall
from llmgate.validation import Checker
from llmgate.wrappers.answers import Task
from llmgate.wrappers.reader import Reader
from llmgate.wrappers.tools import Toolset
from llmgate.wrappers.writing import write_calls

WEATHER = Tool(
    "weather",
    "",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
            "unit": {"enum": ["c", "f", None]},
            "when": {"type": "string", "format": "date"},
            "code": {"type": "string", "pattern": "^[A-Z]{2}/[0-9]+$"},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 5}},
            "options": {
                "type": "object",
                "properties": {"exact": {"type": "boolean"}, "ratio": {"type": "number"}},
            },
        },
        "required": ["city"],
    },
)
NOW = Tool("now")
NOTE = Tool(
    "set_note",
    "",
    {
        "type": "object",
        "properties": {
            "text": {"type": ["string", "null"]},
            "rank": {
                "anyOf": [{"type": "string", "maxLength": 40}, {"type": "integer", "minimum": 5}]
            },
            "short": {"type": "string", "minLength": 2, "maxLength": 300},
        },
        "required": ["text", "rank"],
    },
)
TOOLS = (WEATHER, NOW, NOTE)
SCHEMAS = {tool.name: tool.parameters for tool in TOOLS}
ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("weather", {"city": "Köln"}),
    (
        "weather",
        {
            "city": 'a < b\n> "c" \\ it\'s 😀',
            "days": 3,
            "unit": None,
            "when": "2024-02-29",
            "code": "AB/12",
            "tags": ["a", "b<c", ""],
            "options": {"exact": True, "ratio": 1.5},
        },
    ),
    ("weather", {"city": "", "unit": "c", "tags": [], "options": {}}),
    ("now", {}),
    ("set_note", {"text": None, "rank": 7}),
    ("set_note", {"text": "null, he said </p>", "rank": "x", "short": "I < you </b>"}),
]
CALLS = [
    ToolCall(f"call0000{number}", name, json.dumps(arguments, ensure_ascii=False))
    for number, (name, arguments) in enumerate(ARGUMENTS)
]
THINK = (("<think>", "</think>"),)
every_style = pytest.mark.parametrize("style", STYLES.values(), ids=lambda style: style.name)
every_place = pytest.mark.parametrize("place", ["off", "inside", "beside"])


def compiled(style: Style, tools: tuple[Tool, ...] = TOOLS, **options: Any) -> Grammar:
    grammar = compile_calls(tools, style, **options)
    check(grammar.text)
    return grammar


def read(style: Style, text: str, *, required: bool = True, **options: Any) -> Completion:
    """What a reader that trusts the grammar makes of a text."""
    task = Task(style=style, tools=Toolset(TOOLS), must_call=required, live=True, **options)
    reader = Reader(task)
    return Completion.fold([*reader.feed(text), *reader.finish("stop")])


@every_style
@every_place
def test_what_the_writer_writes_fits(style: Style, place: Any) -> None:
    thoughts = 'Let me see: "ok"?' if place != "off" else ""
    one = Matcher(compiled(style, required=True, thoughts=place).text)
    many = Matcher(compiled(style, required=True, parallel=True, thoughts=place).text)
    auto = Matcher(compiled(style, required=False, parallel=True, thoughts=place).text)
    for call in CALLS:
        text = write_calls(style, [call], SCHEMAS, thoughts=thoughts, place=place)
        assert one.matches(text), one.mismatch(text)
        assert many.matches(text)
        if place == "off" or style.head == "object":
            assert auto.matches(text), auto.mismatch(text)
        for damaged in (text[:-4], text.replace(call.name, "other", 1), f"{text}x"):
            assert not one.matches(damaged), damaged
    text = write_calls(style, CALLS, SCHEMAS, thoughts=thoughts, place=place)
    assert many.matches(text), many.mismatch(text)
    assert not one.matches(text)


@every_style
def test_a_named_call_is_of_that_tool_in_every_style(style: Style) -> None:
    now = Matcher(compiled(style, required=True, name="now").text)
    for call in CALLS:
        assert now.matches(write_calls(style, [call], SCHEMAS)) == (call.name == "now")


@every_style
@every_place
@pytest.mark.parametrize("parallel", [False, True])
def test_whatever_fits_is_read_as_valid_calls(style: Style, place: Any, parallel: bool) -> None:
    grammar = compiled(style, required=True, parallel=parallel, thoughts=place)
    assert grammar.exact
    walker, matcher, random = Walker(grammar.text, 40), Matcher(grammar.text), Random(1)
    for _ in range(4):
        text = walker.walk(random)
        assert matcher.matches(text)
        answer = read(style, text, thoughts=place, parallel=parallel)
        assert answer.notes == (), text
        assert answer.finish == "tool_calls"
        calls = answer.message.tool_calls
        assert 1 <= len(calls) <= (16 if parallel else 1)
        for call in calls:
            checker = Checker.of(SCHEMAS[call.name] or {"type": "object"}, param="tools")
            assert checker.problems(json.loads(call.arguments)) == [], text


@every_style
def test_thoughts_between_marks_come_before_the_call(style: Style) -> None:
    pairs = (*style.reasoning, *THINK)
    for open_, close in pairs:
        required = Matcher(compiled(style, required=True, reasoning=pairs).text)
        call = write_calls(style, CALLS[:1], SCHEMAS)
        text = f"{open_}I should {style.opener} look </th it{close}\n\n{call}"
        assert required.matches(call)
        assert required.matches(text), required.mismatch(text)
        assert not required.matches(f"{open_}I should look{call}")
        answer = read(style, text, reasoning=pairs)
        assert answer.message.reasoning == f"I should {style.opener} look </th it"
        opened = compiled(style, required=True, reasoning=pairs, opened=close)
        assert Matcher(opened.text).matches(text.removeprefix(open_))
        assert not Matcher(opened.text).matches(call)


@every_style
def test_what_is_free_but_for_calls_is_read_without_a_fault(style: Style) -> None:
    """Texts made of the pieces of marks, so that they come close to calls."""
    grammar = compiled(style, required=False, parallel=True)
    matcher, random = Matcher(grammar.text), Random(5)
    call = write_calls(style, [CALLS[3]], SCHEMAS)
    marks = [style.open, style.begin, style.middle, style.end, style.close, style.between]
    marks += [*style.opens, *style.begins, *style.skip]
    marks = [mark for mark in marks if mark]
    pieces = [
        *marks,
        *(mark.strip() for mark in marks),
        *(mark[: len(mark) // 2] for mark in marks),
    ]
    pieces += [*"()[]{}\n \"'`é", "now", "weather", "\n\n", "<think>", "</think>", call, call, "{}"]
    frames = [mark for pair in style.frames for mark in pair if mark]
    fitting = 0
    for _ in range(300):
        text = "".join(random.choices([*pieces, *frames], k=random.randint(1, 6)))
        if frames and random.random() < 0.8:
            text = style.frames[0][0] + text
        if random.random() < 0.3:
            text += call
        if matcher.matches(text):
            fitting += 1
            answer = read(style, text, required=False, parallel=True)
            assert all(note.code != "dropped" for note in answer.notes), text
    assert fitting > 30


@every_style
def test_a_text_may_become_a_call(style: Style) -> None:
    auto = Matcher(compiled(style, required=False).text)
    frame = style.frames[0][0] if style.frames else ""
    for text in ("Hello.", "It's 3 < 4 > 2 [1] (2) {x}\n\n* ünï 😀\n"):
        assert auto.matches(frame + text), text
    if style.bare:
        return
    call = write_calls(style, CALLS[:1], SCHEMAS)
    words = f"{frame}Let me look.\n"
    assert auto.matches(words + call), auto.mismatch(words + call)
    assert not auto.matches(words + call.replace("city", "town"))
    assert not auto.matches(f"{words}{call} and more")
    answer = read(style, words + call, required=False)
    assert [one.name for one in answer.message.tool_calls] == ["weather"]
    assert (answer.message.content or "").strip() == "Let me look."


@every_style
def test_an_answer_with_a_schema_is_that_or_a_call(style: Style) -> None:
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    auto = Matcher(compiled(style, required=False, schema=schema).text)
    frame = style.frames[0] if style.frames else ("", "")
    assert auto.matches(f'{frame[0]}{{"sum": 3}}{frame[1]}')
    assert not auto.matches(f'{frame[0]}{{"sum": "3"}}{frame[1]}')
    assert not auto.matches(f"{frame[0]}Hello{frame[1]}")
    assert auto.matches(write_calls(style, CALLS[:1], SCHEMAS))


@every_style
def test_a_lazy_grammar_begins_with_the_first_mark(style: Style) -> None:
    lazy = Matcher(compiled(style, required=False, lazy=True).text)
    call = write_calls(style, CALLS[:1], SCHEMAS)
    assert lazy.matches(call)
    assert not lazy.accepts_prefix("Hello")
    assert not lazy.matches(call + call)


@every_style
def test_a_style_goes_on_behind_a_prefill(style: Style) -> None:
    call = write_calls(style, CALLS[:1], SCHEMAS)
    for required in (True, False):
        for end in (1, len(style.open + style.begin), len(call) // 2):
            if end:
                rest = compiled(style, required=required, prefill=call[:end])
                assert Matcher(rest.text).matches(call[end:]), call[:end]


@every_style
def test_grammars_stay_small(style: Style) -> None:
    tools = tuple(Tool(f"tool_{number}", "", WEATHER.parameters) for number in range(8))
    assert len(compiled(style, tools, required=True).text) < 16_000
    assert len(compiled(style, tools, required=False, parallel=True).text) < 64_000
