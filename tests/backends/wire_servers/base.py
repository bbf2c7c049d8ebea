"""A small HTTP/1.1 server on a port of its own, for servers that speak a documented format.

A test starts one with `async with`, asks it through a backend and the whole client stack, and
looks at what it was asked. What goes wrong is a `fault`: a function that changes the replies.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar, Literal, Self

import httptools

from llmgate.backends import open_backend
from llmgate.config import ModelSettings

from .model import Model

JSON = "application/json"
EVENTS = "text/event-stream"
LINES = "application/x-ndjson"
Frames = Iterable[bytes] | AsyncIterator[bytes]
# What happens behind the last frame: a proper end, a reset, a close without the end, silence.
End = Literal["end", "reset", "close", "silence"]


@dataclass
class Asked:
    """One request. `path` is without its query."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    query: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"null")


@dataclass
class Reply:
    """What is sent for a request. Each frame is sent by itself; `pause` seconds lie between them.

    Without `chunked` the length is told, or with `eof`, as HTTP/1.0 does it, the end of the
    connection is that of the body. With `raw` the frames are all that is sent, without a head. A
    fault may change any of it, or put other frames in.
    """

    frames: Frames = ()
    status: int = 200
    type: str | None = JSON
    headers: dict[str, str] = field(default_factory=dict)
    chunked: bool = False
    eof: bool = False
    raw: bool = False
    pause: float = 0.0
    end: End = "end"


# Gets the request and the reply to it; None is a connection that is closed without an answer.
Fault = Callable[[Asked, Reply], Reply | None]
Handler = Callable[[Asked], Reply]


def document(value: Any, status: int = 200) -> Reply:
    """One JSON document."""
    return Reply([json.dumps(value).encode()], status)


def event(value: Any, name: str | None = None) -> bytes:
    """One server-sent event; a string stands for itself."""
    data = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()


def line(value: Any) -> bytes:
    """One line of JSON."""
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


class WireServer(ABC):
    """One kind of model server, as its documents describe it, with a made-up model behind it.

    `fault` is asked about the replies of the routes in `answers`, which write texts, and with
    `everywhere` about those of all others, too; `requests` are all that came, `left` is set when
    a client goes away in the middle of an answer.
    """

    # The backend that talks to it, and what the wire format lets that know.
    backend: ClassVar[str]
    answers: ClassVar[tuple[str, ...]]
    # Asked with messages: not for the suite of those that complete prompts.
    chats: ClassVar[bool] = False
    streams: ClassVar[bool] = True
    tells_usage: ClassVar[bool] = True
    tells_finish: ClassVar[bool] = True
    seeds: ClassVar[bool] = True

    def __init__(self, model: Model | None = None) -> None:
        self.model = model or Model()
        self.fault: Fault | None = None
        self.everywhere = False
        self.requests: list[Asked] = []
        self.left = asyncio.Event()
        self.url = ""
        # It keeps its port where it is opened once more.
        self.port = 0
        self._routes = dict(self.routes())
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    @abstractmethod
    def routes(self) -> Mapping[tuple[str, str], Handler]:
        """What answers each method and path."""

    @abstractmethod
    def error(self, status: int, message: str) -> Reply:
        """An error in the server's own envelope."""

    @abstractmethod
    def broken(self, message: str) -> bytes | None:
        """The frame that reports an error inside a running answer; None where it has none."""

    def settings(self, **more: Any) -> ModelSettings:
        """The settings of a model on this server."""
        return ModelSettings(**{"backend": self.backend, "url": self.url, **more})

    @asynccontextmanager
    async def opened(self, **settings: Any) -> AsyncIterator[Any]:
        """Start it, and the backend that talks to it."""
        async with self:
            backend = open_backend("tiny", self.settings(**settings))
            await backend.start()
            try:
                yield backend
            finally:
                await backend.aclose()

    def reply(self, asked: Asked) -> Reply | None:
        """The reply to a request, faults included."""
        self.requests.append(asked)
        handler = self._routes.get((asked.method, asked.path))
        reply = handler(asked) if handler else self.error(404, "Not found")
        if self.fault is not None and (self.everywhere or asked.path in self.answers):
            return self.fault(asked, reply)
        return reply

    @property
    def body(self) -> Any:
        """The body of the last request for a text."""
        return next(a.json for a in reversed(self.requests) if a.path in self.answers)

    def paths(self) -> list[str]:
        """The paths that were asked for, in their order."""
        return [asked.path for asked in self.requests]

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port)
        host, self.port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{self.port}"
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self._connections):
            await connection.close()
        await self._server.wait_closed()

    def connected(self, connection: _Connection) -> None:
        self._connections.add(connection)

    def disconnected(self, connection: _Connection, *, answering: bool) -> None:
        self._connections.discard(connection)
        if answering:
            self.left.set()


class _Connection(asyncio.Protocol):
    """One client: its requests are answered one after the other."""

    def __init__(self, server: WireServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: asyncio.Queue[Asked] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()
        self._answering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connected(self)
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def connection_lost(self, error: Exception | None) -> None:
        self._server.disconnected(self, answering=self._answering)
        self._writable.set()
        self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    async def close(self) -> None:
        self._answering = False
        self._transport.abort()
        self._task.cancel()
        await asyncio.wait([self._task])

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._target, self._headers, self._body = b"", {}, b""

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        path, _, query = self._target.decode().partition("?")
        self._waiting.put_nowait(Asked(method, path, self._headers, self._body, query))

    # What is answered.

    async def _serve(self) -> None:
        while True:
            asked = await self._waiting.get()
            self._answering = True
            reply = self._server.reply(asked)
            if reply is None:
                self._end("reset")
                return
            await self._send(reply)
            self._answering = reply.end == "silence"
            if reply.end != "end" or reply.eof:
                self._end("close" if reply.end == "end" else reply.end)
                return

    async def _send(self, reply: Reply) -> None:
        streamed = reply.chunked or reply.eof or reply.raw
        frames = [] if streamed else [frame async for frame in _each(reply.frames)]
        headers = dict(reply.headers)
        if reply.type is not None:
            headers.setdefault("content-type", reply.type)
        if reply.chunked:
            headers["transfer-encoding"] = "chunked"
        elif not reply.eof:
            headers.setdefault("content-length", str(sum(map(len, frames))))
        head = [f"HTTP/1.{int(not reply.eof)} {reply.status} {_phrase(reply.status)}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        if not reply.raw:
            self._transport.write("\r\n".join([*head, "", ""]).encode())
        async for frame in _each(reply.frames if streamed else frames):
            await self._writable.wait()
            if frame:
                chunk = b"%x\r\n%b\r\n" % (len(frame), frame)
                self._transport.write(chunk if reply.chunked else frame)
            # What is written goes out, and a client that left is noticed.
            await asyncio.sleep(reply.pause)
        if reply.chunked and reply.end == "end":
            self._transport.write(b"0\r\n\r\n")

    def _end(self, end: End) -> None:
        """End the connection in a way other than behind a complete answer."""
        if end == "reset":
            self._transport.abort()
        elif end == "close":
            self._transport.close()


async def _each(frames: Frames) -> AsyncIterator[bytes]:
    """The frames, whether they come by themselves or are waited for."""
    if isinstance(frames, AsyncIterator):
        async for frame in frames:
            yield frame
    else:
        for frame in frames:
            yield frame


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
