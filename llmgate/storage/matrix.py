"""The vectors of a collection as a matrix, kept in step with their table, and searched by numpy."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from llmgate.errors import MissingPackage, StorageError, StoreCorrupt
from llmgate.storage import matrix_file
from llmgate.storage.frozen import Frozen
from llmgate.storage.matrix_file import Header, Stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from llmgate.storage.matrix_file import Ids, Rows

    Flags = npt.NDArray[np.bool_]
    Scores = npt.NDArray[np.float32]

# A file is written when so many vectors, and this share of all, are not in it.
_FEWEST = 2000
_SHARE = 0.25
# Rows of a file that are compared with the table before it is trusted.
_SAMPLED = 8
# So many are read from the table at a time.
_TOGETHER = 4096


class Matrix:
    """What one process has of a collection's vectors: the file's rows, then those added since.

    Rows keep their places; what was removed is marked. With `folder` None there is no file.
    """

    def __init__(
        self, folder: Path | None, collection: int, dimension: int, metric: str, generation: int
    ) -> None:
        try:
            import numpy as np
        except ImportError as error:
            raise MissingPackage("searching by vectors", "memory") from error
        self.generation = generation
        self.dimension = dimension
        self.metric = metric
        self.problem: str | None = None
        self._folder = folder
        self._collection = collection
        self._np = np
        self._opened = False
        self._removed = 0
        self._clear()

    def __len__(self) -> int:
        return int(self._alive.sum())

    @property
    def passages(self) -> Ids:
        """The passage of each row."""
        return self._passages

    @property
    def alive(self) -> Flags:
        """Which rows are not removed."""
        return self._alive

    @property
    def last(self) -> int:
        """The id of the last vector that is in here."""
        return self._last

    @property
    def ids(self) -> Ids:
        """The id of the vector of each row, growing."""
        return self._ids

    def sync(self, db: sqlite3.Connection) -> None:
        """Take in what was added and removed, inside of one look at the database."""
        if not self._opened:
            self._opened = True
            self._open(db)
        [forgotten] = db.execute(
            "SELECT forgotten FROM collections WHERE id = ?", (self._collection,)
        ).fetchone()
        if self._removed < forgotten:
            self._clear()
            self._opened = True
            self._removed = forgotten
        self._add(db)
        self._remove(db)
        if self._folder is not None and self._is_due():
            self._save()

    def nearest(
        self, query: Scores, count: int, rows: Flags | None = None
    ) -> list[tuple[int, float]]:
        """The passages of the `count` nearest rows with their similarity, best first.

        `rows` are those that may be found. Of equals the one comes first that was added first.
        """
        np = self._np
        wanted = self._alive if rows is None else self._alive & rows
        found = int(wanted.sum())
        if found < len(wanted) // 4:
            places = np.flatnonzero(wanted)
            scores = self.similarities(query, places)
        else:
            places = None
            scores = self._all_similarities(query)
            if found < len(wanted):
                scores[~wanted] = -np.inf
        count = min(count, found)
        if count < 1:
            return []
        best = self._best(scores, count)
        chosen = best if places is None else places[best]
        passages = self._passages[chosen].tolist()
        return list(zip(passages, scores[best].tolist(), strict=True))

    def of(self, passages: Sequence[int]) -> Flags:
        """Which rows are of these passages."""
        flags: Flags = self._np.isin(self._passages, self._np.array(passages, self._np.int64))
        return flags

    def query(self, vector: Sequence[float]) -> Scores:
        """A vector in the form in which rows are kept."""
        row = self._np.asarray(vector, self._np.float32).reshape(1, -1)
        prepared: Scores = self._prepared(row)[0]
        return prepared

    def similarities(self, query: Scores, places: Ids) -> Scores:
        """How similar some rows are."""
        np = self._np
        base = len(self._base)
        scores: Scores = np.empty(len(places), np.float32)
        old = places < base
        for chosen, part, offset in ((old, self._base, 0), (~old, self._tail, base)):
            rows = np.asarray(part)[places[chosen] - offset]
            scores[chosen] = self._scored(rows, query, self._squares(rows))
        return scores

    def ranked(self, query: Scores, places: Ids, count: int) -> list[tuple[int, float]]:
        """As `nearest`, among rows in these places."""
        places = self._np.unique(places[self._alive[places]])
        scores = self.similarities(query, places)
        best = self._best(scores, min(count, len(places))) if len(places) else places
        passages = self._passages[places[best]].tolist()
        return list(zip(passages, scores[best].tolist(), strict=True))

    def frozen(self) -> Frozen:
        """What there is now, for another thread."""
        return Frozen(
            self._ids, self._alive.copy(), self._base, self._tail, self.dimension, self.metric
        )

    def damaged(self, db: sqlite3.Connection) -> bool:
        """Whether the file says anything else than the table; it is removed then."""
        if self._path is None:
            return False
        stored = matrix_file.read(self._path.parent, self.generation, self._collection)
        if stored is None or matrix_file.is_whole(stored):
            return False
        matrix_file.discard(self._path)
        self._clear()
        self.sync(db)
        return True

    def _clear(self) -> None:
        np = self._np
        self._opened = False
        self._base: Rows = np.empty((0, self.dimension), np.float32)
        # Behind the rows that are used there is room for more.
        self._room: Rows = np.empty((0, self.dimension), np.float32)
        self._tail: Rows = self._room
        self._ids: Ids = np.empty(0, np.int64)
        self._passages: Ids = np.empty(0, np.int64)
        self._alive: Flags = np.empty(0, np.bool_)
        self._sizes: Scores = np.empty(0, np.float32)
        self._last = 0
        self._removed = 0
        self._path: Path | None = None

    def _open(self, db: sqlite3.Connection) -> None:
        if self._folder is None:
            return
        stored = matrix_file.read(self._folder, self.generation, self._collection)
        if stored is None or not self._fits(stored, db):
            return
        np = self._np
        self._base = stored.rows
        self._ids, self._passages = stored.ids, stored.passages
        self._alive = np.ones(len(stored.ids), np.bool_)
        if self.metric == "euclidean":
            self._sizes = self._squares(stored.rows)
        self._last, self._removed = stored.header.last, stored.header.removed
        self._path = stored.path

    def _fits(self, stored: Stored, db: sqlite3.Connection) -> bool:
        """Whether a file is of this table: another one may have been put in its place."""
        header = stored.header
        if (header.dimension, header.metric) != (self.dimension, self.metric):
            return False
        for table, last in (("vectors", header.last), ("removed", header.removed)):
            row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
            if last > (row[0] if row else 0):
                return False
        step = max(1, header.rows // _SAMPLED)
        for place in range(header.rows - 1, -1, -step):
            row = db.execute(
                "SELECT passage, vector FROM vectors WHERE id = ? AND collection = ?",
                (int(stored.ids[place]), self._collection),
            ).fetchone()
            if row is None:
                continue  # removed since
            vector = self._np.frombuffer(row[1], "<f4").reshape(1, -1)
            if row[0] != stored.passages[place] or not self._np.allclose(
                self._prepared(vector)[0], stored.rows[place], rtol=1e-4, atol=1e-6
            ):
                return False
        return True

    def _add(self, db: sqlite3.Connection) -> None:
        np = self._np
        cursor = db.execute(
            "SELECT id, passage, vector FROM vectors WHERE collection = ? AND id > ? ORDER BY id",
            (self._collection, self._last),
        )
        while found := cursor.fetchmany(_TOGETHER):
            if any(len(row[2]) != 4 * self.dimension for row in found):
                raise StoreCorrupt(
                    "there are vectors of another dimension among those of a collection.",
                    hint="llmgate storage health --vectors says more.",
                )
            added = np.frombuffer(b"".join(row[2] for row in found), "<f4")
            rows = self._prepared(added.reshape(len(found), self.dimension))
            used = len(self._tail)
            if used + len(rows) > len(self._room):
                room = np.empty((max(256, 2 * used, used + len(rows)), self.dimension), np.float32)
                room[:used] = self._tail
                self._room = room
            self._room[used : used + len(rows)] = rows
            self._tail = self._room[: used + len(rows)]
            self._ids = np.append(self._ids, np.array([row[0] for row in found], np.int64))
            self._passages = np.append(
                self._passages, np.array([row[1] for row in found], np.int64)
            )
            self._alive = np.append(self._alive, np.ones(len(rows), np.bool_))
            if self.metric == "euclidean":
                self._sizes = np.append(self._sizes, self._squares(rows))
            self._last = found[-1][0]

    def _remove(self, db: sqlite3.Connection) -> None:
        for number, vector in db.execute(
            "SELECT id, vector FROM removed WHERE collection = ? AND id > ? ORDER BY id",
            (self._collection, self._removed),
        ):
            place = int(self._np.searchsorted(self._ids, vector))
            if place < len(self._ids) and self._ids[place] == vector:
                self._alive[place] = False
            self._removed = number

    def _is_due(self) -> bool:
        # What is removed costs time and space too.
        fresh = len(self._tail) + len(self._alive) - len(self)
        return fresh >= _FEWEST and fresh >= _SHARE * len(self._base)

    def _save(self) -> None:
        """Write what there is, without what was removed, and go on with that file."""
        np = self._np
        kept = np.flatnonzero(self._alive)
        rows = np.concatenate([np.asarray(self._base), self._tail])[kept]
        header = Header(
            self.generation,
            self._collection,
            self.dimension,
            self.metric,
            len(kept),
            self._last,
            self._removed,
        )
        assert self._folder is not None
        stored = Stored(header, self._ids[kept], self._passages[kept], rows)
        try:
            self._path = matrix_file.write(self._folder, stored)
        except StorageError as error:
            # It only saves time: everything is in the table, and here.
            self.problem = str(error)
            self._folder = None
            return
        written = matrix_file.read(self._folder, self.generation, self._collection)
        self._base = rows if written is None else written.rows
        self._room = self._tail = np.empty((0, self.dimension), np.float32)
        self._ids, self._passages = stored.ids, stored.passages
        self._alive = np.ones(len(kept), np.bool_)
        if self.metric == "euclidean":
            self._sizes = self._sizes[kept]

    def _prepared(self, rows: Rows) -> Rows:
        if self.metric != "cosine":
            same: Rows = rows.astype(self._np.float32)
            return same
        # In double precision: no 32-bit float is too large or too small for that.
        wide = rows.astype(self._np.float64)
        lengths = self._np.sqrt((wide * wide).sum(axis=1, keepdims=True))
        # A vector without a length is similar to none.
        lengths[lengths == 0] = 1
        scaled: Rows = (wide / lengths).astype(self._np.float32)
        return scaled

    def _all_similarities(self, query: Scores) -> Scores:
        np = self._np
        base = len(self._base)
        scores: Scores = np.empty(len(self._ids), np.float32)
        sizes = self._sizes if self.metric == "euclidean" else scores
        for part, first in ((self._base, 0), (self._tail, base)):
            last = first + len(part)
            if len(part):
                scores[first:last] = self._scored(np.asarray(part), query, sizes[first:last])
        return scores

    def _scored(self, rows: Rows, query: Scores, sizes: Scores) -> Scores:
        np = self._np
        if self.metric == "cosine":
            return self._products(rows, query)
        # Numbers that are as large as floats can be give infinities, and those no numbers.
        with np.errstate(over="ignore", invalid="ignore"):
            scores = self._products(rows, query)
            if self.metric == "euclidean":
                # The negative distance: here too the higher the nearer.
                squares = sizes - 2 * scores + query @ query
                scores = -np.sqrt(np.maximum(squares, 0))
        scores[np.isnan(scores)] = -np.inf
        return scores

    def _products(self, rows: Rows, query: Scores) -> Scores:
        # Not `@`: the threads of BLAS wait for each other where a model keeps the cores busy, and
        # this is as fast as memory is in one.
        products: Scores = self._np.einsum("ij,j->i", rows, query)
        return products

    def _squares(self, rows: Rows) -> Scores:
        squares: Scores = self._np.einsum("ij,ij->i", rows, rows)
        return squares

    def _best(self, scores: Scores, count: int) -> Ids:
        np = self._np
        if count < len(scores):
            # All that are as good as the last one: which of them come first is told below.
            edge = np.partition(scores, len(scores) - count)[len(scores) - count]
            best = np.flatnonzero(scores >= edge)
        else:
            best = np.arange(len(scores))
        order = np.argsort(-scores[best], kind="stable")[:count]
        ordered: Ids = best[order].astype(np.int64)
        return ordered
