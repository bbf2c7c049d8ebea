"""The tables of `sqlite:` stores, and the ways from older ones to these."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

from llmgate.errors import NewerStore, StoreCorrupt

SCHEMA = 1
# "LLMG": says in the file's header whose it is.
APPLICATION = 0x4C4C4D47
# "LLMV": that of stores of passages.
PASSAGES = 0x4C4C4D56
# An entry's row is the number of its log and its position in it, so that a log lies together.
POSITIONS = 40

# From each number to the next; every one runs inside the transaction that opens the store.
MIGRATIONS: Mapping[int, Callable[[sqlite3.Connection], None]] = {}

_TABLES = """
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    expires INTEGER,
    value TEXT NOT NULL
);
CREATE INDEX documents_expires ON documents (expires) WHERE expires IS NOT NULL;
CREATE TABLE logs (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    log INTEGER NOT NULL,
    at INTEGER NOT NULL,
    value TEXT NOT NULL,
    text TEXT
);
CREATE INDEX entries_at ON entries (log, at);
INSERT INTO counters VALUES ('version', 0);
"""
# Three letters at a time: finds inside of words, and in scripts that do not part them. What goes
# in is folded already.
_INDEX = "CREATE VIRTUAL TABLE texts USING fts5(text, tokenize = 'trigram case_sensitive 1')"
# Its terms, for words that are shorter than they are.
_TERMS = "CREATE VIRTUAL TABLE terms USING fts5vocab('texts', 'row')"
# Behind each text, so that its last letters too begin a term. No word has it in it.
PADDING = "\n\n"
# Where SQLite was built without it, every search looks at every text.
_NO_INDEX = "CREATE TABLE texts (text TEXT NOT NULL)"


def schema_of(connection: sqlite3.Connection, location: str) -> int:
    """The schema number of an open database, 0 for an empty one. Raises `StoreCorrupt`."""
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return 0
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    number: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if owner == PASSAGES:
        raise StoreCorrupt(
            f"{location} is a store of passages, not of records.",
            hint="Choose another path: [storage] url or LLMGATE_STORAGE_URL. What looks at"
            " passages is llmgate storage with --vectors.",
        )
    if owner != APPLICATION or number < 1:
        raise StoreCorrupt(
            f"{location} is a database of another program.", hint="Choose another path."
        )
    if number > SCHEMA:
        raise NewerStore(
            f"{location} has schema {number}, and this llmgate knows schemas up to {SCHEMA}.",
            hint="Use the newer llmgate that wrote it; nothing was changed.",
        )
    return number


def create(connection: sqlite3.Connection) -> None:
    """Make the tables, inside a transaction that is open."""
    for statement in _TABLES.split(";"):
        connection.execute(statement)
    try:
        connection.execute(_INDEX)
        connection.execute(_TERMS)
    except sqlite3.OperationalError:
        connection.execute(_NO_INDEX)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {SCHEMA}")


def migrate(connection: sqlite3.Connection, number: int) -> None:
    """Bring older tables up to date, inside a transaction that is open."""
    for step in range(number, SCHEMA):
        MIGRATIONS[step](connection)
    connection.execute(f"PRAGMA user_version = {SCHEMA}")


def is_indexed(connection: sqlite3.Connection) -> bool:
    """Whether the store has an index of its texts."""
    [sql] = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'texts'").fetchone()
    return "fts5" in sql
