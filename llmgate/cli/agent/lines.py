"""Lines of standard input where nobody edits them: one line is one message."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque


class PipedLines:
    """Reads a pipe, a file or a bare terminal, line by line; what is no UTF-8 is replaced.

    The reading is done by a thread that nobody waits for, so that Ctrl-C ends the program even
    while nothing comes.
    """

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._lines: deque[str] = deque()
        self._rest = b""
        self._ended = False
        self._more: asyncio.Event | None = None
        self.multiline = False

    async def read(self) -> str | None:
        """The next message, None at the end. After a line `//` it goes on to the next such one."""
        line = await self._line()
        if line is None or line.strip() != "//":
            return line
        lines: list[str] = []
        while (line := await self._line()) is not None and line.strip() != "//":
            lines.append(line)
        return "\n".join(lines)

    async def _line(self) -> str | None:
        if self._more is None:
            self._more = asyncio.Event()
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._pump, args=(loop,), daemon=True).start()
        while not self._lines:
            if self._ended:
                return None
            self._more.clear()
            await self._more.wait()
        return self._lines.popleft()

    def _pump(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read to the end. Not through sys.stdin: its lock would be held while nothing comes."""
        while True:
            try:
                data = os.read(self._descriptor, 65536)
            except OSError:
                data = b""
            try:
                loop.call_soon_threadsafe(self._came, data)
            except RuntimeError:  # the loop is closed: nobody reads any more
                return
            if not data:
                return

    def _came(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        if not data:
            self._ended = True
            whole, self._rest = [self._rest] if self._rest else [], b""
        self._lines.extend(line.decode("utf-8", "replace").rstrip("\r") for line in whole)
        if self._more is not None:
            self._more.set()
