"""Nothing is cut silently: what is too long is refused, or loses its oldest turns aloud."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate.backends.scripted import ScriptedBackend
from llmgate.errors import ContextOverflow
from llmgate.gateway.budget import Budget, cuts, fitted
from llmgate.types import Caps, Message, Request, Sampling, Tool, ToolCall
from llmgate.wrappers import open_wrapper

WRAPPER = open_wrapper("chatml", {}, None).of(Caps())
DROP = Budget(reply_tokens=10, overflow="drop_oldest")


class Counting(ScriptedBackend):
    """Counts words, and how often it was asked to."""

    def __init__(self, **caps: Any) -> None:
        super().__init__(caps=Caps(**{"tokenize": True, "truncates": True, **caps}))
        self.counted = 0

    async def count(self, text: str) -> int:
        self.counted += 1
        return await super().count(text)


def talk(turns: int, words: int = 10, **more: Any) -> Request:
    messages = [Message("system", "Be kind.")]
    for turn in range(turns):
        messages.append(Message("user", f"q{turn} " + "word " * words))
        messages.append(Message("assistant", f"a{turn} " + "word " * words))
    return Request("m", (*messages, Message("user", "The last question.")), **more)


async def test_what_certainly_fits_is_not_counted():
    backend = Counting(context=100_000)
    request = talk(3)
    found = await fitted(backend, WRAPPER, request, Budget())
    assert (found.request, found.notes) == (request, ())
    assert backend.counted == 0


@pytest.mark.parametrize("overflow", ["refuse", "drop_oldest"])
async def test_what_fits_when_counted_is_left_alone(overflow):
    backend = Counting(context=200)
    found = await fitted(backend, WRAPPER, talk(5), Budget(10, overflow))
    assert found.request == talk(5)
    assert found.notes == ()
    assert backend.counted == 1


async def test_what_is_too_long_is_refused_with_the_numbers():
    backend = Counting(context=100)
    with pytest.raises(ContextOverflow, match=r"has \d+ tokens; with 10 kept .* context of 100"):
        await fitted(backend, WRAPPER, talk(5), Budget(10))


async def test_a_server_that_refuses_by_itself_is_left_to_do_so():
    backend = Counting(context=10, truncates=False)
    assert (await fitted(backend, WRAPPER, talk(5), Budget())).request == talk(5)
    assert backend.counted == 0


@given(turns=st.integers(1, 30), words=st.integers(0, 20), context=st.integers(40, 400))
async def test_the_oldest_turns_go_as_few_as_it_takes(turns, words, context):
    backend, request = Counting(context=context), talk(turns, words)
    found = await fitted(backend, WRAPPER, request, DROP)
    size = await backend.count(found.prompt.text) + 1
    assert size <= context - 10
    kept = found.request.messages
    assert kept[0] == request.messages[0]
    assert kept[1:] == request.messages[-len(kept) + 1 :]
    assert kept[1].role == "user"
    if len(kept) < len(request.messages):
        assert [note.code for note in found.notes] == ["trimmed"]
        assert f"the {len(request.messages) - len(kept)} oldest" in found.notes[0].message
        # One turn more would have been too much.
        longer = (request.messages[0], *request.messages[-len(kept) - 1 :])
        more = WRAPPER.render(Request("m", longer), backend.caps)
        assert await backend.count(more.text) + 1 > context - 10


async def test_a_last_turn_that_is_too_long_by_itself_is_refused():
    request = Request("m", (Message("user", "word " * 100),))
    with pytest.raises(ContextOverflow):
        await fitted(Counting(context=50), WRAPPER, request, DROP)


def test_a_call_keeps_its_result():
    call = ToolCall("call_1", "f", "{}")
    messages = [
        Message("system", "s"),
        Message("user", "a"),
        Message("assistant", None, (call,)),
        Message("tool", "r", tool_call_id="call_1"),
        Message("assistant", "b"),
        Message("user", "c"),
    ]
    assert cuts(messages) == [1, 5]


async def test_an_answer_gets_no_more_room_than_there_is():
    # A server makes room for the answer at the expense of the prompt.
    backend = Counting(context=150)
    request = talk(4, sampling=Sampling(max_tokens=5_000))
    found = await fitted(backend, WRAPPER, request, Budget(10))
    size = await backend.count(found.prompt.text) + 1
    assert found.prompt.sampling.max_tokens == 150 - size
    assert [note.code for note in found.notes] == ["ignored_parameter"]


async def test_a_short_answer_needs_no_more_than_it_asks_for():
    backend = Counting(context=132)
    request = talk(4, sampling=Sampling(max_tokens=1))
    size = await backend.count(WRAPPER.render(request, backend.caps).text) + 1
    exact = Counting(context=size + 1)
    assert (await fitted(exact, WRAPPER, request, Budget(100))).notes == ()


async def test_a_guess_is_called_one():
    backend = Counting(context=1_000, tokenize=False)
    found = await fitted(backend, WRAPPER, talk(10), Budget(10))
    assert [note.code for note in found.notes] == ["estimated"]
    assert backend.counted == 0


async def test_a_context_that_nobody_knows_is_spoken_of_where_it_could_matter():
    backend = Counting(context=None)
    assert (await fitted(backend, WRAPPER, talk(1), Budget())).notes == ()
    (note,) = (await fitted(backend, WRAPPER, talk(100), Budget())).notes
    assert "set `context`" in note.message


async def test_tools_count_too():
    tools = (Tool("f", "word " * 200, {"type": "object", "properties": {}}),)
    with pytest.raises(ContextOverflow):
        await fitted(Counting(context=150), WRAPPER, talk(1, tools=tools), DROP)
