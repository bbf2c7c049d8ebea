"""A client of an ASGI app that can leave at any moment, and the answers that it gets."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import msgspec


@dataclass
class Answer:
    """What came back: `pieces` are what was sent as one, and `seen` is told of each."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    seen: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[str]:
        """The data of its events."""
        parts = [part for part in self.body.decode().split("\n\n") if part]
        return [part.removeprefix("data: ") for part in parts if not part.startswith(":")]


class Visit:
    """One request to an app. `leave` is what a client does that has had enough."""

    def __init__(self, app: Any, body: Any, path: str = "/v1/chat/completions", **headers: str):
        self.answer = Answer()
        self._body = msgspec.json.encode(body)
        self._left = asyncio.Event()
        self._asked = False
        sent = {"host": "127.0.0.1", "content-type": "application/json", **headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 80),
        }
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    def leave(self) -> None:
        """Close the connection."""
        self._left.set()

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.answer.status = message["status"]
            self.answer.headers = {
                name.decode().lower(): value.decode() for name, value in message["headers"]
            }
        elif body := message.get("body"):
            self.answer.pieces.append(body)
            self.answer.seen.set()


async def ask(app: Any, body: Any, seconds: float, **headers: str) -> Answer:
    """The whole answer. Raises `TimeoutError`."""
    visit = Visit(app, body, **headers)
    async with asyncio.timeout(seconds):
        await visit.task
    return visit.answer
