"""Answers over HTTP: JSON, errors, event streams."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llmgate.errors import LlmgateError
from llmgate.server.draining import drain
from llmgate.server.watch import ClientLeft, Closing, Presence, Watch
from llmgate.types import Delta
from llmgate.wire.chat_answers import KEEP_ALIVE, ChatWriter, error_body

logger = logging.getLogger("llmgate.server")

# Proxies and clients give up on a silent connection after 30 to 60 seconds.
KEEP_ALIVE_SECONDS = 10.0

_JSON_TYPE = (b"content-type", b"application/json")
_STREAM_HEADERS = (
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
    (b"content-type", b"text/event-stream; charset=utf-8"),
)


class JSON(Response):
    """A JSON answer, encoded by msgspec."""

    def __init__(
        self, content: object, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        # Not Starlette's own: what that does for all kinds of answers takes longer than this one.
        self.status_code = status_code
        self.background = None
        self.body = msgspec.json.encode(content)
        self.raw_headers = [_JSON_TYPE, (b"content-length", b"%d" % len(self.body))]
        for name, value in (headers or {}).items():
            self.raw_headers.append((name.encode("latin-1"), value.encode("latin-1")))


def error_response(error: LlmgateError, *, status: int | None = None) -> Response:
    """The answer that says what went wrong, in the shape and with the status clients know."""
    headers = {}
    wait: float | None = getattr(error, "retry_after", None)
    if wait is not None:
        headers["retry-after"] = str(max(1, math.ceil(wait)))
    if not error.retryable and (status or error.status) >= 500:
        # The SDKs of OpenAI and Anthropic try all others of these again.
        headers["x-should-retry"] = "false"
    return JSON(error_body(error), status_code=status or error.status, headers=headers)


class EventStream(Response):
    """Server-sent events, one or more for each delta, with comments while there are none.

    What fails before the first of them raises, so that it can still be answered by its status.
    """

    def __init__(
        self, deltas: AsyncGenerator[Delta, None], writer: ChatWriter, closing: Closing
    ) -> None:
        self.status_code = 200
        self.background = None
        self.body = b""
        self.raw_headers = [*_STREAM_HEADERS]
        self._deltas = deltas
        self._writer = writer
        self._closing = closing
        self._begun = False
        self._ready: list[bytes] = []
        self._over = False
        self._sent_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._send_message = send
        loop = asyncio.get_running_loop()
        self._sent_at = loop.time()
        self._timer = loop.call_later(KEEP_ALIVE_SECONDS, self._keep_alive, loop)
        try:
            watch = Watch(receive, self._closing, Presence.of(scope))
            async with watch, aclosing(self._deltas):
                await drain(self._deltas, self._take, self._flush)
        except ClientLeft:
            if not self._begun:
                raise
            return
        except LlmgateError as error:
            if not (self._begun or self._ready):
                raise
            self._ready.append(self._writer.failure(error))
        except Exception:
            if not (self._begun or self._ready):
                raise
            logger.exception("a stream failed")
            failure = LlmgateError("Something failed inside llmgate; its log says what.")
            self._ready.append(self._writer.failure(failure))
        finally:
            self._timer.cancel()
        self._over = True
        await self._send(b"".join(self._ready), more=False)

    def _take(self, delta: Delta) -> None:
        if events := self._writer.pieces(delta):
            self._ready.append(events)

    async def _flush(self) -> None:
        """Send on what is there."""
        if self._ready:
            events = b"".join(self._ready)
            self._ready.clear()
            await self._send(events)

    async def _send(self, events: bytes, *, more: bool = True) -> None:
        self._sent_at = asyncio.get_running_loop().time()
        if not self._begun:
            self._begun = True
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await self._send_message(start)
        await self._send_message({"type": "http.response.body", "body": events, "more_body": more})

    async def _say_nothing(self) -> None:
        if not self._over:
            await self._send(KEEP_ALIVE)

    def _keep_alive(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send a comment where nothing was sent for a while."""
        silent = loop.time() - self._sent_at
        if silent >= KEEP_ALIVE_SECONDS:
            silent = 0.0
            self._comment = loop.create_task(self._say_nothing())
        self._timer = loop.call_later(KEEP_ALIVE_SECONDS - silent, self._keep_alive, loop)
