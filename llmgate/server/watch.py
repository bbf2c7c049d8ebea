"""Work that ends when nobody waits for it any more: the client has left, or the server closes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from starlette.types import Receive

from llmgate.errors import ShuttingDown

T = TypeVar("T")


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


class Watch:
    """Cancels what the task does inside it, when nobody waits for that any more.

    Raises `ClientLeft` when the client goes away and `ShuttingDown` when the server closes. The
    request's body must have been read.
    """

    def __init__(self, receive: Receive, closing: Closing) -> None:
        self._receive = receive
        self._closing = closing
        self._reason: Exception | None = None

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        if self._closing.is_set():
            raise ShuttingDown
        self._task = task
        self._closing.watches.add(self)
        self._leaving = asyncio.create_task(self._left())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.watches.discard(self)
        self._leaving.cancel()
        # What holds itself is cleared away late: the task holds this.
        del self._leaving
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


async def unless_gone(receive: Receive, closing: Closing, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when nobody waits for it any more. See `Watch`."""
    try:
        async with Watch(receive, closing):
            return await work
    finally:
        work.close()  # where it was not begun
