"""The HTTP client, against sockets that answer to the letter what a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
import socket
import ssl
import struct
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path

import httpx
import pytest

from llmgate.backends.pool import Pool
from llmgate.backends.transport import Client, Reply, whole
from llmgate.config import Timeouts

CERTIFICATE = Path(__file__).parent / "tls" / "localhost.pem"
TIMEOUTS = Timeouts(connect=2.0, first_token=5.0, between_tokens=5.0)
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = EVENTS + b"Transfer-Encoding: chunked\r\n\r\n"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


class Upstream:
    """A server that reads requests and has each answered by `answer`; False ends a connection."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.asked = asyncio.Event()
        self.connections = 0
        self.gone = asyncio.Event()
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1])) if length else b""
                self.requests.append(head + body)
                self.asked.set()
                if await self.answer(reader, writer) is False:
                    return
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.gone.set()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def ended(self) -> None:
        await asyncio.gather(*self._tasks)


@contextlib.asynccontextmanager
async def serving(answer: Answer, context: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    upstream = Upstream(answer)
    server = await asyncio.start_server(upstream, "127.0.0.1", 0, ssl=context)
    scheme = "http" if context is None else "https"
    upstream.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield upstream
    finally:
        server.close()
        await upstream.ended()
        await server.wait_closed()


@contextlib.asynccontextmanager
async def asking(answer: Answer) -> AsyncIterator[tuple[Upstream, Client]]:
    async with serving(answer) as upstream:
        client = Client(upstream.url, TIMEOUTS)
        try:
            yield upstream, client
        finally:
            await client.aclose()


def sends(*pieces: bytes, then: str = "") -> Answer:
    """An answer in pieces, and what becomes of the connection: `close`, `reset` or nothing."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.002)
        if then == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        return not then

    return answer


def silent(*pieces: bytes) -> Answer:
    """An answer that begins and never goes on, until the client leaves."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        for piece in pieces:
            writer.write(piece)
        await writer.drain()
        await reader.read()
        return False

    return answer


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def read_all(reply: Reply) -> bytes:
    return await whole(reply, 1 << 24)


def soon(seconds: float = 0.05) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_a_request_says_what_a_server_needs() -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    async with serving(sends(ok)) as upstream:
        client = Client(f"{upstream.url}/base/", TIMEOUTS, headers={"Authorization": "Bearer k"})
        reply = await client.send("POST", "/completion?a=1", b'{"n": 1}', headers={"X-A": "b"})
        assert await read_all(reply) == b"hi"
        await client.aclose()
    head, _, body = upstream.requests[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /base/completion?a=1 HTTP/1.1"
    host = upstream.url.removeprefix("http://").encode()
    for line in (
        b"Host: " + host,
        b"Authorization: Bearer k",
        b"X-A: b",
        b"Content-Type: application/json",
        b"Content-Length: 8",
    ):
        assert lines.count(line) == 1
    assert body == b'{"n": 1}'


async def test_every_chunk_is_passed_on_before_the_next_one_is_sent() -> None:
    read = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        for number in range(5):
            writer.write(chunk(b"piece %d" % number))
            await writer.drain()
            await asyncio.wait_for(read.wait(), 5)
            read.clear()
        writer.write(b"0\r\n\r\n")

    async with asking(answer) as (_, client):
        reply = await client.send("POST", "/stream", b"{}")
        pieces = []
        while (data := await reply.read(soon(5))) is not None:
            pieces.append(data)
            read.set()
    assert pieces == [b"piece %d" % number for number in range(5)]


async def test_chunks_cut_anywhere_come_out_the_same() -> None:
    text = CHUNKED + chunk(b"one") + chunk(b"two\n") + b"0\r\n\r\n"
    for size in (1, 7, 50):
        cut = [text[start : start + size] for start in range(0, len(text), size)]
        async with asking(sends(*cut)) as (_, client):
            reply = await client.send("POST", "/stream", b"{}")
            assert reply.status == 200
            assert reply.header("content-type") == "text/event-stream"
            assert await read_all(reply) == b"onetwo\n"


@pytest.mark.parametrize(
    ("pieces", "then", "text"),
    [
        ((EVENTS + b"Content-Length: 3\r\n\r\n", b"abc"), "", b"abc"),
        ((EVENTS + b"\r\nabc", b"def"), "close", b"abcdef"),
        ((b"HTTP/1.0 200 OK\r\n\r\nabc",), "close", b"abc"),
        ((EVENTS + b"Content-Length: 0\r\n\r\n",), "", b""),
        ((b"HTTP/1.1 204 No Content\r\n\r\n",), "", b""),
        ((b"HTTP/1.1 100 Continue\r\n\r\n", CHUNKED, chunk(b"abc"), b"0\r\n\r\n"), "", b"abc"),
        ((EVENTS + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc",), "close", b"abc"),
    ],
)
async def test_bodies_end_where_http_says_so(
    pieces: tuple[bytes, ...], then: str, text: bytes
) -> None:
    async with asking(sends(*pieces, then=then)) as (_, client):
        for _ in range(2):
            assert await read_all(await client.send("POST", "/", b"{}")) == text


@pytest.mark.parametrize(
    ("pieces", "then", "kind"),
    [
        ((CHUNKED, b"5\r\nab"), "close", httpx.RemoteProtocolError),
        ((CHUNKED, chunk(b"ab")), "close", httpx.RemoteProtocolError),
        ((EVENTS + b"Content-Length: 9\r\n\r\nab",), "close", httpx.RemoteProtocolError),
        ((CHUNKED, chunk(b"ab")), "reset", httpx.ReadError),
        ((CHUNKED, chunk(b"ab"), b"zz\r\nab"), "close", httpx.RemoteProtocolError),
    ],
)
async def test_an_answer_that_is_cut_gives_what_it_had_and_then_an_error(
    pieces: tuple[bytes, ...], then: str, kind: type[Exception]
) -> None:
    async with asking(sends(*pieces, then=then)) as (_, client):
        reply = await client.send("POST", "/", b"{}")
        assert await reply.read(soon(5)) == b"ab"
        for _ in range(2):
            with pytest.raises(kind):
                await reply.read(soon(5))
        await reply.aclose()


@pytest.mark.parametrize(
    ("pieces", "then", "kind"),
    [
        ((), "close", httpx.RemoteProtocolError),
        ((), "reset", httpx.ReadError),
        ((b"HTTP/1.1 200 O",), "close", httpx.RemoteProtocolError),
        ((b"this is not HTTP\r\n\r\n",), "close", httpx.RemoteProtocolError),
        ((b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",), "close", None),
        ((b"HTTP/1.1 200 OK\r\nX: " + b"y" * (1 << 19),), "close", httpx.RemoteProtocolError),
    ],
)
async def test_no_answer_at_all_is_an_error(
    pieces: tuple[bytes, ...], then: str, kind: type[Exception] | None
) -> None:
    async with asking(sends(*pieces, then=then)) as (_, client):
        with pytest.raises(kind or httpx.TransportError):
            await client.send("POST", "/", b"{}", deadline=soon(5))


async def test_a_server_that_is_not_there_is_a_connect_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://nowhere.invalid:80"):
        client = Client(url, TIMEOUTS)
        with pytest.raises(httpx.ConnectError, match="no connection to"):
            await client.send("GET", "/health")
        await client.aclose()


async def test_plain_http_where_tls_is_asked_for_is_a_connect_error() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    client = Client(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", TIMEOUTS)
    with pytest.raises(httpx.ConnectError):
        await client.send("GET", "/health")
    await client.aclose()
    server.close()
    await server.wait_closed()


async def test_certificates_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    async with serving(sends(CHUNKED, chunk(b"ab"), b"0\r\n\r\n"), context) as upstream:
        client = Client(upstream.url, TIMEOUTS)
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await client.send("GET", "/health")
        await client.aclose()
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        client = Client(upstream.url, TIMEOUTS)
        for _ in range(3):
            assert await read_all(await client.send("POST", "/", b"{}")) == b"ab"
        upstream.answer = silent(CHUNKED, chunk(b"ab"))
        upstream.gone.clear()
        reply = await client.send("POST", "/", b"{}")
        assert await reply.read(soon(5)) == b"ab"
        await reply.aclose()
        await asyncio.wait_for(upstream.gone.wait(), 5)
        await client.aclose()


async def test_a_connection_that_takes_too_long_is_a_connect_timeout() -> None:
    with socket.socket() as listener:  # never accepts: TLS can't begin
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        client = Client(url, Timeouts(connect=0.05))
        with pytest.raises(httpx.ConnectTimeout, match=r"0\.05 seconds"):
            await client.send("GET", "/health")
        await client.aclose()


async def test_a_silent_server_is_a_read_timeout_and_is_left() -> None:
    for answer in (silent(), silent(CHUNKED), silent(CHUNKED, chunk(b"ab"))):
        async with asking(answer) as (upstream, client):
            with pytest.raises(httpx.ReadTimeout):
                await impatient(client)
            await asyncio.wait_for(upstream.gone.wait(), 5)


async def impatient(client: Client) -> None:
    reply = await client.send("POST", "/", b"{}", deadline=soon())
    while await reply.read(soon()) is not None:
        pass


async def test_a_deadline_that_moves_on_does_not_end_an_answer() -> None:
    pieces = [chunk(b"%d" % number) for number in range(8)]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        for piece in pieces:
            await asyncio.sleep(0.03)
            writer.write(piece)
        writer.write(b"0\r\n\r\n")

    async with asking(answer) as (_, client):
        reply = await client.send("POST", "/", b"{}", deadline=soon(0.2))
        text = b""
        while (data := await reply.read(soon(0.2))) is not None:
            text += data
    assert text == b"01234567"


async def test_closing_an_answer_reaches_the_server() -> None:
    async with asking(silent(CHUNKED, chunk(b"ab"))) as (upstream, client):
        reply = await client.send("POST", "/", b"{}")
        assert await reply.read() == b"ab"
        await reply.aclose()
        await asyncio.wait_for(upstream.gone.wait(), 5)
        await reply.aclose()
        with pytest.raises(httpx.ReadError):
            await reply.read()


@pytest.mark.parametrize("begun", [False, True])
async def test_cancelling_reaches_the_server(begun: bool) -> None:
    async with asking(silent(CHUNKED) if begun else silent()) as (upstream, client):

        async def ask() -> None:
            reply = await client.send("POST", "/", b"{}")
            try:
                await reply.read()
            finally:
                await reply.aclose()

        task = asyncio.create_task(ask())
        await asyncio.wait_for(upstream.asked.wait(), 5)
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(upstream.gone.wait(), 5)


async def test_a_finished_answer_leaves_its_connection_for_the_next() -> None:
    async with asking(sends(CHUNKED, chunk(b"ab"), b"0\r\n\r\n")) as (upstream, client):
        for _ in range(5):
            reply = await client.send("POST", "/", b"{}")
            assert await read_all(reply) == b"ab"
            await reply.aclose()
        assert upstream.connections == 1


async def test_an_old_answer_has_no_hand_on_the_next_one() -> None:
    async with asking(sends(CHUNKED, chunk(b"ab"), b"0\r\n\r\n")) as (upstream, client):
        old = await client.send("POST", "/", b"{}")
        assert await read_all(old) == b"ab"
        new = await client.send("POST", "/", b"{}")
        await old.aclose()
        assert await old.read() is None
        assert await read_all(new) == b"ab"
        assert upstream.connections == 1


@pytest.mark.parametrize("after", [b"0\r\n\r\n", chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"])
async def test_an_answer_left_at_its_last_word_leaves_its_connection_for_the_next(
    after: bytes,
) -> None:
    async with asking(sends(CHUNKED, chunk(b"ab"), after)) as (upstream, client):
        for _ in range(3):
            reply = await client.send("POST", "/", b"{}")
            assert await reply.read(soon(5)) == b"ab"
            await reply.aclose(done=True)
            with pytest.raises(httpx.ReadError):
                await reply.read(soon(5))
            await asyncio.sleep(0.05)
        assert upstream.connections == 1


async def test_an_answer_left_at_its_last_word_that_does_not_end_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llmgate.backends.connection._AFTERMATH", 0.02)
    async with asking(silent(CHUNKED, chunk(b"ab"))) as (upstream, client):
        reply = await client.send("POST", "/", b"{}")
        assert await reply.read(soon(5)) == b"ab"
        await reply.aclose(done=True)
        await asyncio.wait_for(upstream.gone.wait(), 5)


async def test_an_answer_given_up_is_never_used_again() -> None:
    async with asking(sends(CHUNKED, chunk(b"ab"), chunk(b"cd"))) as (upstream, client):
        for number in range(3):
            reply = await client.send("POST", "/", b"{}")
            assert (await reply.read() or b"").startswith(b"ab")
            await reply.aclose()
            assert upstream.connections == number + 1


async def test_more_than_was_asked_for_is_thrown_away_with_its_connection() -> None:
    answer = EVENTS + b"Content-Length: 2\r\n\r\nab"
    async with asking(sends(answer + answer)) as (upstream, client):
        for number in range(3):
            assert await read_all(await client.send("POST", "/", b"{}")) == b"ab"
            assert upstream.connections == number + 1


async def test_a_connection_that_the_server_closed_while_idle_is_not_used() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(EVENTS + b"Content-Length: 2\r\n\r\nab")
        await writer.drain()
        return False

    async with asking(answer) as (upstream, client):
        for _ in range(3):
            assert await read_all(await client.send("POST", "/", b"{}")) == b"ab"
            await asyncio.sleep(0.02)
        assert upstream.connections == 3


async def test_a_connection_that_the_server_closes_when_it_is_used_again_is_replaced() -> None:
    answer = sends(CHUNKED, chunk(b"ab"), b"0\r\n\r\n")
    async with asking(answer) as (upstream, client):
        for number in range(1, 6):
            # What comes second on a connection is not answered: the server has left it.
            assert await read_all(await client.send("POST", "/", b"{}")) == b"ab"
            assert upstream.connections == number
            upstream.answer = once(sends(then="close"), answer, upstream)
    assert len(upstream.requests) == 9


def once(first: Answer, then: Answer, upstream: Upstream) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> object:
        upstream.answer = then
        return await first(reader, writer)

    return answer


async def test_idle_connections_are_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmgate.backends.pool._IDLE_SECONDS", 0.05)
    async with asking(sends(EVENTS + b"Content-Length: 2\r\n\r\nab")) as (upstream, client):
        assert await read_all(await client.send("POST", "/", b"{}")) == b"ab"
        await asyncio.wait_for(upstream.gone.wait(), 5)
        assert await read_all(await client.send("POST", "/", b"{}")) == b"ab"
        assert upstream.connections == 2


async def test_many_requests_at_a_time_get_their_own_answers() -> None:
    upstream_seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = upstream.requests[-1].partition(b"\r\n\r\n")[2]
        upstream_seen.append(body)
        writer.write(CHUNKED)
        for start in range(0, len(body), 3):
            writer.write(chunk(body[start : start + 3]))
            await asyncio.sleep(0.001)
        writer.write(b"0\r\n\r\n")

    async with asking(answer) as (upstream, client):

        async def ask(number: int) -> bool:
            text = b"request %d " % number * 3
            reply = await client.send("POST", "/", text)
            try:
                return await read_all(reply) == text
            finally:
                await reply.aclose()

        for _ in range(4):
            assert all(await asyncio.gather(*(ask(number) for number in range(50))))
        assert upstream.connections <= 60


async def test_a_slow_reader_holds_the_server_back() -> None:
    sent = 0
    piece = b"x" * (1 << 18)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(CHUNKED)
        for _ in range(200):
            writer.write(chunk(piece))
            await writer.drain()
            sent += 1
        writer.write(b"0\r\n\r\n")

    async with asking(answer) as (_, client):
        reply = await client.send("POST", "/", b"{}")
        await asyncio.sleep(0.2)
        assert sent < 150
        size = 0
        while (data := await reply.read(soon(10))) is not None:
            size += len(data)
        assert size == 200 * len(piece)


def packed(encoding: str, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        encoding.encode(),
        len(body),
        body,
    )


RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
DEFLATED = RAW.compress(b'{"status": "ok"}' * 9) + RAW.flush()
TEXT = b'{"status": "ok"}' * 9


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT[:40]) + gzip.compress(TEXT[40:])),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", DEFLATED),
        ("identity", TEXT),
    ],
)
async def test_packed_bodies_are_unpacked_once(encoding: str, body: bytes) -> None:
    async with asking(sends(packed(encoding, body))) as (_, client):
        assert await read_all(await client.send("GET", "/")) == TEXT


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(TEXT)[:-12]),
        ("deflate", zlib.compress(TEXT)[:-6]),
        ("gzip", b"not gzip at all"),
        ("br", b"whatever"),
    ],
)
async def test_packed_bodies_that_are_cut_or_garbage_are_errors(encoding: str, body: bytes) -> None:
    async with asking(sends(packed(encoding, body))) as (_, client):
        with pytest.raises(httpx.DecodingError):
            await read_all(await client.send("GET", "/"))


@pytest.mark.parametrize(
    ("name", "value"), [("X", "a\r\nY: b"), ("X", "é"), ("a b", "c"), ("", "c"), ("a:", "c")]
)
async def test_headers_that_can_not_be_sent_are_refused(name: str, value: str) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        Client("http://127.0.0.1:1", TIMEOUTS, headers={name: value})
    client = Client("http://127.0.0.1:1", TIMEOUTS)
    with pytest.raises(httpx.LocalProtocolError):
        await client.send("GET", "/", headers={name: value})


async def test_paths_that_can_not_be_sent_are_refused() -> None:
    client = Client("http://127.0.0.1:1", TIMEOUTS)
    for path in ("/a b", "/a\r\nX: y", "/é"):
        with pytest.raises(httpx.LocalProtocolError):
            await client.send("GET", path)
    for url in ("ftp://host", "127.0.0.1:80", "http://"):
        with pytest.raises(httpx.InvalidURL):
            Client(url, TIMEOUTS)


async def test_a_closed_client_closes_what_is_under_way_and_sends_nothing_more() -> None:
    async with asking(silent(CHUNKED, chunk(b"ab"))) as (upstream, client):
        reply = await client.send("POST", "/", b"{}")
        assert await reply.read() == b"ab"
        waiting = asyncio.create_task(reply.read())
        await asyncio.sleep(0)
        await client.aclose()
        await client.aclose()
        with pytest.raises(httpx.ReadError):
            await waiting
        await asyncio.wait_for(upstream.gone.wait(), 5)
        assert client.is_closed
        with pytest.raises(httpx.ConnectError, match="closed"):
            await client.send("GET", "/")


def test_one_client_serves_two_loops_one_after_the_other() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}", TIMEOUTS)

    async def ask(*, last: bool) -> bytes:
        upstream = Upstream(sends(EVENTS + b"Content-Length: 2\r\n\r\nab"))
        server = await asyncio.start_server(upstream, "127.0.0.1", port)
        try:
            return await read_all(await client.send("GET", "/"))
        finally:
            if last:
                await client.aclose()
            else:
                pool = client._pool
                assert isinstance(pool, Pool)
                await pool.aclose()
            server.close()
            await upstream.ended()
            await server.wait_closed()

    assert asyncio.run(ask(last=False)) == b"ab"
    assert asyncio.run(ask(last=True)) == b"ab"


def test_connections_of_a_loop_that_ended_are_not_used() -> None:
    class Left:
        loop = object()
        idle_since = float("inf")
        usable = True
        aborted = False

        def abort(self) -> None:
            self.aborted = True

    async def take() -> None:
        pool = Pool("http", "127.0.0.1", 1, 1.0)
        left = Left()
        pool._idle.append(left)  # type: ignore[arg-type]
        assert pool._take() is None
        assert left.aborted

    asyncio.run(take())


async def test_a_transport_of_httpx_is_used_in_the_same_way() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        assert request.url == "http://model:1/base/completion"
        assert request.headers["authorization"] == "Bearer k"
        assert request.headers["content-type"] == "application/json"
        assert request.content == b"{}"
        return httpx.Response(200, headers={"X-A": "b"}, content=pieces())

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"a", b"", b"b"):
            yield piece

    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    given = httpx.MockTransport(handle)
    headers = {"Authorization": "Bearer k"}
    client = Client("http://model:1/base", TIMEOUTS, headers=headers, transport=given)
    reply = await client.send("POST", "/completion", b"{}")
    assert (reply.status, reply.header("x-a"), reply.header("x-b")) == (200, "b", "")
    assert [await reply.read(), await reply.read(), await reply.read()] == [b"a", b"b", None]
    await reply.aclose()
    await client.aclose()
    answer = httpx.Response(200, json={"status": "ok"})
    given = httpx.MockTransport(lambda request: answer)
    client = Client("http://model:1", TIMEOUTS, transport=given)
    assert await read_all(await client.send("GET", "/health")) == answer.content
    await client.aclose()
    client = Client("http://model:1", TIMEOUTS, transport=httpx.MockTransport(fail))
    with pytest.raises(httpx.ConnectError, match="refused"):
        await client.send("POST", "/completion", b"{}")
    await client.aclose()


async def test_deadlines_hold_over_a_transport_of_httpx() -> None:
    async with serving(silent(CHUNKED, chunk(b"ab"))) as upstream:
        client = Client(upstream.url, TIMEOUTS, transport=httpx.AsyncHTTPTransport())
        reply = await client.send("POST", "/", b"{}", deadline=soon(5))
        assert await reply.read(soon(5)) == b"ab"
        with pytest.raises(httpx.ReadTimeout):
            await reply.read(soon())
        await asyncio.wait_for(upstream.gone.wait(), 5)
        await client.aclose()


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with asking(sends(EVENTS + b"Content-Length: 2\r\n\r\nab")) as (_, client):
        assert await read_all(await client.send("GET", "/")) == b"ab"


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not for Windows")
@pytest.mark.parametrize(
    "test",
    [
        test_every_chunk_is_passed_on_before_the_next_one_is_sent,
        test_a_server_that_is_not_there_is_a_connect_error,
        test_plain_http_where_tls_is_asked_for_is_a_connect_error,
        test_a_connection_that_takes_too_long_is_a_connect_timeout,
        test_a_silent_server_is_a_read_timeout_and_is_left,
        test_a_deadline_that_moves_on_does_not_end_an_answer,
        test_closing_an_answer_reaches_the_server,
        test_an_old_answer_has_no_hand_on_the_next_one,
        test_an_answer_given_up_is_never_used_again,
        test_more_than_was_asked_for_is_thrown_away_with_its_connection,
        test_a_connection_that_the_server_closed_while_idle_is_not_used,
        test_many_requests_at_a_time_get_their_own_answers,
        test_a_slow_reader_holds_the_server_back,
        test_a_closed_client_closes_what_is_under_way_and_sends_nothing_more,
    ],
)
def test_the_same_holds_on_the_loop_that_llmgate_serves_on(
    test: Callable[[], Coroutine[None, None, None]],
) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not for Windows")
@pytest.mark.parametrize(
    ("pieces", "then", "kind"),
    [
        ((CHUNKED, chunk(b"ab")), "close", httpx.RemoteProtocolError),
        ((CHUNKED, chunk(b"ab")), "reset", httpx.ReadError),
        ((EVENTS + b"Content-Length: 9\r\n\r\nab",), "close", httpx.RemoteProtocolError),
    ],
)
def test_cut_answers_are_errors_on_that_loop_too(
    pieces: tuple[bytes, ...], then: str, kind: type[Exception]
) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(
            test_an_answer_that_is_cut_gives_what_it_had_and_then_an_error(pieces, then, kind)
        )
