"""The tables of `sqlite:` stores of passages, and the ways from older ones to these."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Mapping

from llmgate.errors import NewerStore, StoreCorrupt
from llmgate.storage import sqlite_schema

SCHEMA = 1
# Says in the file's header whose it is.
APPLICATION = sqlite_schema.PASSAGES

# From each number to the next; every one runs inside the transaction that opens the store.
MIGRATIONS: Mapping[int, Callable[[sqlite3.Connection], None]] = {}

# Rows of passages and of vectors are never used again, so that they tell the order of insertion
# and a matrix of vectors can tell what it lacks. `removed` are vectors that are gone, for
# matrices that have them; those up to `forgotten` are not listed any more.
_TABLES = """
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE collections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    dimension INTEGER,
    metric TEXT NOT NULL,
    forgotten INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    doc TEXT,
    metadata TEXT NOT NULL,
    at INTEGER NOT NULL
);
CREATE UNIQUE INDEX passages_name ON passages (collection, name);
CREATE INDEX passages_collection ON passages (collection);
CREATE INDEX passages_doc ON passages (collection, doc);
CREATE TABLE tags (
    collection INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    passage INTEGER NOT NULL,
    PRIMARY KEY (collection, key, value, passage)
) WITHOUT ROWID;
CREATE INDEX tags_passage ON tags (passage);
CREATE TABLE vectors (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL,
    passage INTEGER NOT NULL UNIQUE,
    vector BLOB NOT NULL
);
CREATE INDEX vectors_collection ON vectors (collection);
CREATE TABLE removed (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL,
    vector INTEGER NOT NULL
);
CREATE INDEX removed_collection ON removed (collection)
"""
# Words in their forms (English ones by their stems), without accents. Of scripts that do not
# part words, pieces of words were made beforehand.
_TOKENS = "porter unicode61 remove_diacritics 2 categories ''L* N* Co So Mc Mn''"
# Where SQLite was built without it, every search looks at every text.
_NO_INDEX = "CREATE TABLE {name} (text TEXT NOT NULL)"
_INDEX = "CREATE VIRTUAL TABLE {name} USING fts5(text, tokenize = '{tokens}')"


def schema_of(connection: sqlite3.Connection, location: str) -> int:
    """The schema number of an open database, 0 for an empty one. Raises `StoreCorrupt`."""
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return 0
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    number: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if owner == sqlite_schema.APPLICATION:
        raise StoreCorrupt(
            f"{location} is a store of records, not of passages.",
            hint="Choose another path for passages: [storage] vectors or LLMGATE_VECTORS_URL.",
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
    renew(connection)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {SCHEMA}")


def migrate(connection: sqlite3.Connection, number: int) -> None:
    """Bring older tables up to date, inside a transaction that is open."""
    for step in range(number, SCHEMA):
        MIGRATIONS[step](connection)
    renew(connection)
    connection.execute(f"PRAGMA user_version = {SCHEMA}")


def renew(connection: sqlite3.Connection) -> None:
    """Say that this is another state of things: what was made of the one before is of no use."""
    connection.execute(
        "INSERT OR REPLACE INTO counters VALUES ('generation', ?)", (secrets.randbits(62),)
    )


def texts_of(collection: int) -> str:
    """The name of the table of a collection's texts."""
    return f"texts_{collection}"


def create_texts(connection: sqlite3.Connection, collection: int) -> None:
    """Make the index of a collection's texts. Each has its own: words count differently there."""
    name = texts_of(collection)
    try:
        connection.execute(_INDEX.format(name=name, tokens=_TOKENS))
    except sqlite3.OperationalError as error:
        if "no such module" not in str(error):
            raise
        connection.execute(_NO_INDEX.format(name=name))


def is_indexed(connection: sqlite3.Connection, collection: int) -> bool:
    """Whether the collection has an index of its texts."""
    [sql] = connection.execute(
        "SELECT sql FROM sqlite_master WHERE name = ?", (texts_of(collection),)
    ).fetchone()
    return "fts5" in sql
