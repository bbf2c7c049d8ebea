"""Answers in marked styles: thoughts, frames, words, calls, and what models get wrong."""

from __future__ import annotations

import json

import pytest
from test_stream_law import CALLS, SCHEMAS, TOOLS, outcome, wrapper_of

from llmgate.errors import OutputError
from llmgate.styles import STYLES
from llmgate.types import Caps, Completion, Message, Request, ToolChoice
from llmgate.wrappers.writing import write_calls

WEATHER = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
PARIS = ("get_weather", '{"city": "Paris"}')


def ask(**fields):
    return Request(model="m", messages=(Message("user", "Hi"),), tools=TOOLS, **fields)


def read(text, style="hermes", *, held=True, reason="stop", **fields):
    wrapper, asked = wrapper_of(style), ask(**fields)
    prompt = wrapper.render(asked, Caps(grammar=not held))
    return outcome(wrapper, asked, prompt, [text], reason)


def test_words_before_a_call_lose_the_blanks_between_them():
    content, _, calls, finish, notes = read(f"Sure.\n\n<tool_call>\n{WEATHER}\n</tool_call>")
    assert (content, calls, finish, notes) == ("Sure.", [PARIS], "tool_calls", ())


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>{WEATHER}</tool_call>",
        f"<tool_call>\n\n  {WEATHER}\n",
        f"<tool_call>\n{WEATHER}",
        f"<think>\nhm\n</think>\n\n<tool_call>\n{WEATHER}\n</tool_call>\n",
    ],
)
def test_white_space_and_a_missing_end_do_not_matter(text):
    assert read(text)[2:4] == ([PARIS], "tool_calls")


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris",}}\n</tool_call>',
        "<tool_call>\n{'name': 'get_weather', 'arguments': {'city': 'Paris'}}\n</tool_call>",
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}\n</tool_call>',
        f'<tool_call>{{"name": "get_weather", "arguments": {json.dumps(PARIS[1])}}}</tool_call>',
    ],
)
def test_a_spoilt_call_is_mended_and_the_mending_noted(text):
    _, _, [(name, arguments)], finish, notes = read(text)
    assert (name, json.loads(arguments), finish) == ("get_weather", {"city": "Paris"}, "tool_calls")
    assert {note.code for note in notes} <= {"repaired", "coerced"}
    assert notes


@pytest.mark.parametrize("end", ["", "\n</parameter>"])
def test_a_parameter_without_its_end_does_not_swallow_the_next_one(end):
    text = (
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis"
        f"{end}\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>"
    )
    _, _, [(name, arguments)], finish, _ = read(text, "qwen-coder")
    assert (name, json.loads(arguments)) == ("get_weather", {"city": "Paris", "days": 3})
    assert finish == "tool_calls"


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("key", ["arguments", "parameters"])
def test_a_call_without_its_marks_is_read_too(held, key):
    text = WEATHER.replace("arguments", key)
    assert read(text, held=held)[2:4] == ([PARIS], "tool_calls")
    assert read('{"temperature": 21}', held=held)[0] == '{"temperature": 21}'


def test_a_mark_in_quotes_is_spoken_of():
    text = "Models write `<tool_call>` before a call, and </think> after thoughts."
    assert read(text)[0] == text


def test_thoughts_are_only_taken_from_the_beginning():
    text = "The tag <think> opens thoughts."
    assert read(text)[:2] == (text, None)


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("functionary-v3.2", "Try this:\n>>> print(1)\n>>>exit()"),
        ("pythonic", "The list [1, 2] and [get(x)] are Python."),
        ("hermes", "if a <tool_b or b < c"),
    ],
)
def test_what_only_looks_like_a_mark_is_text(style, text):
    assert read(text, style)[0] == text


@pytest.mark.parametrize("style", ["hermes", "glm", "mistral", "harmony", "deepseek-v3"])
def test_a_begun_call_that_cannot_be_read_is_refused(style):
    own = STYLES[style]
    wrapper, asked = wrapper_of(style), ask()
    prompt = wrapper.render(asked, Caps())
    with pytest.raises(OutputError):
        wrapper.parse_text(f"{own.open}{own.begin}<<<???", asked, prompt)


def test_a_second_call_is_dropped_with_a_note_where_one_is_wanted():
    text = write_calls(STYLES["hermes"], CALLS[:2], SCHEMAS)
    _, _, calls, finish, notes = read(text, parallel=False)
    assert (len(calls), finish) == (1, "tool_calls")
    assert [note.code for note in notes] == ["dropped"]


def test_marked_styles_may_answer_with_several_calls_unless_told_otherwise():
    text = write_calls(STYLES["hermes"], CALLS[:2], SCHEMAS)
    assert len(read(text)[2]) == 2
    assert len(read(text, tool_choice=ToolChoice("required", "get_weather"))[2]) == 1


@pytest.mark.parametrize("held", [False, True])
def test_a_call_cut_at_the_token_limit_says_so_and_is_not_made_up(held):
    text = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Par'
    _, _, [(name, arguments)], finish, notes = read(text, held=held, reason="length")
    assert (name, arguments, finish) == ("get_weather", '{"city": "Par', "length")
    assert [note.code for note in notes] == ["truncated"]


def test_half_a_mark_at_the_token_limit_is_no_content():
    content, _, _, finish, notes = read("Let me see.\n<tool_c", reason="length")
    assert (content, finish, [note.code for note in notes]) == (
        "Let me see.",
        "length",
        ["truncated"],
    )


@pytest.mark.parametrize("style", STYLES)
def test_a_forced_call_is_ended_at_the_token_limit(style):
    wrapper = wrapper_of(style)
    asked = ask(tool_choice=ToolChoice("required"), parallel=False)
    prompt = wrapper.render(asked, Caps(grammar=True))
    written = write_calls(STYLES[style], CALLS[:1], SCHEMAS)
    for at in range(written.index("city"), len(written), 5):
        reader = wrapper.reader(asked, prompt)
        answer = Completion.fold([*reader.feed(written[:at]), *reader.finish("length")])
        [call] = answer.message.tool_calls
        assert call.name == "get_weather"
        assert "city" in json.loads(call.arguments)


def test_channels_of_harmony_are_told_apart():
    text = (
        "<|channel|>analysis<|message|>The user wants the weather.<|end|>"
        "<|start|>assistant<|channel|>commentary<|message|>I will look it up.<|end|>"
        "<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json"
        '<|message|>{"city": "Paris"}<|call|>'
    )
    content, reasoning, calls, finish, notes = read(text, "harmony")
    assert (content, reasoning) == ("I will look it up.", "The user wants the weather.")
    assert (calls, finish, notes) == ([PARIS], "tool_calls", ())
    final = (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hi."
    )
    assert read(final, "harmony")[:3] == ("Hi.", "Hm.", [])


def test_a_schema_answer_behind_thoughts_is_judged_alone():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wrapper = wrapper_of("hermes")
    asked = Request(model="m", messages=(Message("user", "Hi"),), schema=schema)
    prompt = wrapper.render(asked, Caps())
    answer = wrapper.parse_text('<think>n is 1</think>\n{"n": "1",}', asked, prompt)
    assert json.loads(answer.message.content) == {"n": 1}
    assert answer.message.reasoning == "n is 1"
    with pytest.raises(OutputError):
        wrapper.parse_text('<think>n is 1</think>\n{"m": 1}', asked, prompt)


@pytest.mark.parametrize("cut", range(1, 20))
@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("atem", "nullto=user<|message|>Prices."),
        ("harmony", 'nullto=functions.get_weather <|constrain|>json<|message|>{"city": "x"}'),
    ],
)
def test_a_mark_that_wants_white_space_is_none_behind_a_word_however_it_is_cut(style, text, cut):
    wrapper, asked = wrapper_of(style), ask()
    prompt = wrapper.render(asked, Caps())
    whole = outcome(wrapper, asked, prompt, [text], "stop")
    assert whole[0] == text
    assert outcome(wrapper, asked, prompt, [text[:cut], text[cut:]], "stop") == whole
