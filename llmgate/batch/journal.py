"""The results file: every line is on the disk before its request counts as done."""

from __future__ import annotations

import asyncio
import os
import sys
from array import array
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from llmgate.batch.lines import add, lock, sync_folder, write_all
from llmgate.batch.results import Stamp, stamp_of
from llmgate.errors import ConfigError, LlmgateError

_COMMAND = "llmgate batch"
# The most lines that a requests file may have: an index beyond was not written by us.
_MOST_LINES = 1 << 28


class Done:
    """The requests that have a result: eight bytes for each line of the requests file."""

    def __init__(self) -> None:
        self._marks = array("Q")
        self.answered = 0
        self.failed = 0

    def __contains__(self, index: int) -> bool:
        return index < len(self._marks) and self._marks[index] != 0

    def __len__(self) -> int:
        return self.answered + self.failed

    def add(self, stamp: Stamp) -> None:
        """Remember a result. One that is known already counts once."""
        if stamp.index in self:
            return
        if (missing := stamp.index + 1 - len(self._marks)) > 0:
            self._marks.frombytes(bytes(missing * self._marks.itemsize))
        self._marks[stamp.index] = _mark(stamp.hash)
        if stamp.ok:
            self.answered += 1
        else:
            self.failed += 1

    def is_same(self, index: int, digest: str) -> bool:
        """Whether the result of that line was for a line with this hash."""
        return self._marks[index] == _mark(digest)


class Journal:
    """The results file, open for appending and locked against a second process."""

    def __init__(self, path: Path, file: BinaryIO, done: Done, end: int) -> None:
        self.path = path
        self.done = done
        self._file = file
        self._end = end
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """The file with what it holds, mended if its last line was cut off.

        Raises `ConfigError` for a file that was not written by this command, or is being written.
        """
        try:
            file = _locked(path)
        except OSError as error:
            raise ConfigError(f"can't write to {path}: {error.strerror or error}.") from error
        try:
            done, end = _recover(path, file)
        except OSError as error:
            file.close()
            raise ConfigError(f"can't read {path}: {error.strerror or error}.") from error
        except BaseException:
            file.close()
            raise
        return cls(path, file, done, end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def take_out_failed(self) -> None:
        """Remove the failed results, in one step: their requests count as not done."""
        if self.done.failed:
            try:
                self._file, self.done, self._end = _without_failed(self.path, self._file)
            except OSError as error:
                raise ConfigError(f"can't write to {self.path}: {error}.") from error

    async def append(self, line: bytes) -> None:
        """Write a line; it is on the disk when this returns, even if that is not waited for.

        Raises `LlmgateError` when it can't be written. Lines that come while others are being
        written are written together.
        """
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((line, written))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await written

    async def flush(self) -> None:
        """Wait until all that was appended is on the disk."""
        if self._flushing is not None:
            await asyncio.shield(self._flushing)

    async def _flush(self) -> None:
        while waiting := self._waiting:
            self._waiting = []
            try:
                await asyncio.to_thread(self._write, b"".join(line for line, _ in waiting))
            except OSError as error:
                failure = LlmgateError(
                    f"can't write to {self.path}: {error.strerror or error}.",
                    hint="What was written is complete: run the same command again to go on.",
                )
                for _, written in waiting:
                    if not written.done():
                        written.set_exception(failure)
            else:
                for line, written in waiting:
                    self.done.add(stamp_of(line))
                    if not written.done():
                        written.set_result(None)
        self._flushing = None

    def _write(self, data: bytes) -> None:
        add(self._file, data, self._end)
        self._end += len(data)


def _locked(path: Path) -> BinaryIO:
    """The file opened for reading and appending, and ours alone."""
    new = not path.exists()
    file = path.open("a+b", buffering=0)
    try:
        lock(file, path, _COMMAND)
        if new:
            sync_folder(path)
    except BaseException:
        file.close()
        raise
    return file


def _recover(path: Path, file: BinaryIO) -> tuple[Done, int]:
    """What the file holds, and its length without a last line that was cut off."""
    done, end = Done(), 0
    with path.open("rb") as reading:
        for number, line in enumerate(reading, 1):
            try:
                stamp = stamp_of(line)
                if not 0 <= stamp.index < _MOST_LINES or len(stamp.hash) != 16:
                    raise msgspec.ValidationError("an index or hash that can't be")
                _mark(stamp.hash)
            except (ValueError, msgspec.DecodeError, RecursionError) as error:
                if not line.endswith(b"\n") and _is_cut(line):
                    break
                raise ConfigError(
                    f"{path} has a line that llmgate batch did not write, line {number}.",
                    hint="Choose another file with -o: results are only added to one's own.",
                ) from error
            done.add(stamp)
            end += len(line)
            if not line.endswith(b"\n"):
                write_all(file, b"\n")
                end += 1
                break
    if end != os.fstat(file.fileno()).st_size:
        os.ftruncate(file.fileno(), end)
        os.fsync(file.fileno())
    return done, end


def _is_cut(line: bytes) -> bool:
    """Whether this can be the beginning of a result: a file of another kind is not to be cut."""
    line = line.rstrip(b"\0")  # what a file system may leave behind after a power cut
    opening = b'{"id":"batch_req_'
    if line and not line.startswith((b"[", opening)) and not opening.startswith(line):
        return False
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return False


def _without_failed(path: Path, file: BinaryIO) -> tuple[BinaryIO, Done, int]:
    """The same file without its failed results, put into its place in one step."""
    beside = path.with_name(f"{path.name}.new")
    done, end = Done(), 0
    fresh: BinaryIO = beside.open("w+b", buffering=0)
    try:
        with path.open("rb") as reading:
            for line in reading:
                if (stamp := stamp_of(line)).ok:
                    done.add(stamp)
                    end += len(line)
                    write_all(fresh, line)
        os.fsync(fresh.fileno())
        lock(fresh, beside, _COMMAND)
        if sys.platform == "win32":
            file.close()  # a file that is open can't be replaced there
        beside.replace(path)
        sync_folder(path)
    except BaseException:
        fresh.close()
        beside.unlink(missing_ok=True)
        raise
    file.close()
    return fresh, done, end


def _mark(digest: str) -> int:
    """Eight bytes that are never 0, which stands for no result."""
    return int(digest, 16) or 1
