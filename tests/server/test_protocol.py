"""A real server: clients who leave are noticed, whatever is under way."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest
import uvicorn

from llmgate.backends.scripted import ScriptedBackend
from llmgate.config import ServerSettings
from llmgate.gateway import Gateway, Route
from llmgate.server.app import build
from llmgate.server.serve import Server
from llmgate.server.watch import Closing
from llmgate.types import Delta
from llmgate.wrappers import Wrapper


class Endless(ScriptedBackend):
    """Never comes to an end; says when it was reached and when it was stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.running = 0
        self.reached = asyncio.Event()
        self.stopped = asyncio.Event()

    async def complete(self, prompt):
        self.running += 1
        self.reached.set()
        try:
            while True:
                yield Delta(text="word ")
                await asyncio.sleep(0.005)
        finally:
            self.running -= 1
            if not self.running:
                self.stopped.set()


@asynccontextmanager
async def served(backend):
    closing = Closing()
    app = build(
        Gateway({"m": Route(backend, Wrapper.load("chatml"))}), ServerSettings(), closing=closing
    )
    config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="on")
    server = Server(config, closing)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, 10)
        listener.close()


def question(content: str = "hi", **fields: object) -> bytes:
    message = {"role": "user", "content": content}
    body = json.dumps({"model": "m", "messages": [message], **fields}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json"
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("length", [2, 300_000])
async def test_a_client_who_closes_the_connection_stops_the_generation(stream, length):
    backend = Endless()
    async with served(backend) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        # A large body comes in many reads, behind which the server stops reading for a while.
        writer.write(question("a" * length, stream=stream))
        await asyncio.wait_for(backend.reached.wait(), 5)
        assert not backend.stopped.is_set()
        writer.close()
        await asyncio.wait_for(backend.stopped.wait(), 5)


async def test_a_client_who_leaves_takes_its_queued_requests_along():
    backend = Endless()
    async with served(backend) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(question() + question() + question())
        await asyncio.wait_for(backend.reached.wait(), 5)
        writer.close()
        await asyncio.wait_for(backend.stopped.wait(), 5)
        await asyncio.sleep(0.05)
        assert not backend.running


async def test_a_connection_is_used_again_and_noticed_in_its_second_request():
    backend = Endless()
    async with served(backend) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.write(question())
        await asyncio.wait_for(backend.reached.wait(), 5)
        writer.close()
        await asyncio.wait_for(backend.stopped.wait(), 5)
