"""A conversation goes back to the slot of the server that holds its beginning."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
from asking import answer
from made_up import LAST, Server, backend_of, events, stream

from llmgate.backends.slots import Slots
from llmgate.types import Prompt


def stream_of(content: AsyncIterator[bytes]) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=content)


def test_the_slot_that_answered_is_asked_for_again():
    slots = Slots()
    assert slots.of("a") is None
    slots.answered("a", 2)
    assert slots.of("a") == 2


def test_a_slot_holds_one_conversation():
    slots = Slots()
    slots.answered("a", 2)
    slots.answered("b", 2)
    assert slots.of("a") is None
    assert slots.of("b") == 2


def test_nobody_waits_for_a_slot_that_is_in_use():
    slots = Slots()
    slots.answered("a", 0)
    with slots.using(slots.of("a")):
        assert slots.of("a") is None
    assert slots.of("a") == 0
    with slots.using(None):
        assert slots.of("a") == 0


def test_only_so_many_are_remembered():
    slots = Slots()
    for number in range(2_000):
        slots.answered(f"c{number}", number)
    assert slots.of("c0") is None
    assert slots.of("c1999") == 1999


async def test_a_server_is_asked_for_the_slot_of_a_conversation():
    server = Server(lambda request: stream(events({"content": "a"}, {**LAST, "id_slot": 3})))
    server.props["total_slots"] = 4
    backend = backend_of(server)
    await answer(backend, Prompt("hi", slot="talk"))
    assert "id_slot" not in server.body
    await answer(backend, Prompt("hi", slot="talk"))
    assert server.body["id_slot"] == 3
    await answer(backend, Prompt("hi", slot="another"))
    assert "id_slot" not in server.body
    await answer(backend, Prompt("hi"))
    assert "id_slot" not in server.body
    await backend.aclose()


async def test_a_server_with_one_slot_is_not_asked_for_it():
    server = Server(lambda request: stream(events({"content": "a"}, {**LAST, "id_slot": 0})))
    backend = backend_of(server)
    for _ in range(2):
        await answer(backend, Prompt("hi", slot="talk"))
        assert "id_slot" not in server.body
    await backend.aclose()


async def test_two_requests_of_one_conversation_do_not_wait_for_each_other():
    gate, asked = asyncio.Event(), asyncio.Event()

    async def body():
        asked.set()
        yield events({"content": "a"})
        await gate.wait()
        yield events({**LAST, "id_slot": 1})

    server = Server(lambda request: stream(events({"content": "a"}, {**LAST, "id_slot": 1})))
    server.props["total_slots"] = 4
    backend = backend_of(server)
    await answer(backend, Prompt("hi", slot="talk"))
    server.respond = lambda request: stream_of(body())
    first = asyncio.ensure_future(answer(backend, Prompt("hi", slot="talk")))
    await asked.wait()
    assert server.body["id_slot"] == 1
    second = asyncio.ensure_future(answer(backend, Prompt("hi", slot="talk")))
    await asyncio.sleep(0.05)
    assert "id_slot" not in server.body
    gate.set()
    await asyncio.gather(first, second)
    await backend.aclose()
