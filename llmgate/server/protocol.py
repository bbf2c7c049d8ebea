"""How uvicorn speaks HTTP/1.1 here."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from llmgate.server.watch import PRESENCE, Presence


class Protocol(HttpToolsProtocol):
    """uvicorn's own protocol, whose requests know at once when their client has left.

    ASGI tells that only to somebody who waits for it, which takes a task beside each request.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._presence = Presence(self.flow.resume_reading)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._presence.end()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[PRESENCE] = self._presence  # type: ignore[literal-required]
