"""Changes of a collection of passages as SQL, inside of a transaction."""

from __future__ import annotations

import sqlite3

import msgspec

from llmgate.errors import Unstorable
from llmgate.storage import sqlite_vector_schema as schema
from llmgate.storage.passages import Metric
from llmgate.storage.stored_passages import StoredPassage, check_dimension, check_metric

# Of so many removed vectors matrices are told one by one; who has missed more begins anew.
_REMEMBERED = 10_000


class Collection(msgspec.Struct):
    """A row of the table of collections."""

    id: int
    name: str
    dimension: int | None
    metric: str


def collection_of(db: sqlite3.Connection, name: str) -> Collection | None:
    """The collection of that name, if it has been written to."""
    row = db.execute(
        "SELECT id, name, dimension, metric FROM collections WHERE name = ?", (name,)
    ).fetchone()
    return None if row is None else Collection(*row)


class Writing:
    """Does changes inside a transaction that is open."""

    def __init__(self, db: sqlite3.Connection, collection: Collection) -> None:
        self._db = db
        self._collection = collection
        self._texts = schema.texts_of(collection.id)

    @staticmethod
    def opened(
        db: sqlite3.Connection, name: str, dimension: int | None, metric: Metric | None
    ) -> Collection:
        """The collection of that name, made if it is not there. Raises `ConfigError`."""
        found = collection_of(db, name)
        if found is None:
            row = db.execute(
                "INSERT INTO collections (name, dimension, metric) VALUES (?, ?, ?)",
                (name, dimension, metric or "cosine"),
            ).lastrowid
            assert row is not None
            schema.create_texts(db, row)
            return Collection(row, name, dimension, metric or "cosine")
        if dimension is not None:
            check_dimension(name, found.dimension, dimension)
            if found.dimension is None:
                found = _fixed(db, found, dimension)
        check_metric(name, found.metric, metric)
        return found

    def insert(self, passage: StoredPassage) -> None:
        """Add a passage, or what is new of one that is there."""
        db, collection = self._db, self._collection.id
        there = db.execute(
            "SELECT id, text, doc, metadata FROM passages WHERE collection = ? AND name = ?",
            (collection, passage.id),
        ).fetchone()
        if there is None:
            row = db.execute(
                "INSERT INTO passages (collection, name, text, doc, metadata, at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    collection,
                    passage.id,
                    passage.text,
                    passage.doc,
                    passage.metadata,
                    passage.at,
                ),
            ).lastrowid
            assert row is not None
            db.execute(
                f"INSERT INTO {self._texts} (rowid, text) VALUES (?, ?)",  # noqa: S608
                (row, passage.terms),
            )
            self._tag(row, passage)
        else:
            row = self._again(there, passage)
        if passage.vector is not None:
            self._embed(row, passage.vector)

    def embed(self, name: str, vector: bytes) -> bool:
        """Give a passage another vector; whether there is one of that name."""
        row = self._db.execute(
            "SELECT id FROM passages WHERE collection = ? AND name = ?",
            (self._collection.id, name),
        ).fetchone()
        if row is None:
            return False
        self._embed(row[0], vector)
        return True

    def delete(self, name: str) -> bool:
        """Take a passage away; whether there was one."""
        row = self._db.execute(
            "SELECT id, metadata FROM passages WHERE collection = ? AND name = ?",
            (self._collection.id, name),
        ).fetchone()
        if row is None:
            return False
        self._unembed(row[0])
        self._untag(row[0])
        self._db.execute(f"DELETE FROM {self._texts} WHERE rowid = ?", (row[0],))  # noqa: S608
        self._db.execute("DELETE FROM passages WHERE id = ?", (row[0],))
        return True

    def drop(self) -> int:
        """Take the whole collection away; how many passages it had."""
        db, number = self._db, self._collection.id
        count = db.execute("DELETE FROM passages WHERE collection = ?", (number,)).rowcount
        for table in ("tags", "vectors", "removed"):
            db.execute(f"DELETE FROM {table} WHERE collection = ?", (number,))  # noqa: S608
        db.execute(f"DROP TABLE {self._texts}")
        db.execute("DELETE FROM collections WHERE id = ?", (number,))
        return count

    def _again(self, there: tuple[int, str, str | None, str], passage: StoredPassage) -> int:
        row, text, doc, metadata = there
        if (text, doc) != (passage.text, passage.doc):
            raise Unstorable(
                f"the passage {passage.id!r} is in {self._collection.name!r} already, with another"
                f" {'text' if text != passage.text else 'document'}.",
                hint="Delete it first, or give the new one another id.",
            )
        if passage.metadata not in (metadata, "{}"):
            self._db.execute(
                "UPDATE passages SET metadata = ? WHERE id = ?", (passage.metadata, row)
            )
            self._untag(row)
            self._tag(row, passage)
        return row

    def _embed(self, row: int, vector: bytes) -> None:
        db, collection = self._db, self._collection
        dimension = len(vector) // 4
        check_dimension(collection.name, collection.dimension, dimension)
        if collection.dimension is None:
            self._collection = _fixed(db, collection, dimension)
        there = db.execute("SELECT vector FROM vectors WHERE passage = ?", (row,)).fetchone()
        if there is not None:
            if there[0] == vector:
                return
            self._unembed(row)
        db.execute(
            "INSERT INTO vectors (collection, passage, vector) VALUES (?, ?, ?)",
            (collection.id, row, vector),
        )

    def _unembed(self, row: int) -> None:
        db, collection = self._db, self._collection.id
        there = db.execute("SELECT id FROM vectors WHERE passage = ?", (row,)).fetchone()
        if there is None:
            return
        db.execute("DELETE FROM vectors WHERE id = ?", there)
        number = db.execute(
            "INSERT INTO removed (collection, vector) VALUES (?, ?)", (collection, there[0])
        ).lastrowid
        assert number is not None
        if number % _REMEMBERED == 0:
            self._forget(number - _REMEMBERED)

    def _forget(self, last: int) -> None:
        """List the removals up to this one no longer, and say so to who has not seen them."""
        self._db.execute(
            "UPDATE collections SET forgotten = max(forgotten, ifnull((SELECT max(r.id)"
            " FROM removed r WHERE r.collection = collections.id AND r.id <= ?), 0))",
            (last,),
        )
        self._db.execute("DELETE FROM removed WHERE id <= ?", (last,))

    def _tag(self, row: int, passage: StoredPassage) -> None:
        self._db.executemany(
            "INSERT INTO tags VALUES (?, ?, ?, ?)",
            [(self._collection.id, key, value, row) for key, value in passage.tags],
        )

    def _untag(self, row: int) -> None:
        self._db.execute("DELETE FROM tags WHERE passage = ?", (row,))


def _fixed(db: sqlite3.Connection, collection: Collection, dimension: int) -> Collection:
    db.execute("UPDATE collections SET dimension = ? WHERE id = ?", (dimension, collection.id))
    return msgspec.structs.replace(collection, dimension=dimension)
