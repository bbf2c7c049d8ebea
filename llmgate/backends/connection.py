"""One connection to an HTTP/1.1 server: one exchange at a time.

The bytes of an answer are handed on as they come off the socket: a wait costs one future, and
what one read of the socket brought is one piece, however many chunks it was sent in. An answer
that is given up closes its connection at once, since that is what ends a generation.

HTTP is read by llhttp (the package `httptools`). Failures are httpx's exceptions.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import httptools
import httpx

from llmgate.backends.unpacking import Unpacker

if TYPE_CHECKING:
    from llmgate.backends.pool import Pool

_MOST_WAITING = 1 << 20
_MOST_HEAD = 1 << 18
# Timers may go off a little before their time.
EARLY = 0.002
# How long the mark of an answer's end may take once its last word has come.
_AFTERMATH = 1.0


class Exchange:
    """One request under way and its answer, from the answer's head on."""

    def __init__(self, connection: Connection) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        # Whether the head is there, and whether anything is.
        self._connection: Connection | None = connection
        self._framed = False
        self._unpacker: Unpacker | None = None
        self._pieces: list[bytes] = []
        self._waiting = 0
        self.begun = False
        self.heard = False
        self._ended = False
        self._given_up = False
        self._failure: Callable[[], httpx.TransportError] | None = None
        self._waiter: asyncio.Future[None] | None = None

    def header(self, name: str) -> str:
        """The first header of that name, empty where there is none."""
        wanted = name.lower().encode()
        for key, value in self.headers:
            if key.lower() == wanted:
                return value.decode("latin-1")
        return ""

    async def read(self, deadline: float | None = None) -> bytes | None:
        """All that has come since the last time, None at the end.

        Raises httpx's `ReadTimeout` at `deadline` (by the loop's clock), `ReadError`,
        `RemoteProtocolError` for an answer that was cut, and `DecodingError`.
        """
        while True:
            if self._pieces:
                data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
                self._pieces.clear()
                if self._waiting > _MOST_WAITING and self._connection is not None:
                    self._connection.go_on()
                self._waiting = 0
                if self._unpacker is not None:
                    data = self._unpacker.feed(data)
                if data:
                    return data
            elif self._failure is not None:
                raise self._failure()
            elif self._ended:
                if self._unpacker is not None:
                    self._unpacker.finish()
                return None
            else:
                await self._wait(deadline)

    async def head(self, deadline: float | None) -> None:
        """Wait for the head of the answer."""
        while not self.begun:
            if self._failure is not None:
                raise self._failure()
            await self._wait(deadline)
        self._unpacker = Unpacker.of(self.header("content-encoding"))

    def give_up(self, *, done: bool = False) -> None:
        """Close the connection, if the answer is not complete.

        `done`: only the mark of its end is missing, if anything; that has a moment to come.
        """
        connection = self._connection
        if connection is None or self._given_up:
            return
        self._given_up = True
        self._failure = lambda: httpx.ReadError("the answer was given up")
        self._pieces.clear()
        if done:
            connection.go_on()
            connection.watch(connection.loop.time() + _AFTERMATH)
        else:
            self._connection = None
            connection.abort()
        self.wake()

    async def _wait(self, deadline: float | None) -> None:
        assert self._connection is not None
        self._waiter = self._connection.loop.create_future()
        if deadline is not None:
            self._connection.watch(deadline)
        try:
            await self._waiter
        finally:
            self._waiter = None

    # What the connection tells it.

    def take_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._framed = True

    def take_head(self, status: int) -> None:
        if 100 <= status < 200:  # something in front of the head of the answer
            self.headers.clear()
            self._framed = False
            return
        self.status = status
        self.begun = True

    def take(self, data: bytes) -> bool:
        """Whether there is room for more."""
        self._waiting += len(data)
        if not self._given_up:
            self._pieces.append(data)
        return self._waiting <= _MOST_WAITING

    def end(self) -> None:
        self._ended = True
        self._connection = None

    def lose(self, error: Exception | None) -> None:
        """The connection is gone."""
        if self._ended or self._connection is None:
            return
        self._connection = None
        if error is not None:
            text = str(error) or type(error).__name__
            self._failure = lambda: httpx.ReadError(text)
        elif not self.begun:
            text = "the server closed the connection without an answer"
            self._failure = lambda: httpx.RemoteProtocolError(text)
        elif self._framed:
            text = "the server closed the connection before the end of its answer"
            self._failure = lambda: httpx.RemoteProtocolError(text)
        else:
            self._ended = True
        self.wake()

    def break_off(self, failure: Callable[[], httpx.TransportError]) -> None:
        if not self._ended and self._failure is None:
            self._connection = None
            self._failure = failure
            self.wake()

    @property
    def waits(self) -> bool:
        """Whether something has to come soon."""
        return self._waiter is not None or self._given_up

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(asyncio.Protocol):
    """One connection. Between two exchanges it is among the idle ones of its pool."""

    def __init__(self, pool: Pool) -> None:
        self.loop = asyncio.get_running_loop()
        self.idle_since = 0.0
        self.lost = self.loop.create_future()
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._exchange: Exchange | None = None
        self._head_size = 0
        self._paused = False
        self._stray = False
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    @property
    def exchange(self) -> Exchange | None:
        """What is under way on it."""
        return self._exchange

    @property
    def usable(self) -> bool:
        """Whether a request can be sent on it."""
        return not (self._stray or self._transport is None or self._transport.is_closing())

    def begin(self, request: bytes) -> Exchange:
        """Send a request."""
        exchange = Exchange(self)
        if self._transport is None or self._transport.is_closing():
            exchange.lose(None)
            return exchange
        self._exchange = exchange
        self._head_size = 0
        self._transport.write(request)
        return exchange

    def abort(self) -> None:
        """Close it at once."""
        self._exchange = None
        if self._transport is not None:
            # Nothing can be closed in a loop that is closed already.
            with contextlib.suppress(RuntimeError):
                self._transport.abort()

    def go_on(self) -> None:
        """Read again, after a pause."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def watch(self, deadline: float) -> None:
        """See to it that nobody waits beyond `deadline`.

        A timer that goes off too early is set again: it costs nothing as long as answers come.
        """
        self._deadline = deadline
        if self._timer is None or self._timer_at > deadline:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = self.loop.call_at(self._deadline, self._time_out)

    def _time_out(self) -> None:
        self._timer = None
        exchange = self._exchange
        if exchange is None or not exchange.waits:
            return
        if self.loop.time() + EARLY < self._deadline:
            self._set_timer()
            return
        exchange.break_off(lambda: httpx.ReadTimeout("the server sent nothing for too long"))
        self.abort()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        self._pool.remember(self)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None or self._parser is None:
            self.abort()  # nobody has asked
            return
        exchange.heard = True
        if not exchange.begun:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
            if not exchange.begun and self._head_size > _MOST_HEAD:
                raise httptools.HttpParserError("its head does not end")
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            text = f"the server's answer is not HTTP: {error}"
            exchange.break_off(lambda: httpx.RemoteProtocolError(text))
            # An answer that was over when it came may still be waited for.
            exchange.wake()
            self.abort()
            return
        exchange.wake()
        if self._stray:
            self.abort()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pool.forget(self)
        exchange, self._exchange = self._exchange, None
        self._transport = self._parser = None
        if exchange is not None:
            exchange.lose(exc)
        self.lost.set_result(None)

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._stray = self._exchange is None  # more than was asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._exchange is not None and not self._exchange.begun:
            self._exchange.take_header(name, value)

    def on_headers_complete(self) -> None:
        exchange, parser = self._exchange, self._parser
        if exchange is None or parser is None:
            return
        exchange.take_head(parser.get_status_code())

    def on_body(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None or exchange.take(data) or self._paused or self._transport is None:
            return
        self._paused = True
        self._transport.pause_reading()

    def on_message_complete(self) -> None:
        exchange, parser = self._exchange, self._parser
        if exchange is None or parser is None:
            return
        if exchange.begun:
            self._complete(exchange, again=parser.should_keep_alive())

    def _complete(self, exchange: Exchange, *, again: bool) -> None:
        exchange.end()
        self._exchange = None
        self.go_on()
        if again:
            self._pool.keep(self)
        elif self._transport is not None:
            self._transport.close()
