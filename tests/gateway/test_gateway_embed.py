"""Embeddings go through the same steps: limits, fallbacks, retries, replicas, the log."""

from __future__ import annotations

import json

import pytest
from scripted_models import FakeClock, gateway_of, model_of, scripted

from llmgate.config import KeySettings
from llmgate.errors import BackendTimeout, BackendUnreachable, Forbidden, UnknownModel
from llmgate.gateway.limits import Clients
from llmgate.types import Embeddings, Usage

GONE = BackendUnreachable("gone")


def embedder(*answers):
    """A backend that makes these vectors, or raises these errors, one after the other."""
    backend, left = scripted(), list(answers)

    async def embed(texts):
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Embeddings(tuple((answer,) for _ in texts), Usage(len(texts), 0))

    backend.embed = embed
    return backend


def values(made):
    return [value for (value,) in made.vectors]


async def test_they_are_tried_again_and_elsewhere(tmp_path):
    clock, log = FakeClock(flows=True), tmp_path / "usage.jsonl"
    gateway = gateway_of(
        model_of("a", embedder(GONE), embedder(GONE), clock=clock, retries=1, fallbacks=("b",)),
        model_of("b", embedder(2.0), clock=clock),
        clock=clock,
        usage_log=log,
    )
    made = await gateway.embed("a", ["x", "y"])
    assert values(made) == [2.0, 2.0]
    assert [note.code for note in made.notes] == ["fallback"]
    await gateway.aclose()
    line = json.loads(log.read_text())
    assert (line["answered_by"], line["prompt_tokens"], line["retries"]) == ("b", 2, 1)


async def test_places_are_given_back():
    clock = FakeClock()
    model = model_of("m", embedder(1.0, GONE, 3.0), clock=clock, replica={"concurrency": 1})
    gateway = gateway_of(model, clock=clock)
    await gateway.embed("m", ["x"])
    with pytest.raises(BackendUnreachable):
        await gateway.embed("m", ["x"])
    assert values(await gateway.embed("m", ["x"])) == [3.0]
    assert model.replicas.all[0].places.present == 0
    await gateway.aclose()


async def test_limits_and_names_hold_for_them_too():
    clock = FakeClock()
    gateway = gateway_of(model_of("m", embedder(1.0), clock=clock), clock=clock)
    client = Clients({"ann": KeySettings("k", models=("n",), tokens=100)}, clock).of(b"k")
    with pytest.raises(Forbidden):
        await gateway.embed("m", ["x"], client=client)
    with pytest.raises(UnknownModel):
        await gateway.embed("o", ["x"])
    client = Clients({"ann": KeySettings("k", tokens=100)}, clock).of(b"k")
    await gateway.embed("m", ["x" * 200, "y"], client=client)
    assert client.headers()["x-ratelimit-remaining-tokens"] == "98"


async def test_the_deadline_holds_for_them_too():
    import asyncio

    clock, backend = FakeClock(), scripted()

    async def embed(texts):
        await asyncio.Event().wait()

    backend.embed = embed
    gateway = gateway_of(model_of("m", backend, clock=clock, total=0.01), clock=clock)
    with pytest.raises(BackendTimeout):
        await gateway.embed("m", ["x"])
