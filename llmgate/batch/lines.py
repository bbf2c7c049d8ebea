"""Files of lines that are only ever added: one process has them, and no line is half there."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import BinaryIO

from llmgate.errors import ConfigError

if sys.platform != "win32":
    import fcntl


def lock(file: BinaryIO, path: Path, command: str) -> None:
    """Take the file for this process. Raises `ConfigError` if another one of `command` has it."""
    taken = ConfigError(
        f"another {command} is writing to {path}.", hint="Wait for it, or choose another -o."
    )
    if sys.platform != "win32":
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise taken from None
    # While we opened it, another may have put a new file in its place.
    if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        raise taken


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of it. Raises `OSError`."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file.fileno(), rest) :]


def add(file: BinaryIO, data: bytes, end: int, *, sync: bool = True) -> None:
    """Write behind the `end` of the file, all of it or nothing. Raises `OSError`."""
    try:
        write_all(file, data)
        if sync:
            os.fsync(file.fileno())
    except OSError:
        # A full disk takes half a line: the next one must not stand behind it.
        with contextlib.suppress(OSError):
            os.ftruncate(file.fileno(), end)
            os.lseek(file.fileno(), 0, os.SEEK_END)
        raise


def sync_folder(path: Path) -> None:
    """Make sure that the file's name is on the disk, too, where folders can be synced."""
    if sys.platform == "win32":
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
