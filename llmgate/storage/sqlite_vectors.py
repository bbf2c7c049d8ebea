"""`sqlite:` keeps passages and their vectors in one file; a matrix beside it makes them fast.

The tables are the truth: what lies beside the file can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import msgspec

from llmgate.errors import Unstorable
from llmgate.storage import matrix_file
from llmgate.storage import sqlite_vector_schema as schema
from llmgate.storage.base import Health
from llmgate.storage.fusion import fused
from llmgate.storage.passages import (
    DEPTH,
    CollectionStats,
    Hit,
    Metric,
    Passage,
    Source,
    VectorStats,
    VectorStore,
)
from llmgate.storage.places import size_of
from llmgate.storage.sqlite_file import Options, SqliteFile
from llmgate.storage.sqlite_vector_search import Near, Nearest
from llmgate.storage.sqlite_vector_writing import Collection, Writing, collection_of
from llmgate.storage.sqlite_words import Words
from llmgate.storage.stored_passages import (
    check_dimension,
    check_metric,
    chosen,
    pack,
    passage_of,
    stored,
    unpack,
)
from llmgate.storage.terms import queried
from llmgate.storage.url import Url
from llmgate.storage.vectors_local import LocalStore

_COLUMNS = "p.name, p.text, p.doc, p.metadata, p.at"
_FOUND = f"SELECT p.id, {_COLUMNS} FROM passages p"  # noqa: S608
_ROWS = (
    f"SELECT p.id, {_COLUMNS}, v.vector FROM passages p"  # noqa: S608
    " LEFT JOIN vectors v ON v.passage = p.id"
)
# What must not be: passages to be compared with texts, vectors of none, vectors of another size.
_ODD = (
    "SELECT (SELECT count(*) FROM passages WHERE collection = ?1),"
    " (SELECT count(*) FROM vectors v WHERE v.collection = ?1 AND NOT EXISTS"
    "  (SELECT 1 FROM passages p WHERE p.id = v.passage AND p.collection = ?1)),"
    " (SELECT count(*) FROM vectors WHERE collection = ?1 AND length(vector) IS NOT"
    "  (SELECT 4 * dimension FROM collections WHERE id = ?1))"
)
# So many values a statement takes in any SQLite.
_VALUES = 500


class NoOptions(msgspec.Struct, frozen=True):
    """There are no parameters."""


async def open_url(url: Url) -> VectorStore:
    """The store in the file that the URL names; its folder is made."""
    path, options = url.path(), url.options(Options)
    return await LocalStore.start(lambda: SqliteVectors(path, options), readers=True)


async def open_memory(url: Url) -> VectorStore:
    """A new, empty store that is gone when it is closed."""
    url.options(NoOptions)
    return await LocalStore.start(lambda: SqliteVectors(None, Options()))


class SqliteVectors(SqliteFile):
    """The tables of passages in a file, or in memory, and the matrices of their vectors."""

    def __init__(self, path: Path | None, options: Options) -> None:
        super().__init__(path, options, schema)
        self._folder = None if path is None else path.with_name(f"{path.name}.matrices")
        self._nearest = Nearest(self._folder)
        with contextlib.ExitStack() as stack, self._errors():
            stack.callback(self.close)
            self._discard_orphans()
            stack.pop_all()

    def check(self, name: str, dimension: int | None, metric: Metric | None) -> None:
        with self._errors():
            if (found := collection_of(self._reading, name)) is not None:
                if dimension is not None:
                    check_dimension(name, found.dimension, dimension)
                check_metric(name, found.metric, metric)

    def insert(
        self, name: str, dimension: int | None, metric: Metric | None, passages: Sequence[Passage]
    ) -> tuple[str, ...]:
        rows = [stored(passage) for passage in passages]
        if not rows:
            return ()
        with self._errors(), self._changes() as db:
            collection = Writing.opened(db, name, dimension, metric)
            writing = Writing(db, collection)
            for row in rows:
                writing.insert(row)
        return tuple(row.id for row in rows)

    def embed(self, name: str, vectors: Mapping[str, Sequence[float]]) -> int:
        packed = {one: pack(vector) for one, vector in vectors.items()}
        with self._errors(), self._changes() as db:
            if (collection := collection_of(db, name)) is None:
                return 0
            writing = Writing(db, collection)
            return sum(writing.embed(one, vector) for one, vector in packed.items())

    def delete(self, name: str, ids: Sequence[str]) -> int:
        with self._errors(), self._changes() as db:
            if (collection := collection_of(db, name)) is None:
                return 0
            writing = Writing(db, collection)
            return sum(writing.delete(one) for one in ids)

    def get(self, name: str, id: str) -> Passage | None:  # noqa: A002 - the name of the field
        with self._errors():
            row = self._reading.execute(
                f"{_ROWS} JOIN collections c ON c.id = p.collection"
                " WHERE c.name = ? AND p.name = ?",
                (name, id),
            ).fetchone()
        return None if row is None else passage_of(row[1:])

    def page(
        self,
        name: str,
        after: int | str | None,
        limit: int,
        wanted: Mapping[str, Any] | None,
        embedded: bool | None,
    ) -> tuple[int, tuple[Passage, ...]]:
        """Passages behind a row, or behind the one with that id, and the row of the last."""
        with self._errors(), self._look() as db:
            if (collection := collection_of(db, name)) is None:
                return 0, ()
            if isinstance(after, str):
                row = db.execute(
                    "SELECT id FROM passages WHERE collection = ? AND name = ?",
                    (collection.id, after),
                ).fetchone()
                if row is None:
                    raise Unstorable(
                        f"there is no passage {after!r} in {name!r} to go on behind.",
                        hint="Begin anew, or with one that was not deleted.",
                    )
                after = int(row[0])
            where, values = _where(collection, wanted, embedded)
            rows = db.execute(
                f"SELECT * FROM ({_ROWS} WHERE p.id IN"  # noqa: S608
                f" (SELECT id FROM passages WHERE {where} AND id > ? ORDER BY id LIMIT ?))"
                " ORDER BY 1",
                (*values, after or 0, limit),
            ).fetchall()
        return (rows[-1][0] if rows else 0), tuple(passage_of(row[1:]) for row in rows)

    def query(
        self,
        name: str,
        vector: Sequence[float] | None,
        text: str | None,
        top_k: int,
        wanted: Mapping[str, Any] | None,
    ) -> tuple[Hit, ...]:
        packed = None if vector is None else unpack(pack(vector))
        depth = top_k if text is None else DEPTH
        words = () if text is None else queried(text)
        # One look at one state: both rankings and the passages belong together.
        with self._errors(), self._look() as db:
            if top_k < 1 or (collection := collection_of(db, name)) is None:
                return ()
            if packed is not None:
                check_dimension(name, collection.dimension, len(packed))
            finder = Words(db, collection.id, *_only(collection, wanted, None))
            relevant: list[tuple[int, float]] = []
            with self._searching(db, collection, packed, depth, wanted, bool(words)) as searching:
                if words:
                    relevant = finder.find(words, max(DEPTH, top_k))
            near = dict(searching.result())
            relevance = dict(relevant[: DEPTH if near else top_k])
            if near and text is not None:
                ranking = fused(list(near), list(relevance.items()))[:top_k]
            else:
                ranking = list((near or relevance).items())[:top_k]
            found = self._passages([row for row, _ in ranking])
        return tuple(
            Hit(found[row], score, near.get(row), relevance.get(row)) for row, score in ranking
        )

    def size(
        self, name: str, wanted: Mapping[str, Any] | None, text: str | None, embedded: bool | None
    ) -> int:
        with self._errors(), self._look() as db:
            if (collection := collection_of(db, name)) is None:
                return 0
            if text is not None:
                finder = Words(db, collection.id, *_only(collection, wanted, embedded))
                return finder.count(queried(text))
            where, values = _where(collection, wanted, embedded)
            sql = f"SELECT count(*) FROM passages WHERE {where}"  # noqa: S608
            return int(db.execute(sql, values).fetchone()[0])

    def sources(self, name: str) -> tuple[Source, ...]:
        with self._errors(), self._look() as db:
            if (collection := collection_of(db, name)) is None:
                return ()
            rows = db.execute(
                "SELECT doc, count(*) FROM passages WHERE collection = ? AND doc IS NOT NULL"
                " GROUP BY doc ORDER BY doc",
                (collection.id,),
            ).fetchall()
        return tuple(Source(doc, count) for doc, count in rows)

    def collection_stats(
        self, name: str, dimension: int | None, metric: Metric | None
    ) -> CollectionStats:
        with self._errors(), self._look() as db:
            collection = collection_of(db, name)
            if collection is None:
                return CollectionStats(name, 0, 0, dimension, metric or "cosine")
            passages, vectors = (
                db.execute(
                    f"SELECT count(*) FROM {table} WHERE collection = ?",  # noqa: S608
                    (collection.id,),
                ).fetchone()[0]
                for table in ("passages", "vectors")
            )
        metric = cast(Metric, collection.metric)
        return CollectionStats(name, passages, vectors, collection.dimension, metric)

    def collections(self, prefix: str) -> list[str]:
        with self._errors():
            names = self._reading.execute(
                "SELECT name FROM collections WHERE name >= ? ORDER BY name", (prefix,)
            ).fetchall()
        return [name for [name] in names if name.startswith(prefix)]

    def drop(self, name: str) -> int:
        with self._errors():
            with self._changes() as db:
                if (collection := collection_of(db, name)) is None:
                    return 0
                count = Writing(db, collection).drop()
            self._nearest.drop(collection.id)
            self._discard_orphans()
        return count

    def health(self) -> Health:
        repaired: tuple[str, ...] = ()
        with self._errors():
            problems = self._integrity()
            for number, name in self._writing.execute(
                "SELECT id, name FROM collections"
            ).fetchall():
                problems += self._problems(number, name)
            # What is wrong in the tables is wrong in every matrix.
            if not problems:
                repaired = self._mended()
        problems += self._nearest.problems()
        return Health(not problems, tuple(problems), repaired)

    def stats(self) -> VectorStats:
        with self._errors(), self._look() as db:
            collections, passages, vectors = (
                db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
                for table in ("collections", "passages", "vectors")
            )
        kind = "memory" if self._path is None else "sqlite"
        location = "memory:" if self._path is None else self.location
        size = self._bytes()
        if self._folder is not None and self._folder.exists():
            size += size_of(self._folder)
        return VectorStats(kind, location, schema.SCHEMA, collections, passages, vectors, size)

    def restore(self, path: Path) -> None:
        with self._copy(path) as (copy, number):
            copy.backup(self._writing)
            with self._changes() as db:
                if number < schema.SCHEMA:
                    schema.migrate(db, number)
                schema.renew(db)
            self._nearest.forget()
            self._discard_orphans()

    def close(self) -> None:
        self._nearest.close()
        super().close()

    @contextlib.contextmanager
    def _look(self) -> Iterator[sqlite3.Connection]:
        """One state of the database, whatever is written meanwhile."""
        db = self._reading
        db.execute("BEGIN")
        try:
            yield db
        finally:
            db.execute("COMMIT")

    def _searching(
        self,
        db: sqlite3.Connection,
        collection: Collection,
        vector: Sequence[float] | None,
        count: int,
        wanted: Mapping[str, Any] | None,
        beside: bool,
    ) -> AbstractContextManager[Future[Near]]:
        if vector is None or collection.dimension is None:
            nothing: Future[Near] = Future()
            nothing.set_result([])
            return contextlib.nullcontext(nothing)
        only: list[int] | None = None
        if wanted:
            only = [row for [row] in db.execute(*chosen(collection.id, wanted))]
        return self._nearest.searching(db, collection, vector, count, only, beside=beside)

    def _passages(self, rows: Sequence[int]) -> dict[int, Passage]:
        found: dict[int, Passage] = {}
        for first in range(0, len(rows), _VALUES):
            some = rows[first : first + _VALUES]
            places = ", ".join("?" * len(some))
            for row in self._reading.execute(f"{_FOUND} WHERE p.id IN ({places})", some):
                found[row[0]] = passage_of(row[1:])
        return found

    def _problems(self, number: int, name: str) -> Iterator[str]:
        db = self._writing
        table = schema.texts_of(number)
        if schema.is_indexed(db, number):
            try:
                db.execute(f"INSERT INTO {table}({table}) VALUES ('integrity-check')")  # noqa: S608
            except sqlite3.DatabaseError as error:
                yield f"the index of the texts of {name!r}: {error}"
        [texts] = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
        passages, orphans, dimensions = db.execute(_ODD, (number,)).fetchone()
        if passages != texts:
            yield f"{name!r} has {passages} passages and {texts} texts in its index"
        if orphans:
            yield f"{name!r} has {orphans} vectors of no passage"
        if dimensions:
            yield f"{name!r} has {dimensions} vectors of another dimension"

    def _mended(self) -> tuple[str, ...]:
        with self._look() as db:
            names = db.execute(
                "SELECT name FROM collections WHERE dimension IS NOT NULL ORDER BY name"
            ).fetchall()
            collections = [collection_of(db, name) for [name] in names]
            return tuple(
                f"the matrix of {one.name!r} was damaged and made anew"
                for one in collections
                if one is not None and self._nearest.mend(db, one)
            )

    def _discard_orphans(self) -> None:
        """Remove matrices of collections that are gone."""
        if self._folder is None or not self._folder.is_dir():
            return
        known = {row for [row] in self._writing.execute("SELECT id FROM collections")}
        for path in (*self._folder.glob("*-*.matrix*"), *self._folder.glob("*-*.graph*")):
            number = path.name.partition("-")[0]
            if not number.isdigit() or int(number) not in known:
                matrix_file.discard(path)


def _where(
    collection: Collection, wanted: Mapping[str, Any] | None, embedded: bool | None
) -> tuple[str, list[Any]]:
    """The condition on rows of passages, and its values."""
    parts, values = ["collection = ?"], [collection.id]
    if wanted:
        sql, more = chosen(collection.id, wanted)
        parts.append(f"id IN ({sql})")
        values += more
    if embedded is not None:
        has = "EXISTS (SELECT 1 FROM vectors v WHERE v.passage = passages.id)"
        parts.append(has if embedded else f"NOT {has}")
    return " AND ".join(parts), values


def _only(
    collection: Collection, wanted: Mapping[str, Any] | None, embedded: bool | None
) -> tuple[str, list[Any]]:
    """SQL for the rows of passages that a search by words is limited to, empty for all."""
    if embedded is None:
        return chosen(collection.id, wanted) if wanted else ("", [])
    where, values = _where(collection, wanted, embedded)
    return f"SELECT id FROM passages WHERE {where}", values  # noqa: S608
