"""Operations as SQL, inside of a transaction."""

from __future__ import annotations

import sqlite3

from llmgate.storage import sqlite_schema as schema
from llmgate.storage.batch import (
    Append,
    Check,
    Delete,
    Drop,
    Operation,
    Put,
    StoredLine,
    check_end,
    check_version,
)


class Play:
    """Does operations inside a transaction that is open."""

    def __init__(self, db: sqlite3.Connection, version: int, now: int) -> None:
        self.version = version
        self._db = db
        self._now = now

    def do(self, operation: Operation) -> int:
        match operation:
            case Put(key, value, expected, expires):
                if expected is not None:
                    check_version(key, expected, self._version(key))
                self.version += 1
                self._db.execute(
                    "INSERT INTO documents (key, version, expires, value) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (key) DO UPDATE SET version = excluded.version,"
                    " expires = excluded.expires, value = excluded.value",
                    (key, self.version, expires, value.decode()),
                )
                return self.version
            case Delete(key, expected):
                actual = self._version(key)
                check_version(key, expected, actual)
                self._db.execute("DELETE FROM documents WHERE key = ?", (key,))
                return int(actual > 0)
            case Append(log, lines, expected):
                return self._append(log, lines, expected)
            case Drop(log):
                number = log_id(self._db, log)
                end = end_of(self._db, number)
                rows = (number << schema.POSITIONS, (number + 1) << schema.POSITIONS)
                if number:
                    self._db.execute("DELETE FROM texts WHERE rowid > ? AND rowid < ?", rows)
                    self._db.execute("DELETE FROM entries WHERE id > ? AND id < ?", rows)
                    self._db.execute("DELETE FROM logs WHERE id = ?", (number,))
                return end
            case Check(key, version):
                check_version(key, version, self._version(key))
                return version

    def _append(self, log: str, lines: tuple[StoredLine, ...], expected: int | None) -> int:
        number = log_id(self._db, log)
        end = end_of(self._db, number)
        check_end(log, expected, end)
        if not number:
            cursor = self._db.execute("INSERT INTO logs (name) VALUES (?)", (log,))
            assert cursor.lastrowid is not None
            number = cursor.lastrowid
        first = (number << schema.POSITIONS) + end + 1
        self._db.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
            [
                (row, number, line.at, line.value.decode(), line.text)
                for row, line in enumerate(lines, first)
            ],
        )
        self._db.executemany(
            "INSERT INTO texts (rowid, text) VALUES (?, ?)",
            [
                (row, line.folded + schema.PADDING)
                for row, line in enumerate(lines, first)
                if line.folded
            ],
        )
        return end + len(lines)

    def _version(self, key: str) -> int:
        row = self._db.execute(
            "SELECT version FROM documents WHERE key = ? AND (expires IS NULL OR expires > ?)",
            (key, self._now),
        ).fetchone()
        return row[0] if row else 0


def log_id(db: sqlite3.Connection, log: str) -> int:
    """The number of a log, 0 if there is none of that name."""
    row = db.execute("SELECT id FROM logs WHERE name = ?", (log,)).fetchone()
    return row[0] if row else 0


def end_of(db: sqlite3.Connection, number: int) -> int:
    """The last position of the log with that number."""
    first = number << schema.POSITIONS
    [last] = db.execute(
        "SELECT max(id) FROM entries WHERE id > ? AND id < ?",
        (first, (number + 1) << schema.POSITIONS),
    ).fetchone()
    return last - first if last else 0
