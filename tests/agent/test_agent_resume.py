"""An agent that is interrupted anywhere goes on exactly where it was."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager

import pytest

from benchmarks import agent_story
from llmgate import storage
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
    async def transaction(self, **options):
        async with self._records.transaction(**options) as tx:
            yield tx
            self._tick(before=True)
        self._tick(before=False)


class World:
    """What outlives a crash: the stores, the folder, and what somebody was shown."""

    def __init__(self, folder, records, vectors):
        self.folder = agent_story.furnish(folder)
        self.records = records
        self.vectors = vectors
        self.shown = []

    @classmethod
    async def made(cls, folder):
        return cls(folder, await storage.open("memory:"), await open_vector_store("memory:"))

    async def home(self, records=None):
        home = await agent_story.home_at(self.folder, records=records or self.records)
        home._open_collection = self.vectors.open
        return home

    async def tell(self, agent):
        for text in TEXTS:
            async with aclosing(agent_story.told(agent, text)) as steps:
                async for step in steps:
                    self.keep(step)

    def keep(self, step):
        if step.call is not None:
            self.shown.append((step.number, step.call.id))

    async def check(self, home):
        assert await agent_story.said(home) == list(TEXTS)
        assert await agent_story.wrong(home, self.folder, self.shown) == []


@pytest.mark.parametrize("before", [True, False])
async def test_the_end_at_any_write_loses_nothing_and_does_nothing_twice(tmp_path, before):
    for at in range(1, 100):
        world = await World.made(tmp_path / str(at))
        home = await world.home(Fragile(world.records, at, before=before))
        try:
            await world.tell(await agent_story.opened(home))
        except Killed:
            home = await world.home()
            if await home.agents():
                assert await agent_story.wrong(home, world.folder, world.shown) == []
            agent = await agent_story.opened(home)
            await world.tell(agent)
            assert not agent.pending
            await world.check(home)
        else:
            break
    else:
        pytest.fail("there is no end to the writes")
    assert at > 20


async def moments_of(task, most=10**9):
    """How many turns of the loop a task takes, `most` if it takes more."""
    for moment in range(most):
        if task.done():
            return moment
        await asyncio.sleep(0)
    return most


async def test_a_cancellation_at_any_moment_loses_nothing_and_does_nothing_twice(tmp_path):
    world = await World.made(tmp_path / "whole")
    agent = await agent_story.opened(await world.home())
    whole = await moments_of(asyncio.create_task(world.tell(agent)))
    cancelled = 0
    for moment in range(0, whole, max(1, whole // 50)):
        world = await World.made(tmp_path / str(moment))
        home = await world.home()
        agent = await agent_story.opened(home)
        task = asyncio.create_task(world.tell(agent))
        if await moments_of(task, moment) < moment:
            break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cancelled += 1
        assert not agent.running
        # The same object goes on: nothing in it is half done either.
        await world.tell(agent)
        assert not agent.pending
        await world.check(home)
    assert cancelled > 10


async def test_whoever_stops_listening_can_go_on(tmp_path):
    world = await World.made(tmp_path)
    home = await world.home()
    agent = await agent_story.opened(home)
    for text in TEXTS:
        async with aclosing(agent_story.told(agent, text)) as steps:
            world.keep(await anext(steps))
        assert agent.pending
        while agent.pending:
            async with aclosing(agent.run(None)) as steps:
                world.keep(await anext(steps))
    await world.check(home)


async def test_a_full_disk_is_a_clear_error_and_costs_nothing(tmp_path):
    from llmgate.errors import StoreFull

    class Full(Fragile):
        def _tick(self, before):
            try:
                super()._tick(before)
            except Killed:
                raise StoreFull("no space left.") from None

    for at in (4, 6, 8, 9):
        world = await World.made(tmp_path / str(at))
        agent = await agent_story.opened(await world.home(Full(world.records, at, before=True)))
        with pytest.raises(StoreFull):
            await world.tell(agent)
        home = await world.home()
        await world.tell(await agent_story.opened(home))
        await world.check(home)
