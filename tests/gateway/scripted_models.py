"""Models over scripted backends, and a clock that is turned by hand."""

from __future__ import annotations

import asyncio

from llmgate.backends.scripted import ScriptedBackend
from llmgate.gateway import Gateway, Route
from llmgate.gateway.call import Call
from llmgate.gateway.clock import Clock
from llmgate.gateway.health import Health
from llmgate.gateway.models import Model, Policy
from llmgate.gateway.queue import Places
from llmgate.gateway.replicas import Replica, Replicas
from llmgate.types import Caps, Completion, Message, Request
from llmgate.wrappers import Wrapper

WRAPPER = Wrapper.load("chatml", {"opening_brace": "never"})


class FakeClock(Clock):
    """Time that passes only when it is told to, or, with `flows`, by itself while one sleeps."""

    def __init__(self, *, flows=False):
        self.time = 1000.0
        self.slept = []
        self._flows = flows
        self._sleepers = []

    def now(self):
        return self.time

    async def sleep(self, seconds):
        self.slept.append(seconds)
        if self._flows:
            self.time += seconds
            await asyncio.sleep(0)
            return
        waker = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time + seconds, waker))
        await waker

    async def pass_(self, seconds):
        """Let time pass, and everything happen that happens by then."""
        await settled()
        self.time += seconds
        for when, waker in list(self._sleepers):
            if when <= self.time and not waker.done():
                waker.set_result(None)
        await settled()


async def settled():
    """Let all tasks run until they wait for something."""
    for _ in range(20):
        await asyncio.sleep(0)


def scripted(*answers, context=None):
    return ScriptedBackend(list(answers), caps=Caps(grammar=True, context=context))


def replica_of(name, backend=None, clock=None, *, concurrency=None, queue=32, weight=1.0, **health):
    backend = scripted() if backend is None else backend
    clock = clock or FakeClock()
    return Replica(
        name,
        Route(backend, WRAPPER),
        Places(name, concurrency, queue),
        Health(name, backend.health, clock=clock, **health),
        weight,
    )


def model_of(name, *backends, clock, balance="least_busy", replica=None, **policy):
    """A model whose replicas `name-0`, `name-1`, … are these backends."""
    replicas = [
        replica_of(f"{name}-{number}", backend, clock, **(replica or {}))
        for number, backend in enumerate(backends)
    ]
    return Model(name, Replicas(replicas, balance, clock=clock), Policy(**policy))


def gateway_of(*models, clock, **options):
    return Gateway({model.name: model for model in models}, clock=clock, **options)


def call_of(clock, conversation="c", **fields):
    return Call(model="m", clock=clock, began=clock.now(), conversation=conversation, **fields)


def ask(model="m", text="Add five.", **fields):
    return Request(model=model, messages=(Message("user", text),), **fields)


async def streamed(gateway, request):
    return Completion.fold([delta async for delta in gateway.stream(request)])


def codes(completion):
    return [note.code for note in completion.notes]
