"""How model servers are reached: a small HTTP client, whose failures are those of httpx.

`Client` asks one server over connections of our own (`llmgate.backends.pool`): httpx's own
client and transport cost more than a hundred times the CPU per request. Where a transport of
httpx is given (`httpx.MockTransport`, `respx.MockTransport`), it is used instead, in the same way.

What both have in common: failures are httpx's exceptions; no proxies from the environment; no
redirects followed; compressed bodies are not asked for, but unpacked, and it is an error if
they are cut; an answer that is given up closes its connection at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

import httpx

from llmgate.backends.connection import Exchange
from llmgate.backends.pool import Pool
from llmgate.backends.unpacking import Unpacker
from llmgate.config import Timeouts

_PORTS = {"http": 80, "https": 443}
_JSON = (b"Content-Type", b"application/json")


class Reply(Protocol):
    """An answer whose head is there, and whose body comes piece by piece."""

    status: int

    def header(self, name: str) -> str:
        """The first header of that name, empty where there is none."""
        ...

    async def read(self, deadline: float | None = None) -> bytes | None:
        """All that has come since the last time, None at the end.

        Raises httpx's `ReadTimeout` at `deadline` (by the loop's clock), `ReadError`,
        `RemoteProtocolError` and `DecodingError`.
        """
        ...

    async def aclose(self, *, done: bool = False) -> None:
        """Let go of it: what has not come yet is not wanted any more. Idempotent.

        `done`: all that matters has come, so that only the mark of its end may be missing. The
        connection then has a moment to see that, and can be used again.
        """
        ...


class Client:
    """Sends requests to one server."""

    def __init__(
        self,
        base_url: str,
        timeouts: Timeouts,
        *,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`headers` go with every request.

        With a `transport` requests go through that: tests that use respx's patches pass
        `httpx.AsyncHTTPTransport()`, which is what respx patches. Raises httpx's `InvalidURL`
        and `LocalProtocolError` for an address or headers that can't be used.
        """
        self.is_closed = False
        self._url = httpx.URL(base_url.rstrip("/"))
        if self._url.scheme not in _PORTS or not self._url.host:
            raise httpx.InvalidURL(f"{base_url!r} is not an address on the web")
        self._path = self._url.raw_path.partition(b"?")[0].rstrip(b"/")
        self._headers = [("Accept", "*/*"), ("User-Agent", "llmgate"), *(headers or {}).items()]
        self._head = _lines([(b"Host", self._url.netloc), (b"Accept-Encoding", b"identity")])
        self._head += _lines([_encoded(name, value) for name, value in self._headers])
        self._connect = timeouts.connect
        self._pool = None if transport is not None else _pool(self._url, timeouts)
        self._transport = transport

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> Reply:
        """Send a request and wait for the head of its answer, at most until `deadline`.

        A body is JSON, if `headers` say nothing else. Raises httpx's `TransportError`s.
        """
        if self.is_closed:
            raise httpx.ConnectError("the client is closed")
        own = [_encoded(name, value) for name, value in headers.items()] if headers else []
        if body is not None and not any(name.lower() == b"content-type" for name, _ in own):
            own.append(_JSON)
        target = self._path + _target(path)
        if self._pool is None:
            return await self._pass_on(method, target, own, body, deadline)
        request = _request(method, target, self._head + _lines(own), body)
        return _Own(await self._pool.ask(request, deadline))

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        self.is_closed = True
        if self._pool is not None:
            await self._pool.aclose()
        if self._transport is not None:
            await self._transport.aclose()

    async def _pass_on(
        self,
        method: str,
        target: bytes,
        own: Sequence[tuple[bytes, bytes]],
        body: bytes | None,
        deadline: float | None,
    ) -> Reply:
        assert self._transport is not None
        request = httpx.Request(
            method,
            self._url.copy_with(raw_path=target),
            headers=[*(_encoded(*header) for header in self._headers), *own],
            content=body,
            extensions={"timeout": {"connect": self._connect}},
        )
        request.headers["Accept-Encoding"] = "identity"
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._transport.handle_async_request(request)
        except TimeoutError as error:
            raise httpx.ReadTimeout("the server sent nothing for too long") from error
        try:
            return _Passed(response)
        except httpx.DecodingError:
            await response.aclose()
            raise


class _Own:
    """A reply over a connection of ours."""

    __slots__ = ("_exchange", "header", "read", "status")

    def __init__(self, exchange: Exchange) -> None:
        self.status = exchange.status
        self.header = exchange.header
        self.read = exchange.read
        self._exchange = exchange

    async def aclose(self, *, done: bool = False) -> None:
        self._exchange.give_up(done=done)


class _Passed:
    """A reply over a transport of httpx."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self._response = response
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        self._pieces = aiter(stream)
        self._unpacker = Unpacker.of(self.header("content-encoding"))

    def header(self, name: str) -> str:
        return str(self._response.headers.get(name, ""))

    async def read(self, deadline: float | None = None) -> bytes | None:
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    data = await anext(self._pieces, None)
            except TimeoutError as error:
                await self.aclose()
                raise httpx.ReadTimeout("the server sent nothing for too long") from error
            if data is None:
                if self._unpacker is not None:
                    self._unpacker.finish()
                return None
            if self._unpacker is not None:
                data = self._unpacker.feed(data)
            if data:
                return data

    async def aclose(self, *, done: bool = False) -> None:
        await self._response.aclose()


async def whole(reply: Reply, limit: int, deadline: float | None = None) -> bytes:
    """The rest of a reply's body, but no more than `limit` bytes. Raises what `read` raises."""
    pieces, size = [], 0
    while size < limit and (data := await reply.read(deadline)) is not None:
        pieces.append(data)
        size += len(data)
    return b"".join(pieces)[:limit]


def _pool(url: httpx.URL, timeouts: Timeouts) -> Pool:
    port = url.port or _PORTS[url.scheme]
    return Pool(url.scheme, url.raw_host.decode("ascii"), port, timeouts.connect)


def _request(method: str, target: bytes, head: bytes, body: bytes | None) -> bytes:
    start = b"%s %s HTTP/1.1\r\n" % (method.encode("ascii"), target or b"/")
    if body is None:
        return start + head + b"\r\n"
    return b"%s%sContent-Length: %d\r\n\r\n%s" % (start, head, len(body), body)


def _target(path: str) -> bytes:
    """A path and query as they stand in a request. Raises `LocalProtocolError`."""
    if not (path.isascii() and path.isprintable()) or " " in path:
        raise httpx.LocalProtocolError(f"the path {path!r} can't stand in a request")
    return path.encode("ascii")


def _encoded(name: str, value: str) -> tuple[bytes, bytes]:
    """A header as it is sent. Raises `LocalProtocolError`; the value may be a secret."""
    if not name or not (name.isascii() and name.isprintable()) or set(name) & set(' :"'):
        raise httpx.LocalProtocolError(f"{name!r} can't be the name of a header")
    if not (value.isascii() and value.isprintable()):
        raise httpx.LocalProtocolError(f"the value of the header {name!r} can't stand in one")
    return name.encode("ascii"), value.strip().encode("ascii")


def _lines(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%s: %s\r\n" % header for header in headers)
