"""Random failures, clients that leave, full queues: all requests end, and nothing is left over."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from scripted_models import FakeClock, ask, gateway_of, model_of

from llmgate.backends.scripted import ScriptedBackend
from llmgate.errors import (
    BackendBusy,
    BackendError,
    BackendRejected,
    BackendTimeout,
    BackendUnreachable,
    ContextOverflow,
    LlmgateError,
)
from llmgate.types import Delta, Usage

FAILURES = (
    BackendUnreachable,
    BackendError,
    BackendTimeout,
    BackendBusy,
    BackendRejected,
    ContextOverflow,
)


class Chaos(ScriptedBackend):
    """Fails in every way that it can, at any place of an answer; sometimes forgets its end."""

    def __init__(self, chance):
        super().__init__()
        self.chance = chance
        self.running = 0

    async def complete(self, prompt):
        self.running += 1
        try:
            for _ in range(self.chance.randrange(4)):
                if self.chance.random() < 0.1:
                    raise self.chance.choice(FAILURES)("chaos")
                for _ in range(self.chance.randrange(5)):
                    await asyncio.sleep(0)
                yield Delta("word ")
            if self.chance.random() < 0.95:
                yield Delta(finish="stop", usage=Usage(3, 4))
        finally:
            self.running -= 1

    async def health(self):
        if self.chance.random() < 0.3:
            raise BackendUnreachable("chaos")


@pytest.mark.parametrize("seed", range(5))
async def test_every_request_ends_and_nothing_is_left_over(seed):
    chance, clock = random.Random(seed), FakeClock(flows=True)
    replica = {"concurrency": 2, "queue": 3, "cooldown": 5, "every": 1}
    backends = [Chaos(chance) for _ in range(5)]
    policy = {"clock": clock, "replica": replica, "retries": 2}
    first = model_of("a", *backends[:3], fallbacks=("b",), cache=1, **policy)
    second = model_of("b", *backends[3:], balance="weighted", **policy)
    gateway = gateway_of(first, second, clock=clock)
    ends = {"answered": 0, "left": 0, "failed": 0}

    async def client(number):
        request = ask(chance.choice("ab"), text=str(number % 90), conversation=str(number % 7))
        patience = chance.choice((1, 2, 99))
        try:
            async with contextlib.aclosing(
                gateway.stream(request, whole=chance.random() < 0.5)
            ) as deltas:
                async for delta in deltas:
                    patience -= 1
                    if delta.finish is not None:
                        ends["answered"] += 1
                    elif not patience:
                        ends["left"] += 1
                        break
        except LlmgateError:
            ends["failed"] += 1

    tasks = []
    for number in range(400):
        tasks.append(asyncio.create_task(client(number)))
        if chance.random() < 0.3:
            await asyncio.sleep(0)
        if chance.random() < 0.1:
            ends["left"] += chance.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not [task for task in tasks if not task.cancelled() and task.exception()]
    assert sum(ends.values()) >= 400
    assert ends["answered"] > 50
    for replica in (*first.replicas.all, *second.replicas.all):
        assert (replica.places.running, replica.places.waiting) == (0, 0)
    assert [backend.running for backend in backends] == [0] * 5
    await gateway.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}
