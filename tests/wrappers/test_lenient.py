"""Damaged calls are read as far as they are certain: mended and noted, cut and said so."""

from __future__ import annotations

import pytest
from styled import call_of

from llmgate.errors import OutputError
from llmgate.styles import STYLES, style
from llmgate.wrappers.lenient import read_calls
from llmgate.wrappers.writing import write_calls

SCHEMAS = {
    "get_weather": {
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "tags": {"type": "array"},
            "where": {"type": "object"},
            "exact": {"type": "boolean"},
        }
    },
    "other": {"properties": {"q": {"type": "string"}}},
}
ARGUMENTS = {
    "city": 'Köln, "am" Rhein\nx',
    "days": 12,
    "tags": ["a", "b"],
    "where": {"lat": 1.5},
    "exact": True,
}
CALLS = [call_of("get_weather", ARGUMENTS), call_of("other", {"q": "z"})]
every_style = pytest.mark.parametrize("name", STYLES)


def read(name, text, **how):
    return read_calls(text, style(name), how.pop("schemas", SCHEMAS), **how)


def said(calls):
    return [(call.name, call.arguments, call.thoughts) for call in calls]


@every_style
def test_sound_calls_are_read_without_a_note(name):
    calls = read(name, write_calls(style(name), CALLS, SCHEMAS))
    assert said(calls) == [("get_weather", ARGUMENTS, ""), ("other", {"q": "z"}, "")]
    assert all(call.notes == () and call.cut == "no" for call in calls)


@every_style
@pytest.mark.parametrize("place", ["inside", "beside"])
def test_thoughts_are_no_argument(name, place):
    text = write_calls(style(name), CALLS, SCHEMAS, thoughts="hm", place=place)
    calls = read(name, text.removeprefix("hm\n"), place=place)
    assert [call.arguments for call in calls] == [ARGUMENTS, {"q": "z"}]
    in_words = place == "beside" and style(name).head != "object"
    assert [call.thoughts for call in calls] == ["" if in_words else "hm", ""]


@every_style
def test_nothing_is_made_up_where_a_text_is_cut(name):
    text = write_calls(style(name), CALLS[:1], SCHEMAS)
    for end in range(len(text)):
        for call in read(name, text[:end]):
            assert call.name == "get_weather"
            if call.cut == "no":
                assert call.arguments == ARGUMENTS
                continue
            assert [note.code for note in call.notes][-1] == "truncated"
            for key, value in call.arguments.items():
                if key == "city":
                    assert ARGUMENTS[key].startswith(value)
                    whole = value == ARGUMENTS[key]
                    assert whole or call.cut == "string"
                elif key == "tags":
                    assert [item for item in value if item] == ARGUMENTS[key][: len(value)] or (
                        value[-1] == ""
                    )
                elif key == "where":
                    assert value in ({}, ARGUMENTS[key])
                else:
                    assert value == ARGUMENTS[key]


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("hermes", '"city": "Kö'),
        ("qwen-coder", "<parameter=city>\nKö"),
        ("glm", "<arg_value>Kö"),
        ("pythonic", "city='Kö"),
        ("gemma", 'city:<|"|>Kö'),
        ("minicpm", '<param name="city"><![CDATA[Kö'),
    ],
)
def test_a_cut_inside_a_string_is_told_from_others(name, end):
    text = write_calls(style(name), CALLS[:1], SCHEMAS)
    (call,) = read(name, text[: text.index(end) + len(end)])
    assert (call.cut, call.arguments) == ("string", {"city": "Kö"})
    assert (
        call.notes[-1].message == "the call of 'get_weather' is cut off in the middle of a string"
    )
    (call,) = read(name, text[: text.index(end)])
    assert (call.cut, call.arguments) == ("between", {})


X = '{"name": "other", "arguments": {"q": "x"}}'
Y = '{"name": "other", "arguments": {"q": "y"}}'
DAMAGED = [
    # marks
    ("hermes", f"<tool_call>\n<tool_call>\n{X}", [{"q": "x"}]),
    ("hermes", f"<tool_call>{X}{Y}", [{"q": "x"}, {"q": "y"}]),
    ("hermes", f"<tool_call>[{X}, {Y}]</tool_call>", [{"q": "x"}, {"q": "y"}]),
    ("hermes", f"<tool_call>\n```json\n{X}\n```\n</tool_call>", [{"q": "x"}]),
    ("hermes", '<tool_call>\nother\n{"q": "x"}\n</tool_call>', [{"q": "x"}]),
    ("hermes", '<tool_call>\nother(q="x")\n</tool_call>', [{"q": "x"}]),
    (
        "hermes",
        "<tool_call>\n<function=other>\n<parameter=q>\nx\n</parameter>\n</function>\n</tool_call>",
        [{"q": "x"}],
    ),
    ("qwen-coder", f"<tool_call>\n{X}\n</tool_call>", [{"q": "x"}]),
    ("mistral", f"[TOOL_CALLS]{X}", [{"q": "x"}]),
    ("mistral-named", f"[TOOL_CALLS][{X}]", [{"q": "x"}]),
    ("mistral-named", '[TOOL_CALLS]other{"q": "x"}', [{"q": "x"}]),
    ("kimi-k2", '<|tool_call_begin|>other:0 {"q": "x"}<|tool_call_end|>', [{"q": "x"}]),
    (
        "harmony",
        '<|channel|>commentary to=functions.other code<|message|>{"q": "x"}',
        [{"q": "x"}],
    ),
    (
        "deepseek-v3",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>other\n"
        '{"q": "x"}<｜tool▁call▁end｜>',
        [{"q": "x"}],
    ),
    (
        "command-r",
        'Action: ```json\n[\n  {\n"tool_name": "other",\n"parameters": {"q": "x",}\n  }\n]\n```',
        [{"q": "x"}],
    ),
    (
        "llama3",
        f"<|python_tag|>{X}; {Y}".replace("arguments", "parameters"),
        [{"q": "x"}, {"q": "y"}],
    ),
    (
        "minimax",
        "<minimax:tool_call>\n<invoke name=other>\n<parameter name=q>x</parameter>\n</invoke>",
        [{"q": "x"}],
    ),
    (
        "qwen-coder",
        '<tool_call>\n<function name="other">\n<parameter name="q">\nx\n</parameter>\n</function>',
        [{"q": "x"}],
    ),
    (
        "qwen-coder",
        "<tool_call>\n<function=other\n<parameter=q>\nx\n</parameter>\n</function>",
        [{"q": "x"}],
    ),
    # JSON
    (
        "hermes",
        f"<tool_call>{X.replace('}}', ',}')}\n</tool_call>\n<tool_call>{Y}</tool_call>",
        [{"q": "x"}, {"q": "y"}],
    ),
    (
        "hermes",
        "<tool_call>{'name': 'functions.other', 'arguments': '{\"q\": \"x\"}'}</tool_call>",
        [{"q": "x"}],
    ),
    (
        "hermes",
        "<tool_call>" + X.replace("x", 'a </tool_call> "b" c') + "</tool_call>",
        [{"q": 'a </tool_call> "b" c'}],
    ),
    ("hermes", f'<tool_call>{{"type": "function", "function": {X}}}</tool_call>', [{"q": "x"}]),
    ("hermes", f'<tool_call>{{"tool_calls": [{{"function": {X}}}]}}</tool_call>', [{"q": "x"}]),
    ("hermes", '<tool_call>{"name": "other", "q": "x"}</tool_call>', [{"q": "x"}]),
    ("hermes", '<tool_call>{"other": {"q": "x"}}</tool_call>', [{"q": "x"}]),
    ("hermes", '<tool_call>{"name": "other", "arguments": null}</tool_call>', [{}]),
    ("mistral", f"[TOOL_CALLS][{X[:-1]}]", [{"q": "x"}]),
    ("mistral-named", '[TOOL_CALLS]other[ARGS]"{\\"q\\": \\"x\\"}"', [{"q": "x"}]),
    (
        "mistral-named",
        '[TOOL_CALLS]other[ARGS]{"q": "x",}[TOOL_CALLS]other[ARGS]{"q": "y"}',
        [{"q": "x"}, {"q": "y"}],
    ),
    (
        "kimi-k2",
        "<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
        '{"city": "x", "days": 3<|tool_call_end|>',
        [{"city": "x", "days": 3}],
    ),
    (
        "apertus",
        '<|tools_prefix|>[{"other": {"q": "x",}}, {"other": {"q": "y"}}]<|tools_suffix|>',
        [{"q": "x"}, {"q": "y"}],
    ),
    ("functionary-v3.2", '>>>other\n{"q": "x",}', [{"q": "x"}]),
    # parameters
    (
        "qwen-coder",
        '<tool_call>\n<function=other>\n{"q": "x"}\n</function>\n</tool_call>',
        [{"q": "x"}],
    ),
    (
        "qwen-coder",
        "<function=get_weather>\n<parameter=days>\n3\n<parameter=city>\nP\n</function>",
        [{"days": 3, "city": "P"}],
    ),
    (
        "qwen-coder",
        '<function=get_weather>\n<parameter name="city">\nP\n</parameter>\n'
        "<parameter=days>three</parameter>\n</function>",
        [{"city": "P", "days": "three"}],
    ),
    (
        "qwen-coder",
        "<function=get_weather>\n<parameter=where>\n{'a': it's}\n</parameter>\n</function>",
        [{"where": {"a": "it's"}}],
    ),
    (
        "qwen-coder",
        '<function=get_weather>\n<parameter=where>\n{"a": 1, b: 2\n</parameter>\n</function>',
        [{"where": {"a": 1, "b": 2}}],
    ),
    (
        "glm",
        "<tool_call>get_weather\n<arg_key>city<arg_value>P</arg_value>\n"
        "<arg_key>days</arg_key><arg_value>3</tool_call>",
        [{"city": "P", "days": 3}],
    ),
    ("glm", '<tool_call>other\n{"q": "x"}</tool_call>', [{"q": "x"}]),
    (
        "atem",
        '<atem:function_calls><atem:invoke name="other"><atem:parameter name="q">x'
        '</atem:parameter><atem:parameter name="q">y</atem:parameter></atem:invoke>',
        [{"q": "x"}],
    ),
    (
        "minicpm",
        '<function name="get_weather"><param name=city><![CDATA[<b>]]></param>'
        '<param name="days">x</param></function>',
        [{"city": "<b>", "days": "x"}],
    ),
    # Python
    (
        "pythonic",
        '[get_weather(city=\'It\'s\', days=3), other(q="a "b" c")]',
        [{"city": "It's", "days": 3}, {"q": 'a "b" c'}],
    ),
    (
        "pythonic",
        "[get_weather(city=Paris, tags=(['a', r'b']), days=(3))]",
        [{"city": "Paris", "tags": ["a", "b"], "days": 3}],
    ),
    (
        "pythonic",
        "[get_weather(city=r'\\d, days=5', days=3*2)]",
        [{"city": "\\d, days=5", "days": "3*2"}],
    ),
    ("pythonic", f"[{X}]", [{"q": "x"}]),
    ("lfm2", "<|tool_call_start|>[other(q='It's')]<|tool_call_end|>", [{"q": "It's"}]),
    # Gemma
    ("gemma", '<|tool_call>call:other{"q": "x"}<tool_call|>', [{"q": "x"}]),
    ("gemma", "<|tool_call>call:other{q:x}<tool_call|>", [{"q": "x"}]),
    ("gemma", '<|tool_call>call:other{q:<|"|>"x", {y}<|"|>,}', [{"q": '"x", {y}'}]),
    (
        "gemma",
        '<|tool_call>call:get_weather{city:<|"|>P"x<|"|> days:3}<tool_call|>',
        [{"city": 'P"x', "days": 3}],
    ),
]


@pytest.mark.parametrize(("name", "text", "calls"), DAMAGED)
def test_damaged_calls_are_mended_and_that_is_noted(name, text, calls):
    found = read(name, text)
    assert [call.arguments for call in found] == calls
    assert all(call.name in SCHEMAS and call.cut == "no" for call in found)
    assert any(call.notes for call in found) or text.count(style(name).opener) > 1 or ";" in text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hermes", "<tool_call>\nhello there\n</tool_call>"),
        ("hermes", "<tool_call>"),
        ("hermes", ""),
        ("hermes", '<tool_call>{"answer": 42}</tool_call>'),
        ("llama3", '{"name": "Bob", "age": 5}'),
        ("llama3", "Just words."),
        ("qwen-coder", "<tool_call>\n<function="),
        ("pythonic", "[1, 2, 3]"),
        ("pythonic", "[get_weather(tags=['a' 'b'], days=3)]"),
        ("mistral-named", "[TOOL_CALLS]get_wea"),
    ],
)
def test_what_is_no_call_is_none(name, text):
    assert read(name, text) == ()


def test_a_name_is_never_guessed():
    (call,) = read(
        "hermes", '<tool_call>{"name": "get_wether", "arguments": {"q": "x",}}</tool_call>'
    )
    assert call.name == "get_wether"


def test_arguments_that_are_no_object_are_an_error_for_the_model():
    with pytest.raises(OutputError, match=r"arguments must be a JSON object, not \[1\]"):
        read("hermes", '<tool_call>{"name": "other", "arguments": [1]}</tool_call>')


def test_text_behind_the_calls_is_noted():
    text = '<tool_call>{"name": "other", "arguments": {"q": "x"}}</tool_call> Now I wait.'
    for damaged in (text, text.replace('"}}', '",}}')):
        (call,) = read("hermes", damaged)
        assert call.notes[-1].code == "dropped"
        assert "Now I wait." in call.notes[-1].message


def test_more_calls_than_anybody_makes_are_noted():
    text = '<tool_call>{"name": "other", "arguments": {"q": "x"}}</tool_call>' * 200
    calls = read("hermes", text)
    assert len(calls) == 128
    assert calls[-1].notes[-1].code == "dropped"


def test_halves_of_surrogate_pairs_never_come_out():
    for raw in ('{"q": "a\\ud83d"}', '{"q": "a\\ud83d",}'):
        (call,) = read("hermes", f'<tool_call>{{"name": "other", "arguments": {raw}}}</tool_call>')
        assert call.arguments == {"q": "a�"}


def test_a_function_keeps_its_own_parameter_of_the_thoughts_name():
    schemas = {"f": {"properties": {"inner_thoughts": {"type": "string"}}}}
    text = '<tool_call>{"name": "f", "arguments": {"inner_thoughts": "mine",}}</tool_call>'
    (call,) = read("hermes", text, schemas=schemas, place="inside")
    assert (call.arguments, call.thoughts) == ({"inner_thoughts": "mine"}, "")
