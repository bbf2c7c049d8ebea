"""The progress of a batch on one line of the terminal; nothing where there is none."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from llmgate.batch import Runner

_WIDTH = 20
_EVERY = 0.1


class AboveBar(logging.StreamHandler[TextIO]):
    """Log lines in place of the bar, which is drawn again below them."""

    def emit(self, record: logging.LogRecord) -> None:
        if self.stream.isatty():
            self.stream.write("\r\x1b[K")
        super().emit(record)


class Bar:
    """Draws how far a run is while `draw` runs, on standard error."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._shown = sys.stderr.isatty()
        self._since = time.monotonic()

    async def draw(self) -> None:
        """Draw until cancelled."""
        while self._shown:
            width = shutil.get_terminal_size().columns - 1
            self._put("\r" + self.line(time.monotonic() - self._since)[:width] + "\x1b[K")
            await asyncio.sleep(_EVERY)

    def say(self, text: str) -> None:
        """Write a line above the bar."""
        self.clear()
        self._put(text + "\n")

    def clear(self) -> None:
        """Take the bar away."""
        if self._shown:
            self._put("\r\x1b[K")

    def line(self, seconds: float) -> str:
        """The bar after that time."""
        runner = self._runner
        progress, done, total = runner.progress, runner.journal.done, runner.source.total
        share = len(done) / total if total else 1.0
        filled = int(share * _WIDTH)
        parts = [
            f"[{'#' * filled}{'-' * (_WIDTH - filled)}] {len(done)}/{total}",
            f"{progress.running} running",
        ]
        if done.failed:
            parts.append(f"{done.failed} failed")
        if progress.retries:
            parts.append(f"{progress.retries} {'retry' if progress.retries == 1 else 'retries'}")
        finished = progress.answered + progress.failed
        if finished and seconds > 0:
            parts.append(f"{finished / seconds:.1f}/s")
            parts.append(f"{_clock((total - len(done)) * seconds / finished)} left")
        if cooling := runner.limits.cooling:
            parts.append(f"rate limit, waiting {cooling:.0f} s")
        elif holding := runner.limits.holding:
            parts.append(f"at the limit, next in {holding:.0f} s")
        return "  ".join(parts)

    @staticmethod
    def _put(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
