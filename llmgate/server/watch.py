"""Work that ends when nobody waits for it any more: the client has left, or the server closes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from starlette.types import Receive, Scope

from llmgate.errors import ShuttingDown

T = TypeVar("T")

# Where a server puts a `Presence` into the scope of a request.
PRESENCE = "llmgate.presence"


class ClientLeft(Exception):
    """The client closed its connection before there was an answer."""


class Closing(asyncio.Event):
    """Set when the server closes: all that is being watched ends."""

    def __init__(self) -> None:
        super().__init__()
        self.watches: set[Watch] = set()

    def set(self) -> None:
        super().set()
        for watch in tuple(self.watches):
            watch.stop(ShuttingDown())


class Presence:
    """Whether the client at the other end of one connection is still there.

    A server that knows by itself when a connection ends puts this into its requests' scopes: then
    no task has to wait for that beside each request. `listen` makes it read from the connection,
    without which its end is not noticed.
    """

    def __init__(self, listen: Callable[[], None]) -> None:
        self.listen = listen
        self.watches: set[Watch] = set()
        self.ended = False

    @staticmethod
    def of(scope: Scope) -> Presence | None:
        """That of the client who sent a request, where the server knows."""
        presence: Presence | None = scope.get(PRESENCE)
        return presence

    def end(self) -> None:
        """The connection is gone."""
        self.ended = True
        for watch in tuple(self.watches):
            watch.stop(ClientLeft())


class Watch:
    """Cancels what the task does inside it, when nobody waits for that any more.

    Raises `ClientLeft` when the client goes away and `ShuttingDown` when the server closes. The
    request's body must have been read. Without a `presence` a task waits for `receive` to tell.
    """

    def __init__(
        self, receive: Receive, closing: Closing, presence: Presence | None = None
    ) -> None:
        self._receive = receive
        self._closing = closing
        self._presence = presence
        self._reason: Exception | None = None

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        if self._closing.is_set():
            raise ShuttingDown
        self._task = task
        self._leaving: asyncio.Task[None] | None = None
        if self._presence is None:
            self._leaving = asyncio.create_task(self._left())
        elif self._presence.ended:
            raise ClientLeft
        else:
            self._presence.listen()
            self._presence.watches.add(self)
        self._closing.watches.add(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.watches.discard(self)
        if self._presence is not None:
            self._presence.watches.discard(self)
        if self._leaving is not None:
            self._leaving.cancel()
            # What holds itself is cleared away late: the task holds this.
            self._leaving = None
        # Somebody else may have cancelled the task, too.
        ours = self._reason is not None and self._task.uncancel() == 0
        if ours and isinstance(error, asyncio.CancelledError):
            assert self._reason is not None
            raise self._reason from None

    def stop(self, reason: Exception) -> None:
        """End what goes on with this error."""
        if self._reason is None:
            self._reason = reason
            self._task.cancel()

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.stop(ClientLeft())


async def unless_gone(
    receive: Receive,
    closing: Closing,
    work: Coroutine[Any, Any, T],
    presence: Presence | None = None,
) -> T:
    """The result of `work`, which is cancelled when nobody waits for it any more. See `Watch`."""
    try:
        async with Watch(receive, closing, presence):
            return await work
    finally:
        work.close()  # where it was not begun
