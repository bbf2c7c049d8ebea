"""What was changed since the files were last flushed: a change counts once it is in here.

    {"version": 41}
    9c1b2a30 {"version": 42, "documents": [...], "logs": [...]}

Each line after the first is what one or more callers wrote together, behind its checksum. The
files themselves are changed after that and flushed later, all at once; whoever opens the store
does the changes in the journal once more, which changes nothing where they were already done.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from io import BytesIO
from pathlib import Path

import msgspec

from llmgate.errors import StoreCorrupt
from llmgate.storage.places import sync_folder


class DocumentChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A document that was stored, or with version 0 taken away."""

    key: str
    version: int = 0
    expires: int | None = None
    value: msgspec.Raw = msgspec.Raw(b"null")


class LogChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """Lines that were added at that byte of a log's file, which was removed before if `dropped`."""

    log: str
    offset: int = 0
    dropped: bool = False
    lines: tuple[msgspec.Raw, ...] = ()

    def data(self) -> bytes:
        """The lines as they stand in the file."""
        return b"".join(bytes(line) + b"\n" for line in self.lines)


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """Changes that were committed together; `version` is the last that was given out."""

    version: int
    documents: tuple[DocumentChange, ...] = ()
    logs: tuple[LogChange, ...] = ()


class Journal:
    """The journal's file, used only while the store's lock is held."""

    def __init__(self, path: Path) -> None:
        self.version = 0
        self.size = 0
        self._path = path
        self._descriptor = -1

    def start(self, version: int) -> None:
        """Put a new journal into the place of the old one, once all its changes are flushed."""
        beside = self._path.with_name(f"{self._path.name}.new")
        header = msgspec.json.encode(Record(version)) + b"\n"
        descriptor = os.open(beside, _FLAGS | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_all(descriptor, header, 0)
            os.fsync(descriptor)
            if os.name == "nt":
                # What is open can't be renamed or replaced there.
                os.close(descriptor)
                self.close()
                descriptor = -1
            beside.replace(self._path)
            if descriptor < 0:
                descriptor = os.open(self._path, _FLAGS)
        except BaseException:
            if descriptor >= 0:
                os.close(descriptor)
            beside.unlink(missing_ok=True)
            raise
        self.close()
        self._descriptor = descriptor
        self.version, self.size = version, len(header)
        sync_folder(self._path.parent)

    def open(self) -> list[Record]:
        """Read the journal, without what was cut off at its end. Raises `StoreCorrupt`."""
        self.close()
        self._descriptor = os.open(self._path, _FLAGS)
        data = read_all(self._descriptor, 0)
        end = data.find(b"\n") + 1
        try:
            self.version = msgspec.json.decode(data[:end], type=Record).version
        except msgspec.DecodeError as error:
            raise self._corrupt(0) from error
        self.size = end
        return self._take(data[end:])

    def follow(self) -> list[Record] | None:
        """What other processes have written since; None if there is a new journal altogether."""
        status = os.fstat(self._descriptor)
        if status.st_nlink == 0:
            return None
        if status.st_size == self.size:
            return []
        return self._take(read_all(self._descriptor, self.size))

    def append(self, record: Record) -> None:
        """Write a record; it is on the disk then. Leaves nothing behind when it fails."""
        body = msgspec.json.encode(record)
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        try:
            write_all(self._descriptor, line, self.size)
            sync_data(self._descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                self.cut(self.size, self.version)
            raise
        self.size += len(line)
        self.version = record.version

    def cut(self, size: int, version: int) -> None:
        """Take back what was written behind that byte."""
        os.ftruncate(self._descriptor, size)
        os.fsync(self._descriptor)
        self.size, self.version = size, version

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _take(self, data: bytes) -> list[Record]:
        records = []
        lines = list(BytesIO(data))
        for number, line in enumerate(lines):
            record = _record(line)
            if record is None:
                if any(_record(later) for later in lines[number + 1 :]):
                    # Only the last write can be cut off: this one was whole once.
                    raise self._corrupt(self.size)
                self.cut(self.size, self.version)
                break
            records.append(record)
            self.size += len(line)
            self.version = record.version
        return records

    def _corrupt(self, byte: int) -> StoreCorrupt:
        return StoreCorrupt(
            f"{self._path} is damaged at byte {byte}.",
            hint="Restore a backup, or take the line out: what it says is lost then.",
        )


_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0)
sync_data = getattr(os, "fdatasync", os.fsync)


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write the data at that byte, whole."""
    os.lseek(descriptor, offset, os.SEEK_SET)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def read_all(descriptor: int, offset: int) -> bytes:
    """All from that byte on."""
    os.lseek(descriptor, offset, os.SEEK_SET)
    parts = []
    while part := os.read(descriptor, 1 << 22):
        parts.append(part)
    return b"".join(parts)


def _record(line: bytes) -> Record | None:
    body = line[9:-1]
    if not line.endswith(b"\n") or line[:9] != b"%08x " % zlib.crc32(body):
        return None
    return msgspec.json.decode(body, type=Record)
