"""Calls are written as models write them, and what a style can't carry is said."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from styled import RAW, call_of, canonical, keys, one_call, scanned, typed_calls

from llmgate.styles import STYLES, style
from llmgate.types import ToolCall
from llmgate.wrappers.writing import unwritable, write_calls

SCHEMAS = {
    "get_weather": {
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "note": {"type": ["string", "null"]},
        }
    }
}
CALL = call_of("get_weather", {"city": "Paris", "days": 3})

# As the models' own chat templates write the call twice; ids, where they add any, left out.
WRITTEN = {
    "hermes": (
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}\n'
        "</tool_call>\n"
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}\n'
        "</tool_call>"
    ),
    "mistral": (
        '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}, '
        '{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}]'
    ),
    "mistral-named": (
        '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris", "days": 3}'
        '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris", "days": 3}'
    ),
    "functionary-v3.2": (
        '>>>get_weather\n{"city": "Paris", "days": 3}>>>get_weather\n{"city": "Paris", "days": 3}'
    ),
    "lfm2": (
        "<|tool_call_start|>[get_weather(city='Paris', days=3), "
        "get_weather(city='Paris', days=3)]<|tool_call_end|>"
    ),
    "qwen-coder": "\n".join(
        [
            "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
            "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>"
        ]
        * 2
    ),
    "glm": "\n".join(
        [
            "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n"
            "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>"
        ]
        * 2
    ),
    "deepseek-v3.1": (
        "<｜tool▁calls▁begin｜>"
        '<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris", "days": 3}'
        "<｜tool▁call▁end｜>"
        '<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris", "days": 3}'
        "<｜tool▁call▁end｜>"
        "<｜tool▁calls▁end｜>"
    ),
    "kimi-k2": (
        "<|tool_calls_section_begin|>"
        "<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
        '{"city": "Paris", "days": 3}<|tool_call_end|>'
        "<|tool_call_begin|>functions.get_weather:1<|tool_call_argument_begin|>"
        '{"city": "Paris", "days": 3}<|tool_call_end|><|tool_calls_section_end|>'
    ),
    "kimi-k3": (
        '<|open|>tools<|sep|><|open|>call tool="get_weather" index="1"<|sep|>'
        '<|open|>argument key="city" type="string"<|sep|>Paris<|close|>argument<|sep|>'
        '<|open|>argument key="days" type="number"<|sep|>3<|close|>argument<|sep|>'
        '<|close|>call<|sep|><|open|>call tool="get_weather" index="2"<|sep|>'
        '<|open|>argument key="city" type="string"<|sep|>Paris<|close|>argument<|sep|>'
        '<|open|>argument key="days" type="number"<|sep|>3<|close|>argument<|sep|>'
        "<|close|>call<|sep|><|close|>tools<|sep|>"
    ),
    "apertus": (
        '<|tools_prefix|>[{"get_weather": {"city": "Paris", "days": 3}}, '
        '{"get_weather": {"city": "Paris", "days": 3}}]<|tools_suffix|>'
    ),
    "gemma": (
        '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:3}<tool_call|>'
        '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:3}<tool_call|>'
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_calls_are_written_as_the_models_templates_do(name):
    assert write_calls(style(name), [CALL, CALL], SCHEMAS) == WRITTEN[name]


def test_json_arguments_are_written_to_the_letter():
    raw = '{ "city":"P\\u0061ris",\n\t"days" : 3.0e0 }'
    call = ToolCall("call00001", "get_weather", raw)
    for own in STYLES.values():
        if own.arguments == "json" and not own.bare:
            assert raw in write_calls(own, [call], SCHEMAS)


def test_a_bare_call_is_indented_or_on_one_line():
    own = style("json")
    assert write_calls(own, [CALL], SCHEMAS) == (
        '{"function": "get_weather", "params": {"city": "Paris", "days": 3}}'
    )
    assert write_calls(own, [CALL], SCHEMAS, indent=2) == (
        '{\n  "function": "get_weather",\n  "params": {\n'
        '    "city": "Paris",\n    "days": 3\n  }\n}'
    )


@pytest.mark.parametrize(
    ("name", "place", "written"),
    [
        ("llama3", "inside", '"parameters": {"inner_thoughts": "hm", "city": "Paris", "days": 3}}'),
        (
            "llama3",
            "beside",
            '{"inner_thoughts": "hm", "name": "get_weather", "parameters": {"city"',
        ),
        ("apertus", "inside", '{"get_weather": {"inner_thoughts": "hm", "city"'),
        ("pythonic", "inside", "[get_weather(inner_thoughts='hm', city='Paris'"),
        ("gemma", "inside", '{inner_thoughts:<|"|>hm<|"|>,city:'),
        ("seed", "inside", "<parameter=inner_thoughts>hm</parameter>\n<parameter=city>"),
        ("seed", "beside", "hm\n<seed:tool_call>"),
    ],
)
def test_thoughts_come_first(name, place, written):
    assert written in write_calls(style(name), [CALL], SCHEMAS, thoughts="hm", place=place)


def test_thoughts_are_the_first_calls():
    text = write_calls(style("llama3"), [CALL, CALL], SCHEMAS, thoughts="hm", place="inside")
    assert text.count('{"inner_thoughts": "hm", ') == 1
    assert text.count('{"inner_thoughts": "", ') == 1


def test_thoughts_never_take_the_place_of_a_parameter():
    call = call_of("f", {"inner_thoughts": "mine"})
    schemas = {"f": {"properties": {"inner_thoughts": {"type": "string"}}}}
    text = write_calls(style("hermes"), [call], schemas, thoughts="hm", place="inside")
    assert text.startswith("hm\n<tool_call>")
    assert '"arguments": {"inner_thoughts": "mine"}' in text


@pytest.mark.parametrize("arguments", ["[1]", "5", "null"])
@pytest.mark.parametrize("name", ["hermes", "glm", "pythonic", "gemma"])
def test_arguments_that_are_no_object_are_an_error(name, arguments):
    with pytest.raises(ValueError, match="'f' are no JSON object"):
        write_calls(style(name), [ToolCall("c", "f", arguments)], {})


@pytest.mark.parametrize("name", STYLES)
def test_empty_arguments_are_an_empty_object(name):
    own = style(name)
    text = one_call(own, ToolCall("c", "f", ""), {})
    assert scanned(own, text)[0]["arguments"] == "{}"


# What can't be carried.


@settings(max_examples=50)
@given(pair=typed_calls())
def test_every_call_can_be_written_in_every_style(pair):
    call, schema = pair
    marks = [own.parameter[2].strip() for own in RAW if own.parameter[2]]
    assert not any(mark in call.arguments for mark in marks)
    for own in STYLES.values():
        assert unwritable(own, call, {call.name: schema}) == ""


@pytest.mark.parametrize("own", RAW, ids=lambda own: own.name)
def test_a_raw_string_that_holds_the_mark_which_ends_it_is_said_to_be_lost(own):
    mark = own.parameter[2].strip() or '<|"|>'
    call = call_of("get_weather", {"city": f"a {mark} b"})
    lost = unwritable(own, call, SCHEMAS)
    if own.cdata:
        assert lost == ""
    else:
        assert lost.startswith(f"the style {own.name!r} can't carry")


@pytest.mark.parametrize(
    "own", [own for own in RAW if own.arguments == "parameters"], ids=lambda own: own.name
)
def test_such_a_mark_is_carried_wherever_there_is_json(own):
    mark = own.parameter[2].strip()
    call = call_of("get_weather", {"tags": [f"a {mark} b", {mark: mark}], "days": 3})
    assert unwritable(own, call, SCHEMAS) == ""
    if "{" not in own.parameter[1]:  # it does not matter that the schema allows a string
        call = call_of("get_weather", {"note": f"a {mark} b", "other": mark})
        assert unwritable(own, call, SCHEMAS) == ""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("qwen-coder", {"city": 5}),
        ("qwen-coder", {"a>b": 5}),
        ("pythonic", {"a b": 5}),
        ("pythonic", {"a=b": 5}),
        ("gemma", {'<|"|>': 5}),
        ("glm", {" padded ": 5}),
    ],
)
def test_values_and_keys_that_would_be_misread_are_said_to_be_lost(name, arguments):
    assert unwritable(style(name), call_of("get_weather", arguments), SCHEMAS) != ""


def test_a_name_that_would_be_misread_is_said_to_be_lost():
    for name in ("glm", "pythonic", "harmony"):
        assert unwritable(style(name), call_of("two words", {"a": 1}), {}) != ""
    assert unwritable(style("hermes"), call_of("two words", {"a": 1}), {}) == ""


@given(
    arguments=st.dictionaries(keys | st.text(), st.text() | st.integers()),
    name=st.sampled_from([own.name for own in RAW] + ["pythonic", "lfm2"]),
)
def test_what_is_not_said_to_be_lost_comes_back(arguments, name):
    call = call_of("f", arguments)
    if not unwritable(style(name), call, {}):
        parts, scanner, _ = scanned(style(name), one_call(style(name), call))
        assert scanner.done
        assert canonical(json.loads(parts["arguments"])) == canonical(arguments)


@pytest.mark.parametrize("name", STYLES)
def test_several_calls_stand_one_after_the_other(name):
    own = style(name)
    calls = [call_of("f", {"city": f"<{n}>\n", "n": n}) for n in range(3)]
    text = write_calls(own, calls, SCHEMAS).removeprefix(own.open)
    for number, call in enumerate(calls):
        parts, scanner, error = scanned(own, text, SCHEMAS)
        assert (error, scanner.done, parts["name"]) == (None, True, "f")
        assert json.loads(parts["arguments"]) == json.loads(call.arguments)
        between = own.between if number < 2 else own.close
        assert scanner.rest.startswith(between)
        text = scanner.rest[len(between) :]
    assert text == ""
