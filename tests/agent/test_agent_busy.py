"""Two who want to run one agent: one of them does, and the other is told."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import time
from contextlib import asynccontextmanager

import msgspec
import pytest
from agent_doubles import agent_of, backend_of, call, home_of, says, settle, steps_of

from benchmarks import agent_story
from llmgate import storage
from llmgate.agent import Agent, UserMessage
from llmgate.agent.runner import Runner
from llmgate.errors import AgentBusy, BackendUnreachable

HELLO = UserMessage("Hello.")


async def two_of(*answers):
    """The same agent in two homes, as two programs have it."""
    one, _ = await agent_of(*answers)
    home = await home_of(backend_of(says("From the other.")), records=one.home.records)
    return one, await Agent.open(home, "ann")


async def test_what_another_program_has_done_since_is_known():
    one, two = await two_of(says("From the first."))
    await steps_of(one, HELLO)
    [step] = await steps_of(two, HELLO)
    assert step.number == 2
    messages = two.home.gateway.route("m").backend.requests[0].messages
    assert "From the first." in str(messages)
    assert (await one.steps())[-1] == step


async def test_what_another_program_has_made_of_it_is_known():
    one, two = await two_of()
    await one.add_block("task", "Cook.")
    await steps_of(two, HELLO)
    assert (await two.core.get("task")).value == "Cook."
    assert "Cook." in str(two.home.gateway.route("m").backend.requests[0].messages)


async def test_of_two_that_run_at_a_time_one_is_told():
    one, two = await two_of(
        call("core_memory_append", name="human", content="Bo", request_heartbeat=True),
        says("Too late."),
    )
    run = one.run(HELLO)
    await anext(run)
    [step] = await steps_of(two, HELLO)
    assert step.said == "From the other."
    with pytest.raises(AgentBusy, match="another program"):
        await anext(run)
    # Nothing of the one that was too late is there.
    steps = await two.steps()
    assert [each.number for each in steps] == [1, 2]
    assert not two.pending
    assert "Too late." not in str(await two.conversation.raw(1))


async def test_two_objects_of_one_home_do_not_run_at_a_time():
    one, _ = await agent_of(
        call("core_memory_append", name="human", content="Bo", request_heartbeat=True),
        says("Done."),
    )
    two = await Agent.open(one.home, "ann")
    run = one.run(HELLO)
    await anext(run)
    with pytest.raises(AgentBusy):
        await steps_of(two, HELLO)
    with pytest.raises(AgentBusy):
        await one.home.delete("ann")
    await run.aclose()
    assert [step.said for step in await steps_of(two, None)] == ["Done."]


async def test_tasks_wait_for_each_other():
    gate = asyncio.Event()
    one, backend = await agent_of([gate], says("Second."))
    backend._answers[0] = [gate, "First."]
    first = asyncio.create_task(steps_of(one, UserMessage("1")))
    await asyncio.sleep(0.01)
    assert one.running
    second = asyncio.create_task(steps_of(one, UserMessage("2")))
    await asyncio.sleep(0.01)
    assert len(backend.requests) == 1
    gate.set()
    assert [step.said for step in await first + await second] == ["First.", "Second."]


async def test_an_agent_that_another_living_process_runs_is_left_alone():
    one, two = await two_of(BackendUnreachable("down"))
    process = multiprocessing.get_context("forkserver").Process(target=time.sleep, args=(60,))
    process.start()
    try:
        there = msgspec.structs.replace(
            Runner.here(), pid=process.pid, began=_began(process.pid), home="x"
        )
        await _held_by(one, there)
        with pytest.raises(AgentBusy, match=str(process.pid)):
            await steps_of(two, HELLO)
        with pytest.raises(AgentBusy):
            await two.home.delete("ann")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    # Dead, it does not hold it any more.
    [step] = await steps_of(two, HELLO)
    assert step.said == "From the other."


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"began": "1"}, {"pid": 2**22 + 1}])
async def test_one_that_can_not_be_there_any_more_holds_nothing(change):
    one, two = await two_of()
    gone = msgspec.structs.replace(Runner.here(), pid=os.getppid(), home="x")
    await _held_by(one, msgspec.structs.replace(gone, **{"began": "0", **change}))
    assert [step.said for step in await steps_of(two, HELLO)] == ["From the other."]


async def test_whoever_comes_between_is_noticed_at_the_last_moment():
    one, two = await two_of(says("Too late."))
    records = one.home.records

    class Slow:
        """Lets the other one write between what a transaction has read and its end."""

        def __getattr__(self, name):
            return getattr(records, name)

        @asynccontextmanager
        async def transaction(self, **options):
            async with records.transaction(**options) as tx:
                yield tx
                if not two.state.model:
                    await two.set_model("m")

    one._kept.records = Slow()
    with pytest.raises(AgentBusy, match="another program"):
        await one.tell(HELLO)
    assert two.state.model == "m"
    assert "user_message" not in str(await two.conversation.raw(1))
    await one.tell(HELLO)
    assert one.state.model == "m"


async def test_two_that_take_turns_as_they_come_leave_nothing_half_done():
    one, _ = await agent_of(_answer)
    homes = [
        one.home,
        await home_of(backend_of(_answer), records=one.home.records),
    ]
    agents = [one, await Agent.open(homes[1], "ann")]
    busy, chance = [], random.Random(1)

    async def talk(agent, letter):
        for number in range(8):
            text = f"{letter}{number}"
            while True:
                told = str([each.message.content for each in await agent.conversation.raw(1)])
                try:
                    await steps_of(agent, None if f'"{text}"' in told else UserMessage(text))
                    break
                except AgentBusy:
                    busy.append(text)
                    await asyncio.sleep(chance.random() / 50)

    await asyncio.gather(talk(agents[0], "a"), talk(agents[1], "b"))
    await steps_of(one, None)
    assert busy
    texts = await agent_story.said(one.home)
    assert sorted(texts) == sorted(f"{letter}{number}" for letter in "ab" for number in range(8))
    assert await agent_story.wrong_calls(one.home) == []
    steps = await one.steps(1000)
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    notes = (await one.core.get("human")).value.count("x")
    assert notes == sum(step.ok and step.call.name == "core_memory_append" for step in steps)


def _answer(request):
    if request.messages[-1].role == "user" and "user_message" in request.messages[-1].content:
        return call("core_memory_append", name="human", content="x", request_heartbeat=True)
    return says("Noted.")


async def test_who_fails_lets_go():
    one, _ = await two_of(BackendUnreachable("down"))
    with pytest.raises(BackendUnreachable):
        await steps_of(one, HELLO)
    assert one.state.pending.runner is None


async def test_a_newer_agent_is_refused_and_left_as_it_is():
    from llmgate.errors import NewerStore, StoreCorrupt

    records = await storage.open("memory:")
    home = await home_of(backend_of(), records=records)
    agent = await Agent.create(home, "ann")
    await settle(agent)
    document = await records.get("agents/ann")
    await records.put("agents/ann", {**document.value, "schema": 99})
    with pytest.raises(NewerStore, match="newer llmgate"):
        await Agent.open(home, "ann")
    await records.put("agents/ann", {**document.value, "steps": "many"})
    with pytest.raises(StoreCorrupt, match="agents/ann"):
        await Agent.open(home, "ann")


async def _held_by(agent, runner):
    from llmgate.agent import Pending

    pending = Pending("think", "user_message", runner=runner)
    await agent._kept.commit(msgspec.structs.replace(agent.state, pending=pending))


def _began(pid):
    from llmgate.agent import runner

    return runner._began(pid)
