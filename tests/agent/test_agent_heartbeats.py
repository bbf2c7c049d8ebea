"""Heartbeats that come by the clock."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest
from agent_doubles import agent_of, call, says, steps_of

from llmgate.agent import AgentState, UserMessage
from llmgate.agent.heartbeats import LOOK, seconds_to_wait

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def state(used, paused=None):
    def at(minutes):
        return None if minutes is None else NOW + timedelta(minutes=minutes)

    return AgentState("ann", NOW, "", (), {}, used_at=at(used), paused_until=at(paused))


@pytest.mark.parametrize(
    ("used", "paused", "seconds"),
    [
        (-10, None, 0.0),
        (-11, None, 0.0),
        (-9.5, None, 30.0),
        (0, None, LOOK),
        (-10, -1, 0.0),
        (-10, 0.5, 30.0),
        (-10, 300, LOOK),
    ],
)
def test_a_heartbeat_is_due_when_nothing_has_happened_and_none_are_paused(used, paused, seconds):
    assert seconds_to_wait(state(used, paused), NOW, 10) == seconds


async def test_timed_heartbeats_really_come():
    agent, backend = await agent_of(
        lambda request: says("I was thinking of you."), heartbeat_minutes=0.0005
    )
    async with aclosing(agent.heartbeats()) as steps:
        found = [await anext(steps) for _ in range(3)]
    assert [step.event for step in found] == ["heartbeat"] * 3
    assert [step.said for step in found] == ["I was thinking of you."] * 3
    assert "Automated timer" in backend.requests[0].messages[-1].content


async def test_there_are_none_if_none_are_configured():
    agent, _ = await agent_of()
    assert [step async for step in agent.heartbeats()] == []


async def test_a_pause_is_kept_and_holds_them_back():
    agent, backend = await agent_of(
        call("pause_heartbeats", minutes=100_000), says("Back."), heartbeat_minutes=0.0005
    )
    [step] = await steps_of(agent, UserMessage("Leave me alone."))
    assert step.result == "Pausing timed heartbeats for 360 min"
    pause = agent.state.paused_until - agent.home.now()
    assert timedelta(minutes=359) < pause <= timedelta(minutes=360)
    async with aclosing(agent.heartbeats()) as steps:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(steps), 0.2)
    assert len(backend.requests) == 1
    # Messages still wake it.
    assert (await steps_of(agent, UserMessage("Hello?")))[0].said == "Back."


async def test_none_comes_while_the_agent_runs():
    gate = asyncio.Event()
    agent, backend = await agent_of(lambda request: [gate, "Hm."], heartbeat_minutes=0.0005)
    run = asyncio.create_task(steps_of(agent, UserMessage("Hello.")))
    await asyncio.sleep(0.05)
    assert agent.running

    async def beats():
        async with aclosing(agent.heartbeats()) as steps:
            return await anext(steps)

    timer = asyncio.create_task(beats())
    await asyncio.sleep(0.2)
    assert len(backend.requests) == 1
    gate.set()
    assert (await run)[0].event == "user_message"
    assert (await timer).event == "heartbeat"
