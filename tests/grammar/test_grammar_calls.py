"""The grammars of bare JSON calls: each choice, and what may be written already."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from llmgate.errors import GrammarError
from llmgate.grammar import Matcher, check, compile_calls
from llmgate.styles import STYLES, Style
from llmgate.types import Tool

WEATHER = Tool(
    "weather",
    "Tells the weather.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
)
NOW = Tool("now")
GREET = Tool("grüße", "", {"properties": {"wen": {"enum": ["Jörg", "dich"]}}, "required": ["wen"]})
TOOLS = (WEATHER, NOW, GREET)
SHAPE = STYLES["json"]
CALL = {"function": "weather", "params": {"city": "Köln"}}


def matcher(tools: Any = TOOLS, shape: Style = SHAPE, **options: Any) -> Matcher:
    grammar = compile_calls(tools, shape, **options)
    check(grammar.text)
    return Matcher(grammar.text)


def forms(call: dict[str, Any]) -> list[str]:
    return [
        json.dumps(call, ensure_ascii=ascii_only, **style)
        for ascii_only in (True, False)
        for style in ({}, {"indent": 2}, {"separators": (",", ":")})
    ]


def test_a_required_call_is_one_call_and_nothing_else() -> None:
    calls = matcher(required=True)
    good = [
        CALL,
        {"function": "now", "params": {}},
        {"function": "grüße", "params": {"wen": "Jörg"}},
    ]
    for call in good:
        for form in forms(call):
            assert calls.matches(form), form
            assert calls.matches(f" {form}")
            assert calls.matches(f"\n{form}\n")
    bad: list[Any] = [
        {"function": "other", "params": {}},
        {"function": "now", "params": {"city": "x"}},
        {"function": "weather", "params": {}},
        {"function": "weather", "params": {"city": 5}},
        {"params": {"city": "x"}, "function": "weather"},
        {"function": "now"},
        {},
    ]
    for call in bad:
        assert not calls.matches(json.dumps(call)), call
    one = json.dumps(CALL)
    for text in ("", "Hello", f"{one}\n{one}", f"  {one}", f"{one}  ", f"Well: {one}", one[:-1]):
        assert not calls.matches(text), text


def test_a_named_call_is_of_that_tool() -> None:
    calls = matcher(required=True, name="weather")
    assert calls.matches(json.dumps(CALL))
    assert not calls.matches('{"function": "now", "params": {}}')


def test_parallel_calls_are_one_to_sixteen_apart_by_one_blank() -> None:
    calls, one = matcher(required=True, parallel=True), '{"function":"now","params":{}}'
    for count in (1, 2, 16):
        assert calls.matches("\n".join([one] * count))
        assert calls.matches(" ".join([one] * count))
    assert not calls.matches("\n".join([one] * 17))
    for between in ("", ",", ", ", "\n\n"):
        assert not calls.matches(between.join([one] * 2))


def test_without_compulsion_the_answer_is_a_call_or_text_that_does_not_begin_like_one() -> None:
    answers = matcher(required=False)
    for text in (
        json.dumps(CALL),
        f"\n{json.dumps(CALL)}\n",
        "",
        " ",
        "Hello",
        "  \n\n Grüße, 😀\n\n* one\n",
        'I say {"function": "now"} and [1]',
        "[1]",
    ):
        assert answers.matches(text), text
    for text in ("{", " \n{}", '{"function": "other"}', f"{json.dumps(CALL)} and more"):
        assert not answers.matches(text), text
    assert answers.accepts_prefix('{"function": "')
    assert not answers.accepts_prefix('{"name')


def test_without_compulsion_and_with_a_schema_the_answer_is_a_call_or_that() -> None:
    schema = {"properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    answers = matcher(required=False, schema=schema)
    assert answers.matches(json.dumps(CALL))
    assert answers.matches('\n{"sum": 3}')
    for text in ("", "Hello", '{"sum": "3"}', "{}"):
        assert not answers.matches(text), text


def test_without_tools_the_answer_is_text_or_the_schemas() -> None:
    assert matcher((), required=False).matches("Hello")
    assert matcher((), required=False, schema={"type": "null"}).matches("null")
    with pytest.raises(GrammarError, match="no tools"):
        compile_calls((), SHAPE, required=True)


def test_thoughts_inside_are_the_first_argument() -> None:
    calls = matcher(thoughts="inside", required=True)
    assert calls.matches('{"function": "now", "params": {"inner_thoughts": "Hm."}}')
    assert calls.matches(
        '{"function": "weather", "params": {"inner_thoughts": "\\"é\\"", "city": "x", "days": 1}}'
    )
    for params in ({}, {"city": "x"}, {"city": "x", "inner_thoughts": "y"}, {"inner_thoughts": 1}):
        assert not calls.matches(json.dumps({"function": "weather", "params": params}))


def test_thoughts_beside_stand_before_the_name() -> None:
    calls = matcher(thoughts="beside", required=True)
    assert calls.matches('{"inner_thoughts": "Hm.", "function": "now", "params": {}}')
    for text in ('{"function": "now", "params": {}}', '{"function": "now", "inner_thoughts": ""}'):
        assert not calls.matches(text)


def test_a_parameter_of_the_thoughts_name_is_the_tools_own() -> None:
    own = {"type": "object", "properties": {"inner_thoughts": {"type": "integer"}, "a": {}}}
    calls = matcher((Tool("t", "", own), NOW), required=True, thoughts="inside")
    assert calls.matches('{"function": "t", "params": {"inner_thoughts": 3}}')
    assert calls.matches('{"function": "t", "params": {}}')
    assert not calls.matches('{"function": "t", "params": {"inner_thoughts": "Hm."}}')
    assert not calls.matches('{"function": "now", "params": {}}')


def test_thoughts_before_the_name_are_bounded() -> None:
    calls = matcher(thoughts="beside", required=True)
    for length in (0, 1, 250, 500):
        thoughts = json.dumps("é" * length)
        assert calls.matches(f'{{"inner_thoughts": {thoughts}, "function": "now", "params": {{}}}}')
    assert not calls.accepts_prefix('{"inner_thoughts": "' + "x" * 501)


def test_thoughts_come_first_whatever_the_schema_says() -> None:
    thinking = {"thoughts": "inside", "thoughts_key": "why"}
    closed = {
        "$ref": "#/$defs/p",
        "$defs": {
            "p": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "why": {"type": "integer"}},
                "required": ["a"],
                "additionalProperties": False,
            }
        },
    }
    free = {"type": "object", "additionalProperties": {"type": "integer"}}
    either = {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    for parameters, params in (
        (closed, '{"why": "x", "a": 1}'),
        (free, '{"why": "x"}'),
        (free, '{"why": "x", "b": 2, "who": 1}'),
        (either, '{"why": "x", "b": []}'),
        ({}, '{"why": ""}'),
    ):
        calls = matcher((Tool("t", "", parameters),), required=True, **thinking)
        assert calls.matches(f'{{"function": "t", "params": {params}}}'), params
        assert not calls.matches('{"function": "t", "params": {"a": 1}}')
    twice = matcher((Tool("t", "", free),), required=True, **thinking)
    assert not twice.matches('{"function": "t", "params": {"why": "x", "why": 1}}')


def test_the_keys_of_a_call_are_the_shapes() -> None:
    shape = msgspec.structs.replace(SHAPE, function_key="name", arguments_key="arguments")
    calls = matcher(shape=shape, required=True)
    assert calls.matches('{"name": "now", "arguments": {}}')
    assert not calls.matches('{"function": "now", "params": {}}')


PREFILLS = [
    ("off", "{"),
    ("off", "\n{"),
    ("off", "{ "),
    ("off", "{\n  "),
    ("off", '{\n  "function":'),
    ("off", '{\n  "function": '),
    ("off", '{\n  "function": "'),
    ("off", '{\n  "function": "wea'),
    ("off", '{\n  "function": "weather",'),
    ("off", '{\n  "function": "weather",\n  "params": {'),
    ("inside", '{\n  "function": "weather",\n  "params": {\n    "inner_thoughts":'),
    ("inside", '{\n  "function": "weather",\n  "params": {\n    "inner_thoughts": "I'),
    ("beside", '{\n  "inner_thoughts":'),
    ("beside", '{\n  "inner_thoughts": "I think",\n  "func'),
]


@pytest.mark.parametrize(("thoughts", "prefill"), PREFILLS)
def test_the_grammar_goes_on_where_the_prefill_ends(thoughts: Any, prefill: str) -> None:
    whole = matcher(thoughts=thoughts, required=True)
    rest = matcher(thoughts=thoughts, required=True, prefill=prefill)
    call: dict[str, Any] = {"function": "weather", "params": {"city": "Köln"}}
    if thoughts == "inside":
        call["params"] = {"inner_thoughts": "I think", **call["params"]}
    if thoughts == "beside":
        call = {"inner_thoughts": "I think", **call}
    fitting = 0
    for form in [*forms(call), "\n" + json.dumps(call, indent=2), "{ " + json.dumps(call)[1:]]:
        for cut in range(len(form) + 1):
            if form[:cut] == prefill:
                assert whole.matches(form)
                assert rest.matches(form[cut:])
                assert not rest.matches(form[cut:-1])
                fitting += 1
        assert rest.accepts_prefix(form) == whole.accepts_prefix(prefill + form)
    mixed = prefill + json.dumps(call, indent=2)[len(prefill) :]
    assert whole.matches(mixed) == rest.matches(mixed[len(prefill) :])
    assert fitting or whole.matches(mixed)


def test_a_blank_may_follow_the_prefill_where_json_allows_one() -> None:
    rest = matcher(required=True, prefill='{\n  "function":')
    for text in (' "now", "params": {}}', '"now","params":{}}', ' "now",\n  "params": {}\n}'):
        assert rest.matches(text), text
    assert not rest.matches('{"function": "now", "params": {}}')


def test_a_prefill_makes_the_grammar_no_larger_with_the_number_of_tools() -> None:
    tools = [Tool(f"tool-{n}", "", WEATHER.parameters) for n in range(50)]
    grammar = compile_calls(tools, SHAPE, required=True, prefill="{")
    assert len(grammar.text) < 2 * len(compile_calls(tools, SHAPE, required=True).text) + 500


def test_a_prefill_that_no_call_begins_with_is_a_mistake_of_the_caller() -> None:
    for prefill in ("Hello", '{"name":', '{"function": "other"', '{ "function" :'):
        with pytest.raises(ValueError, match="does not fit"):
            compile_calls(TOOLS, SHAPE, required=True, prefill=prefill)


def test_what_tools_leave_to_the_validator_is_listed_by_their_names() -> None:
    odd = {"type": "string", "pattern": "(a)\\1"}
    tool = Tool("t", "", {"type": "object", "properties": {"a": odd}})
    answer = {"type": "array", "items": odd}
    grammar = compile_calls((tool, NOW), SHAPE, required=False, schema=answer)
    assert [(entry.path, entry.keyword) for entry in grammar.relaxed] == [
        ("tools/t/parameters/properties/a/pattern", "pattern"),
        ("schema/items/pattern", "pattern"),
    ]


def test_unusable_tools_are_refused_by_name() -> None:
    with pytest.raises(GrammarError, match="two tools have the name 'now'"):
        compile_calls((NOW, NOW), SHAPE, required=True)
    with pytest.raises(GrammarError, match="Did you mean 'weather'"):
        compile_calls(TOOLS, SHAPE, name="weathr", required=True)
    with pytest.raises(GrammarError, match=r"tool 't'.*object.*'string'"):
        compile_calls((Tool("t", "", {"type": "string"}),), SHAPE, required=True)
    broken = Tool("t", "", {"type": "object", "properties": {"a": {"type": "dict"}}})
    with pytest.raises(GrammarError, match="tools/t/parameters/properties/a/type"):
        compile_calls((broken,), SHAPE, required=True)


def test_a_tool_without_parameters_takes_none_and_one_without_properties_takes_any() -> None:
    nothing = matcher((Tool("t", "", {"type": "object", "properties": {}}),), required=True)
    assert nothing.matches('{"function": "t", "params": {}}')
    assert not nothing.matches('{"function": "t", "params": {"a": 1}}')
    anything = matcher((Tool("t", "", {"type": "object"}),), required=True)
    assert anything.matches('{"function": "t", "params": {"a": 1}}')
