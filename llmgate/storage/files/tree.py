"""The files of a `file:` store: documents and logs side by side, changed as a record says.

data/agents/ann/state.json              {"key": "agents/ann/state", "version": 7, "value": …}
data/agents/ann/messages.jsonl          one entry a line
data/cache/1f4c.until.json              a document whose time will be over
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import msgspec

from llmgate.errors import StoreCorrupt
from llmgate.storage.batch import StoredDocument
from llmgate.storage.files.journal import DocumentChange, LogChange, Record, write_all
from llmgate.storage.files.logs import LineOnDisk
from llmgate.storage.files.names import folders_of, is_long, name_of, path_of
from llmgate.storage.places import failure, sync_file, sync_folder

DOCUMENT, EXPIRING, LOG = ".json", ".until.json", ".jsonl"
# From how many files on the whole system is flushed in place of each of them.
_MANY = 64


class FileDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """A document's file."""

    key: str
    version: int
    value: msgspec.Raw
    expires: int | None = None


class Tree:
    """The folder `data` and the one beside it where new files are written first."""

    def __init__(self, folder: Path, *, pretty: bool) -> None:
        self.data = folder / "data"
        self._new = folder / "new"
        self._pretty = pretty
        # What is not flushed yet.
        self._dirty: set[Path] = set()

    def make(self) -> None:
        """Make the folders, and remove what a process that died has left half written."""
        self.data.mkdir(exist_ok=True)
        self._new.mkdir(exist_ok=True)
        for left in self._new.iterdir():
            left.unlink()

    def document(self, key: str) -> StoredDocument | None:
        """The document, whether or not its time is over."""
        path = path_of(key)
        for suffix in (DOCUMENT, EXPIRING):
            if found := self._load(self._at(path, suffix)):
                return StoredDocument(found.version, found.expires, bytes(found.value))
        return None

    def log_path(self, log: str) -> Path:
        """Where the log is."""
        return self._at(path_of(log), LOG)

    def documents(self, prefix: str = "") -> Iterator[tuple[str, bool]]:
        """The keys, in no order, and whether the document expires. Some have no such prefix."""
        for path, suffix in self._walk(prefix):
            if suffix == LOG:
                continue
            if is_long(path):
                if found := self._load(self._at(path, suffix)):
                    yield found.key, suffix == EXPIRING
            else:
                yield name_of(path), suffix == EXPIRING

    def logs(self, prefix: str = "") -> Iterator[str]:
        """The names of the logs, in no order. Some have no such prefix."""
        for path, suffix in self._walk(prefix):
            if suffix != LOG:
                continue
            name = self._long_log(self._at(path, suffix)) if is_long(path) else name_of(path)
            if name is not None:
                yield name

    def files(self) -> Iterator[Path]:
        """All files of documents and logs."""
        for path, suffix in self._walk(""):
            yield self._at(path, suffix)

    def apply(self, record: Record) -> None:
        """Make all the changes; those that were already made are made again."""
        self.finish(record, self.begin(record))

    def begin(self, record: Record) -> list[tuple[Path, Path]]:
        """Do what needs space. Raises `OSError`, and has changed nothing then.

        Gives the files that are written, and where they belong.
        """
        ready: list[tuple[Path, Path]] = []
        grown: list[LogChange] = []
        try:
            for document in record.documents:
                if document.version:
                    suffix = DOCUMENT if document.expires is None else EXPIRING
                    target = self._at(path_of(document.key), suffix)
                    ready.append((self._written(self._form(document), len(ready)), target))
                    target.parent.mkdir(parents=True, exist_ok=True)
            for log in record.logs:
                target = self.log_path(log.log)
                if log.dropped and log.lines:
                    ready.append((self._written(log.data(), len(ready)), target))
                    target.parent.mkdir(parents=True, exist_ok=True)
                elif log.lines:
                    grown.append(log)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _write_at(target, log.data(), log.offset)
        except OSError:
            self._take_back(grown)
            raise
        return ready

    def finish(self, record: Record, ready: list[tuple[Path, Path]]) -> None:
        """Do the rest."""
        for source, target in ready:
            source.replace(target)
        for document in record.documents:
            path = path_of(document.key)
            if document.version == 0 or document.expires is not None:
                self._remove(self._at(path, DOCUMENT))
            if document.version == 0 or document.expires is None:
                self._remove(self._at(path, EXPIRING))
        for log in record.logs:
            if log.dropped and not log.lines:
                self._remove(self.log_path(log.log))

    def note(self, record: Record) -> None:
        """Remember what the record changed, until it is flushed."""
        for document in record.documents:
            path = path_of(document.key)
            suffix = DOCUMENT if document.expires is None else EXPIRING
            self._dirty.add(self._at(path, suffix))
        self._dirty.update(self.log_path(log.log) for log in record.logs)

    def forget(self) -> None:
        """Everything is flushed."""
        self._dirty.clear()

    def flush(self) -> None:
        """Make sure that all changes are on the disk."""
        flush(self._dirty, self.data)

    def _form(self, document: DocumentChange) -> bytes:
        on_disk = FileDocument(document.key, document.version, document.value, document.expires)
        data = msgspec.json.encode(on_disk)
        return (msgspec.json.format(data, indent=2) if self._pretty else data) + b"\n"

    def _written(self, data: bytes, number: int) -> Path:
        path = self._new / str(number)
        path.write_bytes(data)
        return path

    def _take_back(self, grown: list[LogChange]) -> None:
        for log in grown:
            path = self.log_path(log.log)
            with contextlib.suppress(OSError):
                if log.offset:
                    os.truncate(path, log.offset)
                else:
                    self._remove(path)
        for left in self._new.iterdir():
            left.unlink()

    def _remove(self, path: Path) -> None:
        try:
            path.unlink()
        except FileNotFoundError:
            return
        # Its folders go with it once they are empty.
        parent = path.parent
        while parent != self.data:
            try:
                parent.rmdir()
            except OSError:
                return
            parent = parent.parent

    def _at(self, path: PurePosixPath, suffix: str) -> Path:
        return self.data / path.parent / (path.name + suffix)

    def _walk(self, prefix: str) -> Iterator[tuple[PurePosixPath, str]]:
        start = "/".join(folders_of(prefix))
        yield from self._walk_folder(start)
        if start:
            yield from self._walk_folder("%long")

    def _walk_folder(self, below: str) -> Iterator[tuple[PurePosixPath, str]]:
        folders = [below]
        while folders:
            folder = folders.pop()
            try:
                entries = list(os.scandir(self.data / folder))
            except (FileNotFoundError, NotADirectoryError):
                continue
            for entry in entries:
                stem, dot, rest = entry.name.partition(".")
                place = f"{folder}/{stem}" if folder else stem
                if not dot:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(place)
                elif dot + rest in (DOCUMENT, EXPIRING, LOG):
                    yield PurePosixPath(place), dot + rest

    def _load(self, path: Path) -> FileDocument | None:
        try:
            return load(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise failure(error, f"can't read {path}") from error

    def _long_log(self, path: Path) -> str | None:
        try:
            with path.open("rb") as file:
                return msgspec.json.decode(file.readline(), type=LineOnDisk).log
        except (OSError, msgspec.DecodeError):
            return None


def load(path: Path) -> FileDocument:
    """A document's file. Raises `OSError` and `StoreCorrupt`."""
    data = path.read_bytes()
    try:
        return msgspec.json.decode(data, type=FileDocument)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StoreCorrupt(
            f"{path} can't be understood: {error}.",
            hint="Mend it by hand, or restore a backup: llmgate storage restore",
        ) from error


def flush(files: Iterable[Path], top: Path) -> None:
    """Make sure that the files and the names of all their folders up to `top` are on the disk."""
    paths = set(files)
    if len(paths) > _MANY and sys.platform == "linux":
        os.sync()  # returns when it is done there, and is faster than so many one by one
        return
    folders = {top}
    for path in paths:
        sync_file(path)
        folder = path.parent
        while folder not in folders:
            folders.add(folder)
            folder = folder.parent
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            sync_folder(folder)


def _write_at(path: Path, data: bytes, offset: int) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    try:
        write_all(descriptor, data, offset)
        os.ftruncate(descriptor, offset + len(data))
    finally:
        os.close(descriptor)
