"""`sqlite:` keeps everything in one file, by Python's own sqlite3. The default."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from llmgate.errors import (
    Conflict,
    StorageError,
    StoreBusy,
    StoreCorrupt,
    StoreFull,
    Unstorable,
)
from llmgate.storage import sqlite_schema as schema
from llmgate.storage.base import Health, Records, Stats
from llmgate.storage.batch import Batch, Results, StoredDocument
from llmgate.storage.local import Found, Local
from llmgate.storage.places import failure, prune, sync_file, sync_folder, utc_stamp
from llmgate.storage.sqlite_search import Search
from llmgate.storage.sqlite_writing import Play, end_of, log_id
from llmgate.storage.url import Url

# Microseconds between two looks for documents whose time is over.
_SWEEP = 60_000_000
_READ = "SELECT id, at, value, text FROM entries WHERE id > ? AND id < ? ORDER BY id LIMIT ?"
_READ_BACK = _READ.replace("ORDER BY id", "ORDER BY id DESC")


class Options(msgspec.Struct, frozen=True):
    """Seconds to wait for another process that writes, and backups that are kept."""

    busy_timeout: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    backups: Annotated[int, Meta(ge=1)] = 5


async def open_url(url: Url) -> Records:
    """The store in the file that the URL names; its folder is made."""
    path, options = url.path(), url.options(Options)
    return await Local.open(lambda: Sqlite(path, options), readers=True)


class Sqlite:
    """One connection that writes and one that reads, each for a thread of its own."""

    def __init__(self, path: Path, options: Options) -> None:
        self.location = str(path)
        self._path = path
        self._options = options
        self._swept = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise failure(error, f"can't make the folder of {path}") from error
        with contextlib.ExitStack() as stack, self._errors():
            self._writing = stack.enter_context(contextlib.closing(self._connect()))
            self._prepare()
            self._reading = stack.enter_context(contextlib.closing(self._connect()))
            self._reading.execute("PRAGMA query_only = ON")
            self._search = Search(self._reading, schema.is_indexed(self._writing))
            stack.pop_all()

    def commit(self, batches: Sequence[Batch], now: int) -> list[Results | StorageError]:
        results: list[Results | StorageError] = []
        with self._errors(), self._changes() as db:
            [before] = db.execute("SELECT value FROM counters WHERE name = 'version'").fetchone()
            play = Play(db, before, now)
            for batch in batches:
                # One statement is all or nothing by itself, but most of ours are several.
                db.execute("SAVEPOINT batch")
                version = play.version
                try:
                    results.append([play.do(operation) for operation in batch])
                except (Conflict, Unstorable) as error:
                    db.execute("ROLLBACK TO batch")
                    play.version = version
                    results.append(error)
                db.execute("RELEASE batch")
            if play.version != before:
                db.execute("UPDATE counters SET value = ? WHERE name = 'version'", (play.version,))
            if now - self._swept > _SWEEP:
                db.execute("DELETE FROM documents WHERE expires <= ?", (now,))
                self._swept = now
        return results

    def get(self, key: str, now: int) -> StoredDocument | None:
        with self._errors():
            row = self._reading.execute(
                "SELECT version, expires, value FROM documents"
                " WHERE key = ? AND (expires IS NULL OR expires > ?)",
                (key, now),
            ).fetchone()
        return None if row is None else StoredDocument(row[0], row[1], row[2].encode())

    def keys(self, prefix: str, after: str, limit: int, now: int) -> list[str]:
        return self._names(
            "SELECT key FROM documents"
            " WHERE key > ? AND key >= ? AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?",
            (after, prefix, now, limit),
            prefix,
        )

    def logs(self, prefix: str, after: str, limit: int) -> list[str]:
        return self._names(
            "SELECT name FROM logs WHERE name > ? AND name >= ? ORDER BY name LIMIT ?",
            (after, prefix, limit),
            prefix,
        )

    def end(self, log: str) -> int:
        with self._errors():
            return end_of(self._reading, log_id(self._reading, log))

    def read(self, log: str, after: int | None, limit: int, reverse: bool) -> Found:
        with self._errors():
            if not (number := log_id(self._reading, log)):
                return []
            first, last = number << schema.POSITIONS, (number + 1) << schema.POSITIONS
            if after is not None:
                # A position that no log can have must not become a row of another one.
                at = first + min(max(after, 0), (1 << schema.POSITIONS) - 1)
                first, last = (first, at) if reverse else (at, last)
            return self._search.rows(_READ_BACK if reverse else _READ, (first, last, limit))

    def search(
        self,
        log: str,
        words: tuple[str, ...],
        since: int | None,
        until: int | None,
        limit: int,
        offset: int,
        reverse: bool,
    ) -> tuple[Found, int]:
        with self._errors():
            if not (number := log_id(self._reading, log)):
                return [], 0
            return self._search.find(number, words, since, until, limit, offset, reverse)

    def health(self) -> Health:
        problems: list[str] = []
        with self._errors():
            for [line] in self._writing.execute("PRAGMA integrity_check(20)"):
                if line != "ok":
                    problems.extend(f"{self.location}: {part}" for part in line.splitlines())
            if self._search.indexed:
                try:
                    self._writing.execute("INSERT INTO texts(texts) VALUES ('integrity-check')")
                except sqlite3.DatabaseError as error:
                    problems.append(f"{self.location}: the index of texts: {error}")
            for log, count, end in self._writing.execute(
                "SELECT name, (SELECT count(*) FROM entries e WHERE e.log = logs.id),"
                " (SELECT max(e.id) FROM entries e WHERE e.id > (logs.id << 40)"
                "  AND e.id < ((logs.id + 1) << 40)) - (logs.id << 40) FROM logs"
            ):
                if count != (end or 0):
                    problems.append(f"the log {log!r} ends at {end or 0} and has {count} entries")
            for key, value in self._writing.execute("SELECT key, value FROM documents"):
                if not _is_json(value):
                    problems.append(f"the document {key!r} is not valid JSON")
        return Health(not problems, tuple(problems))

    def stats(self, now: int) -> Stats:
        with self._errors():
            documents, logs, entries = (
                self._writing.execute(sql, arguments).fetchone()[0]
                for sql, arguments in (
                    (
                        "SELECT count(*) FROM documents WHERE expires IS NULL OR expires > ?",
                        (now,),
                    ),
                    ("SELECT count(*) FROM logs", ()),
                    ("SELECT count(*) FROM entries", ()),
                )
            )
        size = sum(
            path.stat().st_size
            for suffix in ("", "-wal", "-shm")
            if (path := Path(self.location + suffix)).exists()
        )
        return Stats("sqlite", self.location, schema.SCHEMA, documents, logs, entries, size)

    def backup(self, path: Path | None) -> Path:
        folder = self._path.with_name(f"{self._path.name}.backups")
        target = path or folder / f"{utc_stamp()}.db"
        beside = target.with_name(f".{target.name}.new")
        if target.exists():
            raise StorageError(f"{target} is there already.", hint="Choose another path.")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            beside.unlink(missing_ok=True)
            with self._errors(), contextlib.closing(sqlite3.connect(beside)) as copy:
                self._writing.backup(copy)
                # One file is all of it: no journal beside it.
                copy.execute("PRAGMA journal_mode = DELETE")
            sync_file(beside)
            beside.rename(target)
            sync_folder(target.parent)
            if path is None:
                prune(folder, "*.db", self._options.backups)
        except OSError as error:
            raise failure(error, f"can't write the backup {target}") from error
        finally:
            beside.unlink(missing_ok=True)
        return target

    def restore(self, path: Path) -> None:
        if not path.is_file():
            raise StorageError(f"{path} is not there.")
        with (
            self._errors(),
            contextlib.closing(
                sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
            ) as copy,
        ):
            number = schema.schema_of(copy, str(path))
            if not number:
                raise StorageError(f"{path} is empty.")
            [[verdict]] = copy.execute("PRAGMA quick_check(1)").fetchall()
            if verdict != "ok":
                raise StoreCorrupt(f"{path}: {verdict}.", hint="Choose another backup.")
            [before] = self._writing.execute(
                "SELECT value FROM counters WHERE name = 'version'"
            ).fetchone()
            copy.backup(self._writing)
            with self._changes() as db:
                if number < schema.SCHEMA:
                    schema.migrate(db, number)
                # Versions that were given out never come again.
                db.execute(
                    "UPDATE counters SET value = max(value, ?) WHERE name = 'version'", (before,)
                )

    def close(self) -> None:
        self._reading.close()
        self._writing.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self._path,
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
        number = schema.schema_of(db, self.location)
        self._use_wal()
        if number == schema.SCHEMA:
            return
        if number:
            self.backup(None)
        with self._changes():
            number = schema.schema_of(db, self.location)
            if number == 0:
                schema.create(db)
            elif number < schema.SCHEMA:
                schema.migrate(db, number)
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

    def _names(self, sql: str, arguments: tuple[Any, ...], prefix: str) -> list[str]:
        found = []
        with self._errors():
            for [name] in self._reading.execute(sql, arguments):
                if not name.startswith(prefix):
                    break
                found.append(name)
        return found

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _translated(error, self.location, self._options.busy_timeout) from error


def _is_json(text: Any) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, TypeError):
        return False
    return True


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
