"""Messages that are too long: what is left out is said, and JSON stays JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate.agent.shortening import cut, fits_surely, shortened, within
from llmgate.types import Message, ToolCall

LONG = "".join(f"Line {number} of many. " for number in range(500))


async def words(text):
    return len(text.split())


async def bytes_(text):
    return len(text.encode())


def packaged(message):
    return json.dumps({"type": "user_message", "message": message, "time": "now"})


async def test_what_fits_is_the_very_same_message():
    message = Message("user", packaged("Hello there."))
    assert await within(message, 100, words) is message


async def test_the_beginning_and_the_end_of_what_was_said_stay():
    shown = await within(Message("user", packaged(LONG)), 200, words)
    values = json.loads(shown.content)
    assert list(values) == ["type", "message", "time"]
    assert (values["type"], values["time"]) == ("user_message", "now")
    assert values["message"].startswith("Line 0 of many.")
    assert values["message"].endswith("Line 499 of many.")
    assert "characters left out" in values["message"]
    assert 100 < await words(shown.content) <= 200


async def test_the_number_of_characters_that_are_left_out_is_true():
    text = cut(LONG, 1000)
    [said] = [part for part in text.split("[") if "left out" in part]
    begin, rest = text.split(" [… ")
    end = rest.split("…] ")[1]
    assert LONG.startswith(begin)
    assert LONG.rstrip().endswith(end)
    assert int(said.split()[1]) == len(LONG) - 1000


async def test_a_huge_result_is_shortened_and_its_status_stays():
    content = json.dumps({"status": "Failed", "message": LONG * 20, "time": "now"})
    shown = await within(Message("tool", content, tool_call_id="c"), 150, words)
    assert json.loads(shown.content)["status"] == "Failed"
    assert shown.tool_call_id == "c"
    assert await words(shown.content) <= 150


async def test_the_arguments_of_a_call_stay_an_object():
    arguments = json.dumps({"content": LONG, "name": "human", "tags": ["x"] * 4000, "n": 5})
    message = Message("assistant", "I write it down.", (ToolCall("c", "put", arguments),))
    shown = await within(message, 300, words)
    values = json.loads(shown.tool_calls[0].arguments)
    assert (values["name"], values["n"]) == ("human", 5)
    assert "left out" in values["content"]
    assert isinstance(values["tags"], str)
    assert (shown.content, shown.tool_calls[0].id) == ("I write it down.", "c")


@pytest.mark.parametrize(
    "arguments", ["{" * 50_000, "no JSON " * 5000, json.dumps({f"k{n}": n for n in range(5000)})]
)
async def test_arguments_of_any_kind_become_a_small_object(arguments):
    message = Message("assistant", None, (ToolCall("c", "put", arguments),))
    shown = await within(message, 200, bytes_)
    assert isinstance(json.loads(shown.tool_calls[0].arguments), dict)
    assert len(shown.tool_calls[0].arguments) <= 200


async def test_a_number_of_any_length_is_no_way_around_it():
    message = Message("assistant", None, (ToolCall("c", "put", '{"n": ' + "1" * 4000 + "}"),))
    shown = await within(message, 200, bytes_)
    assert len(shown.tool_calls[0].arguments) <= 200


async def test_thoughts_are_shortened_too():
    shown = await within(Message("assistant", LONG, reasoning=LONG), 100, words)
    assert await words(shown.content + shown.reasoning) <= 100


async def test_the_same_message_is_shortened_in_the_same_way():
    message = Message("user", packaged(LONG))
    assert await within(message, 120, words) == await within(message, 120, words)


@given(
    st.text(max_size=3000),
    st.integers(24, 2000),
    st.sampled_from(["{}", '{{"type": "user_message", "message": {}}}', '{{"a": [{0}, {0}]}}']),
)
def test_whatever_it_was_it_is_still_json_and_no_longer_than_before(text, keep, form):
    content = form.format(json.dumps(text, ensure_ascii=False)) if "{0}" in form else text
    if "message" in form:
        content = form.format(json.dumps(text))
    shown = shortened(Message("user", content), keep).content
    assert len(shown) <= max(len(content), 2 * keep + 480)
    if form != "{}":
        json.loads(shown)


@given(st.text(max_size=400), st.integers(0, 1600))
def test_what_surely_fits_has_no_more_bytes_than_that(text, limit):
    fits = fits_surely(Message("user", text), limit)
    assert fits == (len(text.encode()) + 2 <= limit) or (fits and len(text.encode()) <= limit)
