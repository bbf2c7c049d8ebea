"""What runs for long: its progress on one line of the terminal, and what Ctrl-C does to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO

_WIDTH = 20
_EVERY = 0.1


class Run(Protocol):
    """What can be watched."""

    async def run(self) -> None:
        """Run to the end, or as far as `stop` and `abort` allow."""

    def stop(self) -> None:
        """Begin nothing more."""

    def abort(self) -> None:
        """Drop what is under way, too."""


class AboveBar(logging.StreamHandler[TextIO]):
    """Log lines in place of the bar, which is drawn again below them."""

    def emit(self, record: logging.LogRecord) -> None:
        if self.stream.isatty():
            self.stream.write("\r\x1b[K")
        super().emit(record)


class Bar:
    """Draws a line while `draw` runs, on standard error; nothing where there is no terminal."""

    def __init__(self, line: Callable[[float], str]) -> None:
        """`line` makes the text, of the seconds that have gone by."""
        self._line = line
        self._shown = sys.stderr.isatty()
        self._since = time.monotonic()

    async def draw(self) -> None:
        """Draw until cancelled."""
        while self._shown:
            width = shutil.get_terminal_size().columns - 1
            self._put("\r" + self._line(time.monotonic() - self._since)[:width] + "\x1b[K")
            await asyncio.sleep(_EVERY)

    def say(self, text: str) -> None:
        """Write a line above the bar."""
        self.clear()
        self._put(text + "\n")

    def clear(self) -> None:
        """Take the bar away."""
        if self._shown:
            self._put("\r\x1b[K")

    @staticmethod
    def _put(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


async def watched(run: Run, bar: Bar, under_way: Callable[[], str]) -> int | None:
    """Run with the bar and under signals; the number of the signal that ended it.

    The first Ctrl-C stops it, and says what it waits for: `under_way`, empty for nothing. A
    second one, or SIGTERM, aborts it.
    """
    ended_by: list[int] = []

    def interrupted() -> None:
        if ended_by:
            run.abort()
            return
        ended_by.append(signal.SIGINT)
        if what := under_way():
            bar.say(f"llmgate: waiting for {what} under way; Ctrl-C again drops them.")
        run.stop()

    def terminated() -> None:
        ended_by.append(signal.SIGTERM)
        run.abort()

    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends the program there
        loop.add_signal_handler(signal.SIGINT, interrupted)
        loop.add_signal_handler(signal.SIGTERM, terminated)
    drawing = asyncio.create_task(bar.draw())
    try:
        await run.run()
    finally:
        drawing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await drawing
        bar.clear()
    return ended_by[-1] if ended_by else None


def share(done: int, total: int) -> str:
    """How much is done, as a bar and in numbers."""
    filled = int((done / total if total else 1.0) * _WIDTH)
    return f"[{'#' * filled}{'-' * (_WIDTH - filled)}] {done}/{total}"


def counted(number: int, one: str, many: str) -> str:
    """A number of things; nothing where there are none."""
    return f"{number} {one if number == 1 else many}" if number else ""


def clock(seconds: float) -> str:
    """A time as a person reads it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
