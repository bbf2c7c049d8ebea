"""The places of one replica: so many run, so many wait, and all clients get on alike."""

from __future__ import annotations

import asyncio
from collections import deque

from llmgate.errors import BackendBusy

# How much the newest service time counts in the average.
_NEWEST = 0.3
_SHORTEST, _LONGEST = 1.0, 600.0


class QueueFull(BackendBusy):
    """All places of the queue are taken; asking again at once is no use."""


class Places:
    """At most `concurrency` requests run (None: any number) and `queue` wait.

    Those who wait are let in client by client, however many requests each has waiting.
    """

    def __init__(self, model: str, concurrency: int | None, queue: int) -> None:
        self.running = 0
        self.waiting = 0
        self._model = model
        self._concurrency = concurrency
        self._queue = queue
        self._lines: dict[str, deque[asyncio.Future[bool]]] = {}
        self._pace = 1.0

    @property
    def present(self) -> int:
        """How many requests run or wait."""
        return self.running + self.waiting

    @property
    def taken(self) -> bool:
        """Whether one more request would have to wait."""
        return self.waiting > 0 or (
            self._concurrency is not None and self.running >= self._concurrency
        )

    @property
    def full(self) -> bool:
        """Whether one more request would be refused."""
        return (
            self._concurrency is not None
            and self.running >= self._concurrency
            and self.waiting >= self._queue
        )

    @property
    def patience(self) -> float:
        """Seconds until one more request may get its turn, by how long the latest ones took."""
        turns = (self.waiting + 1) / (self._concurrency or 1)
        return min(max(turns * self._pace, _SHORTEST), _LONGEST)

    async def enter(self, client: str) -> bool:
        """Take a place, which `leave` gives back. False: look elsewhere, no place was taken.

        Raises `QueueFull`.
        """
        if not self.taken:
            self.running += 1
            return True
        if self.full:
            raise QueueFull(
                f"The model {self._model!r} is busy, and {self.waiting} requests wait already.",
                retry_after=self.patience,
                hint="Try again later, or raise `queue` or `concurrency` in its settings.",
            )
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(client, deque()).append(turn)
        self.waiting += 1
        try:
            return await turn
        except asyncio.CancelledError:
            # The place may have been given at the very moment at which nobody wanted it any more.
            if turn.done() and not turn.cancelled():
                if turn.result():
                    self.leave()
            else:
                self._remove(client, turn)
            raise

    def leave(self, seconds: float | None = None) -> None:
        """Give a place back; `seconds` is how long an answer took that came to its end."""
        if seconds is not None:
            self._pace += _NEWEST * (seconds - self._pace)
        self.running -= 1
        while self._lines:
            if self._let_in(following=True):
                self.running += 1
                return

    def dismiss(self, most: int | None = None) -> None:
        """Send those who wait elsewhere: all, or so many of those whose turn would be next."""
        while self._lines and (most is None or most > 0):
            if self._let_in(following=False) and most is not None:
                most -= 1

    def _let_in(self, *, following: bool) -> bool:
        """Tell the next in turn; false if it has just gone away."""
        client = next(iter(self._lines))
        line = self._lines.pop(client)
        turn = line.popleft()
        if line:
            self._lines[client] = line  # behind all others
        self.waiting -= 1
        if turn.done():
            return False
        turn.set_result(following)
        return True

    def _remove(self, client: str, turn: asyncio.Future[bool]) -> None:
        line = self._lines.get(client)
        if line is None or turn not in line:
            return
        line.remove(turn)
        self.waiting -= 1
        if not line:
            del self._lines[client]
