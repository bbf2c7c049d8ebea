"""An agent that is interrupted anywhere goes on exactly where it was."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager

import msgspec
import pytest
from agent_doubles import CHAT, home_of, settings_of
from agent_story import check, event_of, furnish, model_of

from llmgate import storage
from llmgate.agent import Agent
from llmgate.backends.scripted import ScriptedBackend
from llmgate.storage.vectors import open_vector_store

TEXTS = ("one", "two")


class Killed(BaseException):
    """The end of the process."""


class Fragile:
    """Records that end the process at one of their writes, right before it or right behind it."""

    def __init__(self, records, at, *, before):
        self._records = records
        self._left = at
        self._before = before

    def __getattr__(self, name):
        return getattr(self._records, name)

    def _tick(self, before):
        if before == self._before:
            self._left -= 1
        # Whoever catches it gets no further either.
        if self._left <= 0:
            raise Killed

    @asynccontextmanager
    async def transaction(self):
        async with self._records.transaction() as tx:
            yield tx
            self._tick(before=True)
        self._tick(before=False)


class World:
    """What outlives a crash: the stores and the folder."""

    def __init__(self, folder, records, vectors):
        self.folder = folder
        self.records = records
        self.vectors = vectors
        self.shown = []

    @classmethod
    async def made(cls, folder):
        furnish(folder)
        records = await storage.open("memory:")
        return cls(folder, records, await open_vector_store("memory:"))

    async def home(self, records=None):
        settings = settings_of(self.folder, preset="counting")
        backend = ScriptedBackend(model_of(self.folder), caps=CHAT)
        home = await home_of(backend, settings, records=records or self.records)
        home._open_collection = self.vectors.open
        return home

    async def told(self, agent, text):
        """Have the agent told a text to its end, whether it knows of it already or not."""
        known = [
            each.message.content
            for each in await agent.conversation.raw(1)
            if each.kind == "event:user_message"
        ]
        event = None if any(f'"{text}"' in content for content in known) else event_of(text)
        async with aclosing(agent.run(event)) as steps:
            async for step in steps:
                if step.call:
                    self.shown.append((step.number, step.call.id))


async def opened(home):
    agent = await Agent.open(home, "ann")
    if agent.state.steps == 0 and agent.state.pending and agent.state.pending.event == "login":
        await agent._kept.commit(msgspec.structs.replace(agent.state, pending=None))
    return agent


async def finished(world):
    """Go on after the crash, to the end of the story, and check all of it."""
    home = await world.home()
    if not await home.agents():
        await Agent.create(home, "ann")
    agent = await opened(home)
    for text in TEXTS:
        await world.told(agent, text)
    await check(home, agent, world.folder, TEXTS, world.shown)


@pytest.mark.parametrize("before", [True, False])
async def test_the_end_at_any_write_loses_nothing_and_does_nothing_twice(tmp_path, before):
    for at in range(1, 100):
        world = await World.made(tmp_path / str(at))
        home = await world.home(Fragile(world.records, at, before=before))
        try:
            await Agent.create(home, "ann")
            agent = await opened(home)
            for text in TEXTS:
                await world.told(agent, text)
        except Killed:
            await finished(world)
        else:
            break
    else:
        pytest.fail("there is no end to the writes")
    assert at > 20


async def test_a_cancellation_at_any_moment_loses_nothing_and_does_nothing_twice(tmp_path):
    for moments in range(0, 100_000, 3):
        world = await World.made(tmp_path / str(moments))
        home = await world.home()
        await Agent.create(home, "ann")
        agent = await opened(home)

        async def tell(agent=agent, world=world):
            for text in TEXTS:
                await world.told(agent, text)

        task = asyncio.create_task(tell())
        for _ in range(moments):
            await asyncio.sleep(0)
        if task.done():
            break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not agent.running
        # The same object goes on: nothing in it is half done either.
        for text in TEXTS:
            await world.told(agent, text)
        await check(home, agent, world.folder, TEXTS, world.shown)
    assert moments > 100


async def test_whoever_stops_listening_can_go_on(tmp_path):
    world = await World.made(tmp_path)
    home = await world.home()
    await Agent.create(home, "ann")
    agent = await opened(home)
    for text in TEXTS:
        async with aclosing(agent.run(event_of(text))) as steps:
            async for step in steps:
                world.shown.append((step.number, step.call.id))
                break
        assert agent.pending
        while agent.pending:
            async with aclosing(agent.run(None)) as steps:
                async for step in steps:
                    world.shown.append((step.number, step.call.id))
                    break
    await check(home, agent, tmp_path, TEXTS, world.shown)
