"""The connections to one HTTP/1.1 server, kept while they can be used again."""

from __future__ import annotations

import asyncio
import ssl

import httpx

from llmgate.backends.connection import EARLY, Connection, Exchange

# llama-server and uvicorn close idle connections after five seconds: ours must go first.
_IDLE_SECONDS = 2.0


class Pool:
    """The connections to one server."""

    def __init__(self, scheme: str, host: str, port: int, connect: float) -> None:
        """`connect` is how many seconds a connection may take to come about."""
        self._host = host
        self._port = port
        self._limit = connect
        self._secure = scheme == "https"
        self._context: ssl.SSLContext | None = None
        self._all: set[Connection] = set()
        self._idle: list[Connection] = []
        self._sweeper: asyncio.TimerHandle | None = None

    async def ask(self, request: bytes, deadline: float | None = None) -> Exchange:
        """Send a request and wait for the head of its answer.

        Raises httpx's `ConnectError`, `ConnectTimeout`, and what `Exchange.read` raises.
        """
        idle = self._take()
        if idle is not None:
            exchange = idle.begin(request)
            try:
                return await self._head(exchange, deadline)
            except (httpx.RemoteProtocolError, httpx.ReadError):
                # A server may close a connection that is not in use at any time, and llama-server
                # does it behind each stream: a request that meets this has not been read.
                if exchange.heard:
                    raise
        connection = await self._connect()
        return await self._head(connection.begin(request), deadline)

    def keep(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        connection.idle_since = connection.loop.time()
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = connection.loop.call_later(_IDLE_SECONDS, self._sweep)

    def remember(self, connection: Connection) -> None:
        """A connection is there."""
        self._all.add(connection)

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def aclose(self) -> None:
        """Close all connections, and wait until they are."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        loop = asyncio.get_running_loop()
        closed = list(self._all)
        self._idle.clear()
        self._all.clear()
        for connection in closed:
            exchange = connection.exchange
            connection.abort()
            if exchange is not None:
                exchange.lose(ConnectionAbortedError("the client was closed"))
        await asyncio.gather(*(one.lost for one in closed if one.loop is loop))

    async def _head(self, exchange: Exchange, deadline: float | None) -> Exchange:
        try:
            await exchange.head(deadline)
        except BaseException:
            exchange.give_up()
            raise
        return exchange

    def _take(self) -> Connection | None:
        """An idle connection: the one used last, which is the least likely to be gone."""
        loop = asyncio.get_running_loop()
        while self._idle:
            connection = self._idle.pop()
            fresh = loop.time() - connection.idle_since < _IDLE_SECONDS
            if connection.loop is loop and fresh and connection.usable:
                return connection
            connection.abort()
        return None

    def _sweep(self) -> None:
        self._sweeper = None
        loop = asyncio.get_running_loop()
        oldest = loop.time() - _IDLE_SECONDS + EARLY
        for connection in [one for one in self._idle if one.idle_since <= oldest]:
            self._idle.remove(connection)
            connection.abort()
        if self._idle:
            first = min(one.idle_since for one in self._idle)
            self._sweeper = loop.call_at(first + _IDLE_SECONDS, self._sweep)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        where = f"{self._host}:{self._port}"
        if self._secure and self._context is None:
            self._context = httpx.create_ssl_context()
            self._context.set_alpn_protocols(["http/1.1"])
        try:
            async with asyncio.timeout(self._limit):
                _, connection = await loop.create_connection(
                    lambda: Connection(self), self._host, self._port, ssl=self._context
                )
        except TimeoutError as error:
            text = f"no connection to {where} in {self._limit:g} seconds"
            raise httpx.ConnectTimeout(text) from error
        except (OSError, ssl.CertificateError, UnicodeError) as error:
            raise httpx.ConnectError(f"no connection to {where}: {error}") from error
        return connection
