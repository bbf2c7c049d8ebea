"""The nearest vectors of collections in SQLite: by a matrix, and an index where there are many."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from llmgate.errors import MissingPackage
from llmgate.storage.codes import Codes
from llmgate.storage.graph import Graph
from llmgate.storage.sqlite_vector_writing import Collection

if TYPE_CHECKING:
    from llmgate.storage.matrix import Matrix

# Passages with their similarity, the best first.
Near: TypeAlias = list[tuple[int, float]]
# From so many numbers on in a matrix it is worth waking another thread to multiply them.
_WORTH = 4_000_000


class Nearest:
    """The matrices of a store, each made when it is first searched."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._matrices: dict[int, Matrix] = {}
        # By the generation too: a graph of what was there before is none of this.
        self._graphs: dict[tuple[int, int], Graph] = {}
        self._codes: dict[tuple[int, int], Codes] = {}
        self._thread = ThreadPoolExecutor(1, "llmgate-vectors-near")

    @contextmanager
    def searching(
        self,
        db: sqlite3.Connection,
        collection: Collection,
        vector: Sequence[float],
        count: int,
        only: Sequence[int] | None,
        *,
        beside: bool,
    ) -> Iterator[Future[Near]]:
        """The nearest passages, of all or of some; `beside` what is done in this block if large.

        The database is only looked at before the block.
        """
        matrix = self._matrix(db, collection)
        found: Future[Near]
        fast = any(index.is_ready for index in self._indexes(collection, matrix))
        if beside and not fast and len(matrix.ids) * matrix.dimension >= _WORTH:
            found = self._thread.submit(self._find, collection, matrix, vector, count, only)
        else:
            found = Future()
            found.set_result(self._find(collection, matrix, vector, count, only))
        try:
            yield found
        finally:
            wait([found])

    def _find(
        self,
        collection: Collection,
        matrix: Matrix,
        vector: Sequence[float],
        count: int,
        only: Sequence[int] | None,
    ) -> Near:
        query = matrix.query(vector)
        if only is None:
            graph, codes = self._indexes(collection, matrix)
            places = graph.candidates(matrix, query, count)
            if places is None:
                places = codes.candidates(matrix, query, count)
            if places is not None:
                return matrix.ranked(query, places, count)
            return matrix.nearest(query, count)
        return matrix.nearest(query, count, matrix.of(only))

    def mend(self, db: sqlite3.Connection, collection: Collection) -> bool:
        """Look through the matrix's file; whether it had to be made anew."""
        try:
            matrix = self._matrix(db, collection)
        except MissingPackage:
            # Who can't search by vectors needs no matrix either.
            return False
        return matrix.damaged(db)

    def problems(self) -> list[str]:
        """Why matrices are not on the disk."""
        found = (matrix.problem for matrix in self._matrices.values())
        return [problem for problem in found if problem is not None]

    def forget(self) -> None:
        """Let go of everything: the store is another one now, or closed."""
        for index in self._all():
            index.close()
        self._graphs.clear()
        self._codes.clear()
        self._matrices.clear()

    def close(self) -> None:
        """Let go of everything for good."""
        self.forget()
        self._thread.shutdown()

    def drop(self, collection: int) -> None:
        """Let go of what there is of a collection."""
        self._matrices.pop(collection, None)
        for key in [key for key in list(self._graphs) if key[0] == collection]:
            self._graphs.pop(key).close()
            self._codes.pop(key).close()

    def wait(self) -> None:
        """Wait until all indexes that are being built are there."""
        for index in self._all():
            index.wait()

    def _all(self) -> list[Graph | Codes]:
        return [*self._graphs.values(), *self._codes.values()]

    def _indexes(self, collection: Collection, matrix: Matrix) -> tuple[Graph, Codes]:
        key = (collection.id, matrix.generation)
        if key not in self._graphs:
            self._graphs[key] = Graph(self._folder, *key)
            self._codes[key] = Codes()
        return self._graphs[key], self._codes[key]

    def _matrix(self, db: sqlite3.Connection, collection: Collection) -> Matrix:
        from llmgate.storage.matrix import Matrix

        [generation] = db.execute("SELECT value FROM counters WHERE name = 'generation'").fetchone()
        matrix = self._matrices.get(collection.id)
        assert collection.dimension is not None
        if matrix is None or (matrix.generation, matrix.dimension, matrix.metric) != (
            generation,
            collection.dimension,
            collection.metric,
        ):
            matrix = Matrix(
                self._folder, collection.id, collection.dimension, collection.metric, generation
            )
            self._matrices[collection.id] = matrix
        matrix.sync(db)
        return matrix
