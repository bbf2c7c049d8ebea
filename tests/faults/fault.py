"""What a fault is: how an answer goes wrong, and what has to become of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from answer_frames import SAID, Wire
from wire_servers.base import JSON, Reply

Expects = Literal["error", "answer", "either"]
How = Callable[[Wire], Reply | None]
# Frames, and seconds to wait between them.
Change = Callable[[Wire, list[bytes]], Iterable[bytes | float]]

# The server is at fault, and may do better the next time: so SDKs try again.
FAILED = (502, 503, 504)
# It would say the same the next time.
REFUSED = (400, 404, 413, 422, 424)


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    `expects`: an error whose HTTP status is one of `status` and whose message has `words` in it,
    or an answer that is one of `says`. `but` are the backends of which something else is
    expected since their formats differ, with the reason. `at` is where the backend looks for the
    server, if not where it is. `hasty`: to be seen by small timeouts.
    """

    name: str
    how: How | None
    expects: Expects
    status: tuple[int, ...] = FAILED
    words: str = ""
    says: tuple[str, ...] = (SAID,)
    retry_after: int | None = None
    hasty: bool = False
    at: Callable[[str], str] | None = None
    but: Mapping[str, tuple[Expects, str]] = field(default_factory=dict)

    def expected(self, backend: str) -> Expects:
        """What has to become of it in a backend."""
        return self.but[backend][0] if backend in self.but else self.expects


def answering(change: Change, **reply: Any) -> How:
    """A reply with other frames, and what else is different in it."""

    def how(wire: Wire) -> Reply:
        async def frames() -> AsyncIterator[bytes]:
            for frame in change(wire, await wire.frames()):
                if isinstance(frame, float):
                    await asyncio.sleep(frame)
                else:
                    yield frame

        fields = {"chunked": not wire.reply.eof, **reply}
        return replace(wire.reply, frames=frames(), **fields)

    return how


def raw(*frames: bytes, **reply: Any) -> How:
    """These bytes, and no others, in place of an answer."""
    return lambda wire: Reply(list(frames), raw=True, **{"end": "close", **reply})


def body(text: str | bytes, kind: str | None = JSON, status: int = 200, **reply: Any) -> How:
    """One body of that content type in place of an answer."""
    data = text.encode() if isinstance(text, str) else text
    return lambda wire: Reply([data], status, kind, **reply)


def refusing(status: int, message: str, **headers: str) -> How:
    """An error in the server's own words."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def how(wire: Wire) -> Reply:
        reply = wire.server.error(status, message)
        return replace(reply, headers={**reply.headers, **named})

    return how
