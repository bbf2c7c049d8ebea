"""Faults of the connection and of HTTP itself."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator, Callable

from answer_frames import Wire, end_of, first_text
from fault import FAILED, Fault, How, answering, raw
from wire_servers.base import End, Reply

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
_LONG = 30.0
_MIB = 1 << 20


def _up_to(count: int) -> Callable[[Wire, list[bytes]], list[bytes]]:
    """The first frames of the text, as far as there are so many; none of an answer in one piece."""

    def change(wire: Wire, frames: list[bytes]) -> list[bytes]:
        return [] if wire.whole else frames[: first_text(frames) + count]

    return change


def _half_a_frame(wire: Wire, frames: list[bytes]) -> list[bytes]:
    at = first_text(frames) + (0 if wire.whole else 2)
    return [*frames[:at], frames[at][: len(frames[at]) // 2]]


def _up_to_the_end_mark(wire: Wire, frames: list[bytes]) -> list[bytes]:
    return frames[: end_of(frames) + 1]


def _packed(encoding: str, damage: Callable[[bytes], bytes]) -> How:
    def change(wire: Wire, frames: list[bytes]) -> list[bytes]:
        data = b"".join(frames)
        packed = gzip.compress(data) if encoding == "gzip" else zlib.compress(data)
        return [damage(packed)]

    return answering(change, headers={"content-encoding": encoding})


def _told(length: Callable[[int], int], end: End) -> How:
    """A body whose length is told wrong."""

    def how(wire: Wire) -> Reply:
        async def frames() -> AsyncIterator[bytes]:
            data = b"".join(await wire.frames())
            kind = wire.reply.type or ""
            yield b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (
                kind.encode(),
                length(len(data)),
            )
            yield data

        return Reply(frames(), raw=True, end=end)

    return how


def _after_the_head(head: bytes) -> How:
    """The whole answer, with a head of these bytes in front of its content type."""

    def how(wire: Wire) -> Reply:
        async def frames() -> AsyncIterator[bytes]:
            kind = (wire.reply.type or "").encode()
            yield head + b"Content-Type: " + kind + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
            for frame in await wire.frames():
                yield b"%x\r\n%b\r\n" % (len(frame), frame)
            yield b"0\r\n\r\n"

        return Reply(frames(), raw=True)

    return how


def _same(wire: Wire, frames: list[bytes]) -> list[bytes]:
    return frames


FAULTS = (
    Fault("refused", None, "error", (503,), "No answer", at=lambda url: "http://127.0.0.1:9"),
    Fault("no such host", None, "error", (503,), at=lambda url: "http://no-such-host.invalid"),
    Fault(
        "TLS where there is none",
        None,
        "error",
        (503,),
        at=lambda url: url.replace("http://", "https://"),
    ),
    Fault("reset without an answer", lambda wire: None, "error", (503,)),
    Fault("closed without an answer", raw(), "error", (503,)),
    Fault("reset in the head", raw(_HEAD[:30], end="reset"), "error", (503,)),
    Fault("closed in the head", raw(_HEAD), "error", (503,)),
    Fault("reset behind the head", answering(_up_to(0), end="reset"), "error"),
    Fault("closed behind the head", answering(_up_to(0), end="close"), "error"),
    Fault("reset between two frames", answering(_up_to(2), end="reset"), "error"),
    Fault("closed between two frames", answering(_up_to(2), end="close"), "error"),
    Fault("reset in a frame", answering(_half_a_frame, end="reset"), "error"),
    Fault("closed in a frame", answering(_half_a_frame, end="close"), "error"),
    Fault("ended in a frame", answering(_half_a_frame), "error"),
    Fault("ended between two frames", answering(_up_to(2)), "error"),
    Fault(
        "reset behind the end mark",
        answering(_up_to_the_end_mark, end="reset"),
        "answer",
        but={"textgen-legacy": ("error", "one document, whose own end does not come")},
    ),
    Fault(
        "closed behind the end mark",
        answering(_up_to_the_end_mark, end="close"),
        "answer",
        but={"textgen-legacy": ("error", "one document, whose own end does not come")},
    ),
    Fault("not HTTP", raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "error", (503,)),
    Fault("HTTP/0.9", raw(b"<html><body>Hello</body></html>"), "error", (503,)),
    Fault("a status that is no number", raw(b"HTTP/1.1 OK\r\n\r\n"), "error", (503,)),
    Fault(
        "two lengths",
        raw(_HEAD + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\nhello"),
        "error",
        (503,),
    ),
    Fault(
        "a length that is no number",
        raw(_HEAD + b"Content-Length: many\r\n\r\nhello"),
        "error",
        (503,),
    ),
    Fault(
        "a chunk size that is no number",
        raw(_HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n"),
        "error",
    ),
    Fault(
        "a chunk longer than told",
        raw(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n"),
        "error",
    ),
    Fault(
        "a huge number of headers",
        raw(b"HTTP/1.1 200 OK\r\n" + b"X-Header: value\r\n" * 30_000 + b"\r\n"),
        "error",
        FAILED,
    ),
    Fault("a header of a mebibyte", raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * _MIB), "error", (503,)),
    Fault(
        "NUL in a header",
        raw(b"HTTP/1.1 200 OK\r\nX-Header: a\0b\r\nContent-Length: 0\r\n\r\n"),
        "error",
    ),
    Fault(
        "switching protocols",
        raw(b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"),
        "error",
    ),
    Fault(
        "100 and 103 before the answer",
        _after_the_head(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
            b"HTTP/1.1 200 OK\r\n"
        ),
        "answer",
    ),
    Fault("lines of the head without CR", _after_the_head(b"HTTP/1.1 200 OK\n"), "either"),
    Fault("HTTP/1.0, ended by closing", answering(_same, chunked=False, eof=True), "answer"),
    Fault("HTTP/1.0, closed too early", answering(_half_a_frame, chunked=False, eof=True), "error"),
    Fault(
        "longer than told, on a connection that stays",
        _told(lambda length: length // 2, "silence"),
        "error",
    ),
    Fault(
        "shorter than told",
        _told(lambda length: length + 100, "close"),
        "answer",
        but={"textgen-legacy": ("error", "one document, whose own end does not come")},
    ),
    Fault("gzip", _packed("gzip", bytes), "answer"),
    Fault("deflate", _packed("deflate", bytes), "answer"),
    Fault("truncated gzip", _packed("gzip", lambda data: data[: len(data) // 2]), "error"),
    Fault("garbage gzip", _packed("gzip", lambda data: data[:12] + b"\xff" * len(data)), "error"),
    Fault("gzip that is none", _packed("gzip", lambda data: b"plain text"), "error"),
    Fault("an encoding nobody asked for", _packed("br", bytes), "error", (502, 503)),
    Fault(
        "silence before the head",
        answering(lambda wire, frames: [_LONG, *frames], chunked=False, eof=False),
        "error",
        (504,),
        hasty=True,
    ),
    Fault(
        "silence in the head",
        raw(_HEAD, end="silence"),
        "error",
        (504,),
        hasty=True,
    ),
    Fault(
        "a head that drips",
        raw(b"HTTP/1.1 200 OK\r\nX-Header: ", *[b"x"] * 300, pause=0.1),
        "error",
        (503, 504),
        hasty=True,
    ),
    Fault(
        "silence before the first token",
        answering(lambda wire, frames: [_LONG, *frames]),
        "error",
        (504,),
        hasty=True,
    ),
    Fault(
        "silence in the middle",
        answering(lambda wire, frames: [*_up_to(2)(wire, frames), _LONG]),
        "error",
        (504,),
        hasty=True,
    ),
    Fault(
        "silence in a frame",
        answering(lambda wire, frames: [*_half_a_frame(wire, frames), _LONG]),
        "error",
        (504,),
        hasty=True,
    ),
    Fault(
        "a drip slower than allowed",
        answering(lambda wire, frames: [x for f in frames for x in (f, _LONG)]),
        "error",
        (504,),
        hasty=True,
        but={"textgen-legacy": ("error", "one document: silence behind it is a missing end")},
    ),
    Fault(
        "a drip of nothing",
        answering(lambda wire, frames: [x for _ in range(300) for x in (b"\n", 0.1)]),
        "error",
        (504,),
        hasty=True,
    ),
    Fault(
        "silence behind the end mark",
        answering(_up_to_the_end_mark, end="silence"),
        "answer",
        but={"textgen-legacy": ("error", "one document, whose own end does not come")},
    ),
    Fault(
        "an answer without end",
        answering(
            lambda wire, frames: [x for _ in range(300) for x in (frames[first_text(frames)], 0.1)]
        ),
        "error",
        (504,),
        says=(),
        hasty=True,
    ),
)
