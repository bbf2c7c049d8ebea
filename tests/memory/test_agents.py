"""Which agents there are, forgetting one, and what else is kept beside their messages."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from llmgate.errors import Conflict, RequestError, UnknownAgent
from llmgate.memory import names
from llmgate.memory.agents import agents, forget
from llmgate.memory.conversation import Conversation, Window
from llmgate.memory.core import Core, agent_author
from llmgate.memory.generation_cache import GenerationCache, key_of
from llmgate.memory.recall import Recall
from llmgate.memory.steps_log import StepsLog
from llmgate.memory.system_state import SystemState
from llmgate.types import Message, Note, Request, Sampling, ToolCall

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "name", ["ann", "Ann Smith", "\u65e5\u672c", "a.b", "..", "x" * 64, "\u00e9"]
)
def test_names_that_can_be(name):
    assert names.check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "a/b", "a\nb", "a\0", "x" * 65, " a", "a ", "\u200b", "\ud83d", "\u202egnp"]
)
def test_names_that_can_not_be(name):
    with pytest.raises(RequestError, match="the name") as raised:
        names.check_name(name)
    assert raised.value.param == "name"


async def make(records, name, shared=()):
    core = Core(records, {}, by=agent_author(name))
    await core.create("human", f"of {name}")
    for block in shared:
        await core.attach(block, block)
    talk = Conversation(records, name)
    async with records.transaction() as tx:
        tx.put(names.state(name), {"blocks": core.ids, "preset": "x"})
        await talk.append(tx, ("event:user_message", Message("user", f"hello {name}")))
        talk.put_window(tx, Window("head", 1))
        await StepsLog(records, name).append(tx, Note("a", "b"))
    async with records.transaction() as tx:
        await talk.retract(tx, 1)
    await SystemState(records).put(f"approvals/{name}", [name])
    return core


async def test_agents_are_listed_by_name(records):
    assert await agents(records) == []
    for name in ("bob", "ann", "ann b", "ann-b", "\u65e5\u672c"):
        await make(records, name)
    assert await agents(records) == ["ann", "ann b", "ann-b", "bob", "\u65e5\u672c"]


async def test_a_forgotten_agent_leaves_nothing_but_what_others_use(records):
    user = Core(records, {}, by="user")
    await user.create("team", "we", shared_id="team")
    await user.create("pair", "two", shared_id="pair")
    await make(records, "ann", ["team", "pair"])
    await make(records, "anna", ["team"])
    before_keys = [key for key in await records.keys() if "anna" in key]
    before_logs = [log for log in await records.logs() if "anna" in log]
    forgotten = await forget(records, "ann")
    assert forgotten.kept == ("team",)
    assert forgotten.documents > 3
    assert forgotten.logs > 3
    left = [*await records.keys(), *await records.logs()]
    assert not [key for key in left if "ann" in key.replace("anna", "")]
    assert "blocks/pair" not in left
    assert [key for key in await records.keys() if "anna" in key] == before_keys
    assert [log for log in await records.logs() if "anna" in log] == before_logs
    assert (await user.get("team")).value == "we"
    assert await agents(records) == ["anna"]
    # One for anna, one for the team.
    assert len(await records.keys("blocks/")) == 2
    with pytest.raises(UnknownAgent, match="Did you mean 'anna'"):
        await forget(records, "ann")


async def test_an_agent_of_a_forgotten_name_begins_anew(records):
    await make(records, "ann")
    await forget(records, "ann")
    talk = Conversation(records, "ann")
    assert await talk.end() == 0
    assert await Recall(records, "ann").counts() == {}
    async with records.transaction() as tx:
        await talk.append(tx, ("event:user_message", Message("user", "new")))
    assert (await Recall(records, "ann").search("new")).total == 1


class Step(msgspec.Struct, frozen=True):
    number: int
    at: datetime
    call: ToolCall | None = None
    notes: tuple[Note, ...] = ()


async def test_steps_come_back_in_their_order(records):
    log = StepsLog(records, "ann")
    steps = [
        Step(number, NOON, ToolCall("c", "f", "{}"), (Note("repaired", "\u00e4"),))
        for number in range(1, 6)
    ]
    async with records.transaction() as tx:
        assert await log.append(tx, *steps[:2]) == (1, 2)
        assert await log.append(tx, *steps[2:]) == (3, 4, 5)
    assert await log.read(Step) == tuple(steps)
    assert await log.read(Step, after=1, limit=2) == tuple(steps[1:3])
    assert await log.last(Step, 2) == tuple(steps[3:])
    assert await log.end() == 5
    async with records.transaction() as tx:
        await log.append(tx, {"thought": "\ud83d", "list": ["\ud83d\ude00"]})
    assert await log.last(dict) == ({"thought": "\ufffd", "list": ["\U0001f600"]},)


async def test_a_generation_is_kept_until_its_time_is_over(records):
    cache = GenerationCache(records)
    await cache.put("a", {"text": "answer"}, 60)
    await cache.put("b", 1, 0.02)
    assert await cache.get("a") == {"text": "answer"}
    await asyncio.sleep(0.03)
    assert await cache.get("b") is None
    assert await cache.get("c") is None
    assert await cache.clear() == 1
    assert await cache.get("a") is None


def test_equal_requests_have_equal_keys():
    request = Request("m", (Message("user", "x"),))
    same = Request("m", (Message("user", "x"),), conversation="c", notes=(Note("a", "b"),))
    other = Request("m", (Message("user", "x"),), sampling=Sampling(seed=1))
    assert key_of(request) == key_of(same)
    assert key_of(request) != key_of(other)
    assert key_of({"a": 1, "b": [1, {"d": 1, "c": 2}]}) == key_of(
        {"b": [1, {"c": 2, "d": 1}], "a": 1}
    )
    assert key_of([1, 2]) != key_of([2, 1])
    assert len(key_of(None)) == 64


async def test_the_systems_state_is_kept_by_key(records):
    state = SystemState(records)
    assert await state.get("approvals/ann") is None
    assert await state.get("approvals/ann", []) == []
    version = await state.put("approvals/ann", ["x"])
    assert (await state.document("approvals/ann")).version == version
    with pytest.raises(Conflict):
        await state.put("approvals/ann", [], expected=version + 1)
    await state.put("approvals/ann", ["y"], expected=version)
    await state.put("other", 1)
    assert await state.get("approvals/ann") == ["y"]
    assert await state.keys() == ["approvals/ann", "other"]
    assert await state.keys("approvals/") == ["approvals/ann"]
    assert await state.delete("other")
    assert not await state.delete("other")
