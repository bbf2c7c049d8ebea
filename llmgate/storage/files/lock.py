"""The lock file of a store: one process at a time, and who it is."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from llmgate.errors import StoreBusy

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_WRITING = b"W"
_CALM = b"-"
_FIRST_SLEEP, _LONGEST_SLEEP = 0.0002, 0.01


class Holder(msgspec.Struct, frozen=True):
    """Who has the lock, or had it last."""

    pid: int
    host: str
    since: datetime


class Lock:
    """Held for each look and each write, never longer. The system lets go of it with a process.

    Its first byte says whether its holder was in the middle of changing files: if it still says
    so when the next one gets the lock, the holder has died there.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        self._own = b""

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Gives whether the holder before died while it wrote. Raises `StoreBusy`."""
        self._acquire()
        try:
            content = self._read()
            if not self._own or content[1:] != self._own:
                self._own = msgspec.json.encode(
                    Holder(os.getpid(), socket.gethostname(), datetime.now(UTC))
                )
                # On a full disk nobody learns who we are; what is stored can still be read.
                with contextlib.suppress(OSError):
                    self._write((content[:1] or _CALM) + self._own)
                    os.ftruncate(self._descriptor, 1 + len(self._own))
            yield content[:1] == _WRITING
        finally:
            self._release()

    def begin(self) -> None:
        """Note that files are being changed from now on."""
        self._write(_WRITING)

    def end(self) -> None:
        """Note that all changes are made."""
        self._write(_CALM)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _acquire(self) -> None:
        give_up = time.monotonic() + self._timeout
        sleep = _FIRST_SLEEP
        while True:
            try:
                self._try()
            except (BlockingIOError, PermissionError):
                if time.monotonic() > give_up:
                    raise StoreBusy(
                        f"{self._path.parent} is in use by {self._holder()}.",
                        hint="Wait for it, or raise the parameter busy_timeout.",
                    ) from None
                time.sleep(sleep)
                sleep = min(sleep * 2, _LONGEST_SLEEP)
            else:
                return

    def _holder(self) -> str:
        try:
            holder = msgspec.json.decode(self._read()[1:], type=Holder)
        except (msgspec.DecodeError, OSError):
            return "another process"
        return f"process {holder.pid} on {holder.host}, since {holder.since:%Y-%m-%d %H:%M:%S} UTC"

    def _try(self) -> None:
        if sys.platform == "win32":
            # Far behind the content, which others shall read meanwhile.
            os.lseek(self._descriptor, 1 << 30, os.SEEK_SET)
            msvcrt.locking(self._descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _release(self) -> None:
        if sys.platform == "win32":
            os.lseek(self._descriptor, 1 << 30, os.SEEK_SET)
            msvcrt.locking(self._descriptor, msvcrt.LK_UNLCK, 1)
        else:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _read(self) -> bytes:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return os.read(self._descriptor, 1024)

    def _write(self, data: bytes) -> None:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, data)
