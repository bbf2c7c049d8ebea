"""Work that ends when nobody waits for it, and streams that are read with a look at the clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from llmgate.errors import ShuttingDown
from llmgate.server.draining import drain
from llmgate.server.watch import ClientLeft, Closing, Presence, unless_gone


class Client:
    """What a server hears of a client."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self):
        await self.left.wait()
        return {"type": "http.disconnect"}


async def forever(stopped: asyncio.Event) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        stopped.set()


async def test_work_that_is_waited_for_comes_to_its_result():
    async def work():
        await asyncio.sleep(0.01)
        return 7

    closing = Closing()
    assert await unless_gone(Client().receive, closing, work()) == 7
    assert not closing.watches


async def test_a_client_that_leaves_ends_the_work():
    client, stopped = Client(), asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, client.left.set)
    with pytest.raises(ClientLeft):
        await unless_gone(client.receive, Closing(), forever(stopped))
    assert stopped.is_set()
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_closing_ends_all_work_that_is_watched():
    closing, stops = Closing(), [asyncio.Event() for _ in range(3)]
    tasks = [
        asyncio.create_task(unless_gone(Client().receive, closing, forever(stop))) for stop in stops
    ]
    await asyncio.sleep(0.01)
    closing.set()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, ShuttingDown)
    assert all(stop.is_set() for stop in stops)
    assert not closing.watches


async def test_nothing_is_begun_after_closing():
    closing = Closing()
    closing.set()
    with pytest.raises(ShuttingDown):
        await unless_gone(Client().receive, closing, forever(asyncio.Event()))


async def test_a_task_that_somebody_else_cancels_is_cancelled():
    stopped = asyncio.Event()
    task = asyncio.create_task(unless_gone(Client().receive, Closing(), forever(stopped)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped.is_set()


async def test_what_work_raises_is_raised():
    async def work():
        await asyncio.sleep(0)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await unless_gone(Client().receive, Closing(), work())


async def nobody_tells():
    raise AssertionError("the server knows by itself when the client leaves")


async def test_a_client_whose_connection_ends_ends_the_work_without_being_waited_for():
    stopped, heard = asyncio.Event(), []
    presence, closing = Presence(lambda: heard.append("reading")), Closing()
    tasks = len(asyncio.all_tasks())
    asyncio.get_running_loop().call_later(0.01, presence.end)
    with pytest.raises(ClientLeft):
        await unless_gone(nobody_tells, closing, forever(stopped), presence)
    assert stopped.is_set()
    assert heard == ["reading"]
    assert len(asyncio.all_tasks()) == tasks
    assert not presence.watches
    assert not closing.watches


async def test_nothing_is_begun_for_a_client_who_has_left():
    presence, stopped = Presence(lambda: None), asyncio.Event()
    presence.end()
    with pytest.raises(ClientLeft):
        await unless_gone(nobody_tells, Closing(), forever(stopped), presence)
    assert not stopped.is_set()
    await asyncio.sleep(0)  # the task goes on as if nothing had been
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def items(*waits: float) -> AsyncGenerator[int, None]:
    for number, wait in enumerate(waits):
        if wait:
            await asyncio.sleep(wait)
        yield number


@pytest.mark.parametrize(
    ("waits", "seen"),
    [
        ((), []),
        ((0, 0, 0), [0, 1, 2]),
        ((0, 0, 0.01, 0), [0, 1, "wait", 2, 3]),
        ((0.01, 0.01), ["wait", 0, "wait", 1]),
    ],
)
async def test_there_is_a_call_before_each_wait_and_no_other(waits, seen):
    found: list[object] = []

    async def before() -> None:
        await asyncio.sleep(0.001)
        found.append("wait")

    await drain(items(*waits), found.append, before)
    assert found == seen


async def test_what_a_stream_raises_is_raised_behind_its_items():
    async def failing():
        yield 1
        await asyncio.sleep(0)
        yield 2
        raise ValueError("no")

    async def before() -> None:
        pass

    found: list[int] = []
    with pytest.raises(ValueError, match="no"):
        await drain(failing(), found.append, before)
    assert found == [1, 2]


async def test_a_failing_call_ends_the_stream_where_it_waits():
    ended = asyncio.Event()

    async def stream():
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.set()

    async def before() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await drain(stream(), lambda item: None, before)
    assert ended.is_set()


@pytest.mark.parametrize("in_call", [False, True])
async def test_cancelling_ends_the_stream_where_it_waits(in_call):
    ended = asyncio.Event()

    async def stream():
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.set()

    async def before() -> None:
        if in_call:
            await asyncio.sleep(60)

    task = asyncio.create_task(_drained(stream(), before))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def _drained(stream, before):
    await drain(stream, lambda item: None, before)
