"""`sqlite:` keeps everything in one file, by Python's own sqlite3. The default."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from llmgate.errors import Conflict, StorageError, Unstorable
from llmgate.storage import sqlite_schema as schema
from llmgate.storage.base import Health, Records, Stats
from llmgate.storage.batch import Batch, Results, StoredDocument
from llmgate.storage.local import Found, Local
from llmgate.storage.sqlite_file import Options, SqliteFile
from llmgate.storage.sqlite_search import Search
from llmgate.storage.sqlite_writing import Play, end_of, log_id
from llmgate.storage.url import Url

# Microseconds between two looks for documents whose time is over.
_SWEEP = 60_000_000
_READ = "SELECT id, at, value, text FROM entries WHERE id > ? AND id < ? ORDER BY id LIMIT ?"
_READ_BACK = _READ.replace("ORDER BY id", "ORDER BY id DESC")


async def open_url(url: Url) -> Records:
    """The store in the file that the URL names; its folder is made."""
    path, options = url.path(), url.options(Options)
    return await Local.open(lambda: Sqlite(path, options), readers=True)


class Sqlite(SqliteFile):
    """The tables of records in a file."""

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__(path, options, schema)
        self._swept = 0
        with contextlib.ExitStack() as stack, self._errors():
            stack.callback(self.close)
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
        with self._errors():
            problems = self._integrity()
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
        return Stats(
            "sqlite", self.location, schema.SCHEMA, documents, logs, entries, self._bytes()
        )

    def restore(self, path: Path) -> None:
        with self._copy(path) as (copy, number):
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

    def _names(self, sql: str, arguments: tuple[Any, ...], prefix: str) -> list[str]:
        found = []
        with self._errors():
            for [name] in self._reading.execute(sql, arguments):
                if not name.startswith(prefix):
                    break
                found.append(name)
        return found


def _is_json(text: Any) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, TypeError):
        return False
    return True
