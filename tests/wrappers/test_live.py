"""A call that comes at once is read as one that comes character by character."""

from __future__ import annotations

import pytest

from llmgate.errors import OutputError
from llmgate.types import Caps, Completion, Message, Request, Tool, ToolCall, ToolChoice
from llmgate.wrappers import Wrapper

CAPS = Caps(grammar=True)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
REQUEST = Request(
    model="m",
    messages=(Message("user", "Weather?"),),
    tools=(Tool("weather", parameters=CITY), Tool("x.y/z:1", parameters={"type": "object"})),
    tool_choice=ToolChoice("required"),
)
CALL = '{"function": "weather", "params": {"city": "Paris"}}'
TEXTS = [
    CALL,
    f"\n {CALL} \n",
    '{ "function" :"weather","params"\n:\t{ "city" : "a}, {\\"b\\\\" } }',
    '{"function": "x.y/z:1", "params": {}}',
    '{"params": {"city": "Paris"}, "function": "weather"}',
    '{"function": "weather", "params": {"city": "Paris"}, "id": 7}',
    '{"function": "weather", "params": {"city": "Paris"}, "other": {}}',
    '{"function": "weather", "params": {"city": "Paris"}, "params": {}}',
    '{"function": "weather", "params": {"city": "Paris", "city": "Rome"}}',
    '{"function": "weather", "params": {"city": 7}}',
    '{"function": "weather", "params": {"city": NaN}}',
    '{"function": "weather", "params": {"city": "Par\nis"}}',
    '{"function": "weather", "params": {"city": }}',
    '{"function": "weather", "params": {}}',
    '{"function": "nothing", "params": {}}',
    '{"function": "\\u0077eather", "params": {"city": "Paris"}}',
    '{"function": "weather", "params": {"city": "Paris"}',
    '{"function": "weather", "params": {"city": "Par',
    f"{CALL} and more",
    f"{CALL}\n{CALL}",
    f"{CALL}\u2003",
    '{"function": "weather", "params": [{"city": "Paris"}]}',
]


def read(pieces: list[str], *, parallel: bool = False) -> tuple[object, ...]:
    wrapper = Wrapper.load("chatml")
    request = Request(
        model=REQUEST.model,
        messages=REQUEST.messages,
        tools=REQUEST.tools,
        tool_choice=REQUEST.tool_choice,
        parallel=parallel,
    )
    reader = wrapper.reader(request, wrapper.render(request, CAPS))
    deltas = []
    try:
        for piece in pieces:
            deltas += reader.feed(piece)
        deltas += reader.finish("stop")
    except OutputError as error:
        return "refused", str(error)
    done = Completion.fold(deltas)
    calls = tuple(ToolCall("", call.name, call.arguments) for call in done.message.tool_calls)
    return calls, done.message.content, done.finish, done.notes


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("text", TEXTS)
def test_at_once_or_character_by_character(text, parallel):
    assert read([text], parallel=parallel) == read(list(text), parallel=parallel)


def test_what_is_read_at_once_is_kept_to_the_letter():
    assert read([TEXTS[2]])[0] == (ToolCall("", "weather", '{ "city" : "a}, {\\"b\\\\" }'),)
