"""Answers that were given before: to which requests, for how long, and how many are kept."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_models import FakeClock, ask, gateway_of, model_of, scripted, streamed

from llmgate.errors import BackendUnreachable
from llmgate.gateway import Gateway
from llmgate.gateway.cache import Cache, join, key_of
from llmgate.types import (
    CallDelta,
    Completion,
    Delta,
    Message,
    Note,
    Request,
    Sampling,
    Tool,
    Usage,
)

HOWS = [Gateway.complete, streamed]
TOOL = Tool("add", "Add.", {"type": "object", "properties": {"n": {"type": "integer"}}})


def gateway_over(*answers, cache=60.0, **policy):
    clock, backend = FakeClock(), scripted(*answers)
    gateway = gateway_of(
        model_of("m", backend, clock=clock, cache=cache, aliases=("alias",), **policy), clock=clock
    )
    return gateway, backend, clock


@pytest.mark.parametrize("first", HOWS)
@pytest.mark.parametrize("second", HOWS)
async def test_the_same_request_gets_the_same_answer(first, second):
    call = '{"function": "add", "params": {"n": 5}}'
    gateway, backend, clock = gateway_over(["Let me see.\n", call], "never")
    given_ = await first(gateway, ask(tools=(TOOL,)))
    await clock.pass_(5)
    again = await second(gateway, ask(tools=(TOOL,)))
    assert (again.message, again.finish, again.usage) == (
        given_.message,
        given_.finish,
        given_.usage,
    )
    assert json.loads(again.message.tool_calls[0].arguments) == {"n": 5}
    assert again.notes[-1] == Note("cached", "the same request was answered 5 s ago")
    assert len(backend.prompts) == 1


async def test_notes_and_the_name_of_the_conversation_make_no_difference():
    gateway, backend, _ = gateway_over("one", "two")
    old, new = Note("ignored_parameter", "old"), Note("ignored_parameter", "new")
    await gateway.complete(ask(notes=(old,), conversation="x"))
    again = await gateway.complete(ask("alias", notes=(new,), conversation="y"))
    assert [note for note in again.notes if note.code != "cached"] == [new]
    assert len(backend.prompts) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"text": "Add six."},
        {"sampling": Sampling(seed=1)},
        {"tools": (TOOL,)},
        {"stop": ("x",)},
        {"schema": {"type": "object"}},
        {"grammar": 'root ::= "one"'},
    ],
)
async def test_anything_else_does(other):
    assert key_of("m", ask(**other)) != key_of("m", ask())
    assert key_of("m", ask()) == key_of("m", ask())
    assert key_of("n", ask()) != key_of("m", ask())


async def test_an_answer_expires():
    gateway, _, clock = gateway_over("one", "two", cache=60)
    for passed, content in ((0, "one"), (59, "one"), (1, "two"), (1, "two")):
        await clock.pass_(passed)
        assert (await gateway.complete(ask())).message.content == content


async def test_nothing_is_kept_unless_it_is_switched_on():
    gateway, backend, _ = gateway_over("one", "two", cache=0)
    for content in ("one", "two"):
        assert (await gateway.complete(ask())).message.content == content
    assert len(backend.prompts) == 2


async def test_errors_and_halves_are_never_kept():
    gone = BackendUnreachable("gone")
    gateway, backend, _ = gateway_over(gone, ["half ", gone], ["a ", asyncio.Event()], "whole")
    for _ in range(2):
        with pytest.raises(BackendUnreachable):
            await streamed(gateway, ask())
    deltas = gateway.stream(ask())
    await anext(deltas)
    await deltas.aclose()
    assert (await gateway.complete(ask())).message.content == "whole"
    assert len(backend.prompts) == 4
    await gateway.aclose()


async def test_the_answer_of_a_fallback_is_not_kept_for_the_model_it_stood_in_for():
    clock = FakeClock(flows=True)
    first = scripted(BackendUnreachable("gone"), "own")
    gateway = gateway_of(
        model_of("a", first, clock=clock, cache=60, fallbacks=("b",)),
        model_of("b", scripted("other"), clock=clock),
        clock=clock,
    )
    assert (await gateway.complete(ask("a"))).message.content == "other"
    gateway._models["a"].replicas.all[0].health.worked()
    assert (await gateway.complete(ask("a"))).message.content == "own"
    await gateway.aclose()


async def test_a_request_that_no_json_can_hold_is_not_kept():
    assert key_of("m", Request("m", (Message("user", "\ud800"),))) is None


def kept(cache, text):
    cache.put(text.encode(), [Delta(text), Delta(finish="stop")], Usage(), 60)


def test_the_number_and_the_size_of_answers_have_a_limit():
    cache = Cache(FakeClock(), entries=3)
    for text in "abc":
        kept(cache, text)
    assert cache.get(b"a")
    kept(cache, "d")
    assert [bool(cache.get(key.encode())) for key in "abcd"] == [True, False, True, True]

    cache = Cache(FakeClock(), size=10_000)
    for text in "abcdefghijklmnop":
        kept(cache, text * 500)
    assert cache._size <= 10_000
    assert 0 < len(cache._kept) < 5
    kept(cache, "x" * 10_000)
    assert len(cache._kept) < 5


PIECES = st.one_of(
    st.text("ab ", min_size=1).map(lambda text: Delta(text=text)),
    st.text("ab ", min_size=1).map(lambda text: Delta(reasoning=text)),
    st.builds(
        lambda index, text: Delta(call=CallDelta(index, text)), st.integers(0, 1), st.text("{}")
    ),
    st.builds(lambda index: Delta(call=CallDelta(index, "", f"id{index}", "f")), st.integers(0, 1)),
    st.just(Delta(note=Note("repaired", "x"))),
)


@given(st.lists(PIECES))
def test_joining_changes_nothing(deltas):
    answer = [*deltas, Delta(finish="stop")]
    assert Completion.fold(join(answer)) == Completion.fold(answer)
    assert len(join([Delta(text="a")] * 9)) == 1


async def test_a_cached_answer_still_belongs_to_who_may_ask_for_it():
    from llmgate.config import KeySettings
    from llmgate.errors import Forbidden
    from llmgate.gateway.limits import Clients

    gateway, _, clock = gateway_over("one")
    await gateway.complete(ask())
    other = Clients({"other": KeySettings("k", models=("n",))}, clock).of(b"k")
    with pytest.raises(Forbidden):
        await gateway.complete(ask(), client=other)
