"""The logs of a `file:` store: one line of JSON for each entry, and where each begins."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path

import msgspec

from llmgate.errors import StoreCorrupt
from llmgate.storage import encoding
from llmgate.storage.batch import StoredLine
from llmgate.storage.local import Found
from llmgate.storage.places import failure
from llmgate.storage.scan import in_direction, select


class LineOnDisk(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the file. `log` is there only where the path does not say the name."""

    position: int
    at: datetime
    value: msgspec.Raw
    text: str | None = None
    log: str | None = None


def line_of(position: int, line: StoredLine, log: str | None) -> msgspec.Raw:
    """The line, without its end."""
    value = msgspec.Raw(line.value)
    on_disk = LineOnDisk(position, encoding.moment(line.at), value, line.text, log)
    return msgspec.Raw(msgspec.json.encode(on_disk))


class Log:
    """Where the lines of a log's file begin. Made from the file, then kept in step with it."""

    def __init__(self, path: Path, offsets: array[int], end: int) -> None:
        self.path = path
        self.end = end
        self._offsets = offsets
        # What searches look at, once there was one.
        self._texts: list[str] = []
        self._times: list[int] = []

    @classmethod
    def open(cls, path: Path) -> tuple[Log, bytes]:
        """The log, and what stands behind its last whole line."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            data = b""
        except OSError as error:
            raise failure(error, f"can't read {path}") from error
        offsets, end = array("Q"), 0
        for line in BytesIO(data):
            if not line.endswith(b"\n"):
                break
            offsets.append(end)
            end += len(line)
        if offsets and not _is_line(data[offsets[-1] : end]):
            end = offsets.pop()
        return cls(path, offsets, end), data[end:]

    def __len__(self) -> int:
        return len(self._offsets)

    def add(self, lines: Sequence[msgspec.Raw]) -> None:
        """Take in lines that were added to the file."""
        for line in lines:
            self._offsets.append(self.end)
            self.end += len(bytes(line)) + 1

    def read(self, after: int | None, limit: int, reverse: bool) -> Found:
        """A page, as `Engine.read` gives it."""
        positions = in_direction(range(1, len(self) + 1), after, limit, reverse)
        return self._at(positions)

    def search(
        self,
        words: tuple[str, ...],
        since: int | None,
        until: int | None,
        limit: int,
        offset: int,
        reverse: bool,
    ) -> tuple[Found, int]:
        """A page of what is found and how much that is, as `Engine.search` gives it."""
        if missing := range(len(self._texts) + 1, len(self) + 1):
            lines = self._at(missing, folded=True)
            self._texts += [line.folded for _, line in lines]
            self._times += [line.at for _, line in lines]
        found = select(self._texts, self._times, words, since, until)
        wanted = (found[::-1] if reverse else found)[offset : offset + limit]
        return [line for position in wanted for line in self._at((position,))], len(found)

    def _at(self, positions: Sequence[int], *, folded: bool = False) -> Found:
        """The entries at positions that lie side by side, in either order."""
        if not positions:
            return []
        first, last = min(positions[0], positions[-1]), max(positions[0], positions[-1])
        start = self._offsets[first - 1]
        stop = self._offsets[last] if last < len(self) else self.end
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                data = file.read(stop - start)
        except OSError as error:
            raise failure(error, f"can't read {self.path}") from error
        found = []
        for position in positions:
            begin = self._offsets[position - 1] - start
            end = (self._offsets[position] if position < len(self) else self.end) - start
            found.append((position, self._entry(position, data[begin:end], folded)))
        return found

    def _entry(self, position: int, line: bytes, folded: bool) -> StoredLine:
        try:
            on_disk = msgspec.json.decode(line, type=LineOnDisk)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StoreCorrupt(
                f"{self.path}, line {position} can't be understood: {error}.",
                hint="Restore a backup: llmgate storage restore",
            ) from error
        if on_disk.position != position:
            raise StoreCorrupt(
                f"{self.path}, line {position} says that it is entry {on_disk.position}.",
                hint="Was it edited by hand? Restore a backup: llmgate storage restore",
            )
        value = bytes(on_disk.value)
        text = ""
        if folded:
            text = encoding.searched(encoding.decode(value, str(self.path)), on_disk.text)
        return StoredLine(encoding.micros(on_disk.at), value, on_disk.text, text)


def repaired(log: Log, torn: bytes, damaged: Path) -> str:
    """Cut what stands behind the last whole line, keep it in the folder, and say so."""
    damaged.mkdir(exist_ok=True)
    kept = damaged / f"{log.path.stem}-{os.urandom(4).hex()}.txt"
    kept.write_bytes(torn)
    os.truncate(log.path, log.end)
    return f"{log.path}: cut off {len(torn)} bytes of a line that was not whole, kept in {kept}"


def _is_line(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=LineOnDisk)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
