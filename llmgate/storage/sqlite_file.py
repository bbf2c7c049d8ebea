"""A SQLite file that several processes share: opened, flushed, copied, and its errors named."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from llmgate.errors import (
    StorageError,
    StoreBusy,
    StoreCorrupt,
    StoreFull,
    Unstorable,
)
from llmgate.storage.places import (
    failure,
    make_file,
    make_folder,
    prune,
    sync_file,
    sync_folder,
    utc_stamp,
)


class Options(msgspec.Struct, frozen=True):
    """Seconds to wait for another process that writes, and backups that are kept."""

    busy_timeout: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    backups: Annotated[int, Meta(ge=1)] = 5


class Schema(Protocol):
    """The tables of a file, as a module has them."""

    @property
    def SCHEMA(self) -> int: ...

    def schema_of(self, connection: sqlite3.Connection, location: str) -> int: ...
    def create(self, connection: sqlite3.Connection) -> None: ...
    def migrate(self, connection: sqlite3.Connection, number: int) -> None: ...


class SqliteFile:
    """One connection that writes and one that reads, each for a thread of its own.

    Without a path all is in memory, and both are the same connection.
    """

    def __init__(self, path: Path | None, options: Options, schema: Schema) -> None:
        self.location = ":memory:" if path is None else str(path)
        self._path = path
        self._options = options
        self._schema = schema
        if path is not None:
            try:
                make_folder(path.parent)
                make_file(path)
            except OSError as error:
                raise failure(error, f"can't make the folder of {path}") from error
        with contextlib.ExitStack() as stack, self._errors():
            self._writing = stack.enter_context(contextlib.closing(self._connect()))
            self._prepare()
            if path is None:
                self._reading = self._writing
            else:
                self._reading = stack.enter_context(contextlib.closing(self._connect()))
                self._reading.execute("PRAGMA query_only = ON")
            stack.pop_all()

    def backup(self, path: Path | None) -> Path:
        """Write a copy to the path, or beside the store where the oldest are removed then."""
        if self._path is None:
            folder = Path()
            target = path or Path(f"llmgate-{utc_stamp()}.db")
        else:
            folder = self._path.with_name(f"{self._path.name}.backups")
            target = path or folder / f"{utc_stamp()}.db"
        beside = target.with_name(f".{target.name}.new")
        if target.exists():
            raise StorageError(f"{target} is there already.", hint="Choose another path.")
        try:
            make_folder(target.parent)
            beside.unlink(missing_ok=True)
            make_file(beside)
            with self._errors(), contextlib.closing(sqlite3.connect(beside)) as copy:
                self._writing.backup(copy)
                # One file is all of it: no journal beside it.
                copy.execute("PRAGMA journal_mode = DELETE")
            sync_file(beside)
            beside.rename(target)
            sync_folder(target.parent)
            if path is None and self._path is not None:
                prune(folder, "*.db", self._options.backups)
        except OSError as error:
            raise failure(error, f"can't write the backup {target}") from error
        finally:
            beside.unlink(missing_ok=True)
        return target

    def close(self) -> None:
        """Let go of the file."""
        self._reading.close()
        self._writing.close()

    @contextlib.contextmanager
    def _copy(self, path: Path) -> Iterator[tuple[sqlite3.Connection, int]]:
        """A backup that can be restored, and its schema number."""
        if not path.is_file():
            raise StorageError(f"{path} is not there.")
        with (
            self._errors(),
            contextlib.closing(
                sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
            ) as copy,
        ):
            number = self._schema.schema_of(copy, str(path))
            if not number:
                raise StorageError(f"{path} is empty.")
            [[verdict]] = copy.execute("PRAGMA quick_check(1)").fetchall()
            if verdict != "ok":
                raise StoreCorrupt(f"{path}: {verdict}.", hint="Choose another backup.")
            yield copy, number

    def _bytes(self) -> int:
        return sum(
            path.stat().st_size
            for suffix in ("", "-wal", "-shm")
            if self._path is not None and (path := Path(self.location + suffix)).exists()
        )

    def _integrity(self) -> list[str]:
        return [
            f"{self.location}: {part}"
            for [line] in self._writing.execute("PRAGMA integrity_check(20)")
            if line != "ok"
            for part in line.splitlines()
        ]

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self.location,
            timeout=self._options.busy_timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("PRAGMA cache_size = -16384")
        return db

    def _prepare(self) -> None:
        """Make the tables, or bring them up to date, whoever else does so at the same time."""
        db = self._writing
        number = self._schema.schema_of(db, self.location)
        if self._path is not None:
            self._use_wal()
        if number == self._schema.SCHEMA:
            return
        if number:
            self.backup(None)
        with self._changes():
            number = self._schema.schema_of(db, self.location)
            if number == 0:
                self._schema.create(db)
            elif number < self._schema.SCHEMA:
                self._schema.migrate(db, number)
        if self._path is not None:
            sync_folder(self._path.parent)

    def _use_wal(self) -> None:
        # Changing the mode does not wait for others by itself.
        give_up = time.monotonic() + self._options.busy_timeout
        while True:
            try:
                [mode] = self._writing.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)
                continue
            if mode != "wal":
                raise StorageError(
                    f"{self.location} is on a file system where SQLite can't share memory.",
                    hint="Put it on a local disk.",
                )
            return

    @contextlib.contextmanager
    def _changes(self) -> Iterator[sqlite3.Connection]:
        db = self._writing
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            # A full disk may have rolled it back already.
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _translated(error, self.location, self._options.busy_timeout) from error


def _code(error: sqlite3.Error) -> int | None:
    # The lower byte is the kind, the rest tells more.
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _translated(error: sqlite3.Error, location: str, waited: float) -> StorageError:
    code = _code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(
            f"another process has been writing to {location} for {waited:g} s.",
            hint="Wait for it, or raise the parameter busy_timeout.",
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(
            f"no space left to write to {location}.",
            hint="Make space and try again: what was stored before is safe.",
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreCorrupt(
            f"{location} can't be understood: {error}.",
            hint="Restore a backup: llmgate storage restore",
        )
    if code == sqlite3.SQLITE_TOOBIG:
        return Unstorable(f"a value is larger than SQLite can keep in {location}: {error}.")
    if code == sqlite3.SQLITE_IOERR and os.path.exists(location):
        return StorageError(
            f"reading or writing {location} failed: {error}.",
            hint="Is the disk full or gone? What was stored before is safe.",
        )
    return StorageError(f"{location}: {error}.")
