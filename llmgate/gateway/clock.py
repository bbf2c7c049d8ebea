"""Time as the gateway sees it."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """The machine's own time; a test brings one that it can turn by hand."""

    def now(self) -> float:
        """Seconds since some moment, never going back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        await asyncio.sleep(seconds)
