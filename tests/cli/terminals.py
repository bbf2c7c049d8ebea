"""A program in a pseudo-terminal of its own, and the screen that a person would see."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pexpect
import pyte

CHAT = (sys.executable, "-m", "llmgate", "chat")


class _Screen(pyte.HistoryScreen):
    """A screen that answers when the program asks where the cursor is."""

    answer = staticmethod(lambda data: None)

    def write_process_input(self, data):
        self.answer(data.encode())


def _prompts(text: str) -> int:
    return sum(line.startswith(">") for line in text.splitlines())


class Terminal:
    """A running program: what is typed goes to it, `text` is what it shows."""

    def __init__(
        self,
        *arguments: str,
        folder: Path,
        columns: int = 100,
        rows: int = 40,
        env: dict[str, str] | None = None,
    ) -> None:
        dropped = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
        known = {key: value for key, value in os.environ.items() if key not in dropped}
        known |= {"TERM": "xterm-256color", "PYTHONUTF8": "1", **(env or {})}
        self._screen = _Screen(columns, rows, history=5000, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        self._child = pexpect.spawn(
            arguments[0], list(arguments[1:]), cwd=str(folder), env=known, timeout=30,
            dimensions=(rows, columns),
        )  # fmt: skip
        self._child.delaybeforesend = None
        self._screen.answer = self._child.send

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def text(self) -> str:
        """All lines, those that have left the screen too, without the spaces behind them."""
        self._take(0)
        gone = (
            "".join(line[column].data for column in range(self._screen.columns))
            for line in self._screen.history.top
        )
        return "\n".join(line.rstrip() for line in (*gone, *self._screen.display)).rstrip()

    def wait_for(self, wanted: str, seconds: float = 30, *, behind: str = "") -> str:
        """The text, once `wanted` stands in it, `behind` the last place of something else."""
        end = time.monotonic() + seconds
        while True:
            text = self.text
            start = text.rfind(behind) if behind else 0
            if start >= 0 and wanted in text[start:]:
                return text
            assert time.monotonic() < end, f"{wanted!r} did not appear:\n{text}"
            assert self._take(0.1) or self._child.isalive(), f"it ended before {wanted!r}:\n{text}"

    def wait_for_prompt(self) -> str:
        """The text, once the program waits for a line."""
        end = time.monotonic() + 30
        while True:
            text = self.text
            if text.rsplit("\n", 1)[-1].strip() == ">":
                return text
            assert time.monotonic() < end, f"there is no prompt:\n{text}"
            assert self._take(0.1) or self._child.isalive(), f"it ended:\n{text}"

    def type(self, text: str) -> None:
        self._child.send(text.encode())

    def enter(self, line: str = "") -> str:
        """Type a line, and wait until what it leads to is over: the text from the line on."""
        before = self.wait_for_prompt()
        self.type(line + "\r")
        prompts = _prompts(before)
        end = time.monotonic() + 30
        while _prompts(text := self.wait_for_prompt()) <= prompts:
            assert time.monotonic() < end, f"{line!r} did not end:\n{text}"
            self._take(0.05)
        return text[len(before) :]

    def press(self, key: str) -> None:
        keys = {
            "tab": "\t", "enter": "\r", "alt-enter": "\x1b\r", "up": "\x1b[A", "ctrl-c": "\x03",
            "ctrl-d": "\x04", "ctrl-u": "\x15",
        }  # fmt: skip
        self.type(keys[key])

    def resize(self, columns: int, rows: int) -> None:
        self._child.setwinsize(rows, columns)
        self._screen.resize(rows, columns)

    def ended(self) -> int:
        """The exit status, once it has ended."""
        self._child.expect(pexpect.EOF)
        self._feed(self._child.before or b"")
        self._child.close()
        return self._child.exitstatus if self._child.exitstatus is not None else -1

    def kill(self) -> None:
        self._child.kill(9)
        self._child.wait()
        self._child.close()

    def close(self) -> None:
        if self._child.isalive():
            self.kill()
        self._child.close()

    def _take(self, seconds: float) -> bool:
        """Read what is there, and wait for it that long; whether there was anything."""
        took = False
        while True:
            try:
                data = self._child.read_nonblocking(65536, timeout=0 if took else seconds)
            except (pexpect.TIMEOUT, pexpect.EOF):
                return took
            took = True
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        self.written += data
        self._stream.feed(data)
