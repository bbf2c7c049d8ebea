"""Answers over HTTP: JSON, errors, event streams; each stops its work when the client leaves."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Self, TypeVar

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llmgate.errors import BackendBusy, LlmgateError, ShuttingDown
from llmgate.types import Delta
from llmgate.wire.chat_answers import KEEP_ALIVE, ChatWriter, error_body

logger = logging.getLogger("llmgate.server")
T = TypeVar("T")

# Proxies and clients give up on a silent connection after 30 to 60 seconds.
KEEP_ALIVE_SECONDS = 10.0


class ClientLeft(Exception):
    """The client closed its connection before there was an answer."""


class JSON(Response):
    """A JSON answer, encoded by msgspec."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        return msgspec.json.encode(content)


def error_response(error: LlmgateError, *, status: int | None = None) -> Response:
    """The answer that says what went wrong, in the shape and with the status clients know."""
    headers = {}
    if isinstance(error, BackendBusy):
        headers["retry-after"] = str(max(1, round(error.retry_after)))
    return JSON(error_body(error), status_code=status or error.status, headers=headers)


async def unless_gone(receive: Receive, closing: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when nobody waits for it any more.

    Raises `ClientLeft` when the client goes away and `ShuttingDown` when `closing` is set. The
    request's body must have been read.
    """
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnect(receive))
    closed = asyncio.create_task(closing.wait())
    try:
        await asyncio.wait({task, gone, closed}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientLeft if gone.done() else ShuttingDown
    finally:
        await _end(task, gone, closed)


class EventStream(Response):
    """Server-sent events, one or more for each delta, with comments while there are none."""

    def __init__(
        self, deltas: AsyncGenerator[Delta, None], writer: ChatWriter, closing: asyncio.Event
    ) -> None:
        super().__init__(
            media_type="text/event-stream",
            headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
        )
        del self.headers["content-length"]
        self._deltas = deltas
        self._writer = writer
        self._closing = closing
        self._first: asyncio.Task[Delta] | None = None
        self._sent_at = 0.0

    @classmethod
    async def begin(
        cls, deltas: AsyncGenerator[Delta, None], writer: ChatWriter, closing: asyncio.Event
    ) -> Self:
        """A stream whose first delta is there, or is long in coming.

        What fails before it raises here, so that it can still be answered by its status.
        """
        stream = cls(deltas, writer, closing)
        stream._first = asyncio.create_task(_next(deltas))
        try:
            await asyncio.wait({stream._first}, timeout=KEEP_ALIVE_SECONDS)
            if stream._first.done() and (error := stream._first.exception()):
                raise error
        except BaseException:
            await stream._close()
            raise
        return stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        closed = asyncio.create_task(self._closing.wait())
        tasks = [
            asyncio.create_task(self._pump(send)),
            asyncio.create_task(self._keep_alive(send)),
            asyncio.create_task(_disconnect(receive)),
        ]
        try:
            await asyncio.wait([*tasks, closed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            interrupted = not any(task.done() for task in tasks)
            await _end(*tasks, closed)
            await self._close()
        if interrupted:
            await self._send(send, self._writer.failure(ShuttingDown()))
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, send: Send) -> None:
        try:
            if self._first is not None:
                await self._send(send, self._writer.pieces(await self._first))
            async for delta in self._deltas:
                await self._send(send, self._writer.pieces(delta))
        except LlmgateError as error:
            await self._send(send, self._writer.failure(error))
        except Exception:
            logger.exception("a stream failed")
            failure = LlmgateError("Something failed inside llmgate; its log says what.")
            await self._send(send, self._writer.failure(failure))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _keep_alive(self, send: Send) -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE_SECONDS)
            if time.monotonic() - self._sent_at >= KEEP_ALIVE_SECONDS:
                await self._send(send, KEEP_ALIVE)

    async def _send(self, send: Send, events: bytes) -> None:
        if events:
            self._sent_at = time.monotonic()
            await send({"type": "http.response.body", "body": events, "more_body": True})

    async def _close(self) -> None:
        if self._first is not None:
            await _end(self._first)
        await self._deltas.aclose()


async def _next(deltas: AsyncGenerator[Delta, None]) -> Delta:
    return await anext(deltas)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks that are not done and wait until they are."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
