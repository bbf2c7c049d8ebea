"""Files and folders that are whole or not there, and backups in a row."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from llmgate.errors import StorageError, StoreFull

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def failure(error: OSError, what: str) -> StorageError:
    """The error for an operation of the system that failed."""
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return StoreFull(
            f"{what}: {reason}.", hint="Make space and try again: what was stored before is safe."
        )
    return StorageError(f"{what}: {reason}.")


def make_folder(path: Path) -> None:
    """Make a folder, if it is not there, that nobody else on this machine can look into."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def make_file(path: Path) -> None:
    """Make an empty file, if it is not there, that nobody else on this machine can read."""
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in one step: it is on the disk under that name, or there is none.

    Raises `StorageError` if something is there already.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        if path.exists():
            raise StorageError(f"{path} is there already.", hint="Choose another path.")
        make_folder(path.parent)
        make_file(beside)
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise failure(error, f"can't write {path}") from error


def sync_file(path: Path) -> None:
    """Make sure that the file's content is on the disk, if the file is there."""
    try:
        # Windows flushes only what is open for writing.
        descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make sure that the names in the folder are on the disk, where folders can be synced."""
    if sys.platform != "win32":
        sync_file(path)


def prune(folder: Path, pattern: str, keep: int) -> None:
    """Remove the oldest backups, which are named after their time, but for the last `keep`."""
    for old in sorted(folder.glob(pattern))[:-keep]:
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink()


def size_of(folder: Path) -> int:
    """The bytes of all files under the folder."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except FileNotFoundError:  # removed while we looked
                continue
    return total


def utc_stamp() -> str:
    """The time as backups are named after it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%fZ")
