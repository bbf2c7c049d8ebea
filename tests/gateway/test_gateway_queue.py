"""The places of a replica: how many run, who is next, who is refused, who leaves."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_models import (
    FakeClock,
    ask,
    gateway_of,
    model_of,
    scripted,
    settled,
)

from llmgate.errors import BackendBusy, BackendUnreachable
from llmgate.gateway.queue import Places, QueueFull


async def line_up(places, *clients):
    """Tasks that wait for a place each, in this order, and the list of those let in."""
    let_in = []

    async def enter(client):
        if await places.enter(client):
            let_in.append(client)

    tasks = []
    for client in clients:
        tasks.append(asyncio.create_task(enter(client)))
        await settled()
    return tasks, let_in


async def test_without_a_limit_nobody_waits():
    places = Places("m", None, 0)
    for _ in range(100):
        assert await places.enter("a")
    assert (places.running, places.waiting, places.full) == (100, 0, False)


async def test_so_many_run_so_many_wait_and_one_more_is_refused():
    places = Places("m", 2, 1)
    tasks, let_in = await line_up(places, "a", "b", "c")
    assert (let_in, places.running, places.waiting) == (["a", "b"], 2, 1)
    with pytest.raises(QueueFull, match="'m' is busy, and 1 requests wait") as caught:
        await places.enter("d")
    assert caught.value.status == 429
    places.leave()
    await asyncio.gather(*tasks)
    assert (let_in, places.running, places.waiting) == (["a", "b", "c"], 2, 0)


async def test_clients_are_let_in_in_turn_however_many_requests_they_have():
    places = Places("m", 1, 100)
    await places.enter("greedy")
    tasks, let_in = await line_up(places, *["greedy"] * 5, "b", "c", "b")
    for _ in tasks:
        places.leave()
        await settled()
    assert let_in == ["greedy", "b", "c", "greedy", "b", "greedy", "greedy", "greedy"]
    assert (places.running, places.waiting) == (1, 0)


async def test_nobody_overtakes_those_who_wait():
    places = Places("m", 1, 9)
    await places.enter("a")
    _, let_in = await line_up(places, "b")
    places.leave()  # the place is b's now, though b has not yet been told
    last = asyncio.create_task(places.enter("c"))
    await settled()
    assert (let_in, places.running, places.waiting) == (["b"], 1, 1)
    places.leave()
    assert await last


async def test_a_client_that_leaves_frees_its_place_in_the_line_at_once():
    places = Places("m", 1, 2)
    await places.enter("a")
    tasks, let_in = await line_up(places, "b", "c")
    assert places.full
    tasks[0].cancel()
    await settled()
    assert (places.waiting, places.full) == (1, False)
    places.leave()
    await settled()
    assert let_in == ["c"]


async def test_a_client_that_leaves_as_it_is_let_in_gives_the_place_on():
    places = Places("m", 1, 2)
    await places.enter("a")
    tasks, let_in = await line_up(places, "b", "c")
    places.leave()
    tasks[0].cancel()
    await settled()
    assert (let_in, places.running, places.waiting) == (["c"], 1, 0)
    places.leave()
    assert places.running == 0


async def test_those_who_wait_can_be_sent_elsewhere():
    places = Places("m", 1, 9)
    await places.enter("a")
    tasks, let_in = await line_up(places, "b", "c")
    places.dismiss()
    await asyncio.gather(*tasks)
    assert (let_in, places.running, places.waiting) == ([], 1, 0)


async def test_how_long_to_wait_is_told_by_how_long_the_latest_answers_took():
    places = Places("m", 2, 3)
    for _ in range(40):
        await places.enter("a")
        places.leave(20.0)
    tasks, _ = await line_up(places, *"abcde")
    with pytest.raises(QueueFull) as caught:
        await places.enter("f")
    assert caught.value.retry_after == pytest.approx(40.0, rel=0.01)  # four turns, two at a time
    for task in tasks:
        task.cancel()


@given(
    concurrency=st.integers(1, 3),
    queue=st.integers(0, 4),
    steps=st.lists(st.tuples(st.sampled_from("elc"), st.integers(0, 9)), max_size=60),
)
def test_places_are_never_lost_or_given_twice(concurrency, queue, steps):
    async def run():
        places = Places("m", concurrency, queue)
        waiting, holding = [], 0

        async def enter(client):
            nonlocal holding
            with contextlib.suppress(QueueFull):
                await places.enter(client)
                holding += 1

        for what, number in steps:
            if what == "e":
                waiting.append(asyncio.create_task(enter(str(number % 3))))
            elif what == "l" and holding:
                holding -= 1
                places.leave()
            elif what == "c" and waiting:
                waiting[number % len(waiting)].cancel()
            if number % 2:
                await settled()
            assert places.running <= concurrency
            assert places.waiting <= queue
        await settled()
        open_tasks = [task for task in waiting if not task.done()]
        assert places.running == holding
        assert places.waiting == len(open_tasks)
        assert not open_tasks or holding == concurrency
        for task in open_tasks:
            task.cancel()
        await settled()
        assert places.waiting == 0
        assert not places._lines

    asyncio.run(run())


async def test_the_gateway_keeps_to_concurrency_and_queue():
    clock, gate = FakeClock(), asyncio.Event()
    backend = scripted(["a", gate], ["b"], ["c"])
    model = model_of("m", backend, clock=clock, replica={"concurrency": 1, "queue": 1})
    gateway = gateway_of(model, clock=clock)
    tasks = [asyncio.create_task(gateway.complete(ask())) for _ in range(2)]
    await settled()
    assert len(backend.prompts) == 1
    with pytest.raises(BackendBusy):
        await gateway.complete(ask())
    gate.set()
    assert [(await task).message.content for task in tasks] == ["a", "b"]
    assert model.replicas.all[0].places.present == 0


@pytest.mark.parametrize("whole", [True, False])
async def test_a_client_that_leaves_frees_its_place_at_the_replica(whole):
    clock, gate = FakeClock(), asyncio.Event()
    backend = scripted(["a ", gate], "b")
    model = model_of("m", backend, clock=clock, replica={"concurrency": 1})
    gateway = gateway_of(model, clock=clock)

    async def read():
        async with contextlib.aclosing(gateway.stream(ask(), whole=whole)) as deltas:
            async for _ in deltas:
                pass

    task = asyncio.create_task(read())
    await settled()
    following = asyncio.create_task(gateway.complete(ask()))
    await settled()
    assert not following.done()
    task.cancel()
    assert (await following).message.content == "b"
    assert backend.cancelled == 1
    assert model.replicas.all[0].places.present == 0


async def test_a_replica_with_nothing_to_do_takes_over_who_waits_for_another():
    clock, long, short = FakeClock(), asyncio.Event(), asyncio.Event()
    first = scripted([long, "first"], ["first"])
    second = scripted([short, "second"], "second", "second")
    model = model_of("m", first, second, clock=clock, replica={"concurrency": 1})
    gateway = gateway_of(model, clock=clock)
    tasks = [asyncio.create_task(gateway.complete(ask(conversation=str(i)))) for i in range(4)]
    await settled()
    assert [r.places.waiting for r in model.replicas.all] == [1, 1]
    short.set()
    await settled()
    await settled()
    assert sum(task.done() for task in tasks) == 3
    assert (len(first.prompts), len(second.prompts)) == (1, 3)
    long.set()
    await asyncio.gather(*tasks)
    assert [r.places.present for r in model.replicas.all] == [0, 0]


async def test_those_who_wait_for_a_replica_that_goes_down_are_served_by_another():
    clock, gate = FakeClock(), asyncio.Event()
    first = scripted([gate, BackendUnreachable("gone")])
    second = scripted([gate, "b"], "c", "d", "e")
    model = model_of("m", first, second, clock=clock, replica={"concurrency": 1})
    gateway = gateway_of(model, clock=clock)
    tasks = [asyncio.create_task(gateway.complete(ask(conversation=str(i)))) for i in range(4)]
    await settled()
    assert [r.places.present for r in model.replicas.all] == [2, 2]
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(result, BackendUnreachable) for result in results) == 1
    assert len(first.prompts) == 1
    assert len(second.prompts) == 3
    await gateway.aclose()
