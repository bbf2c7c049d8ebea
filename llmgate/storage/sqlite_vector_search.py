"""The nearest vectors of collections in SQLite: exactly by a matrix."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmgate.storage.sqlite_vector_writing import Collection

if TYPE_CHECKING:
    from llmgate.storage.matrix import Matrix


class Nearest:
    """The matrices of a store, each made when it is first searched."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._matrices: dict[int, Matrix] = {}

    def find(
        self,
        db: sqlite3.Connection,
        collection: Collection,
        vector: Sequence[float],
        count: int,
        only: Sequence[int] | None,
    ) -> list[tuple[int, float]]:
        """The nearest passages with their similarity, of all or of some."""
        import numpy as np

        matrix = self._matrix(db, collection)
        query = matrix.query(vector)
        if only is None:
            return matrix.nearest(query, count)
        return matrix.nearest(query, count, np.isin(matrix.passages, np.array(only, np.int64)))

    def mend(self, db: sqlite3.Connection, collection: Collection) -> bool:
        """Look through the matrix's file; whether it had to be made anew."""
        return self._matrix(db, collection).damaged(db)

    def problems(self) -> list[str]:
        """Why matrices are not on the disk."""
        found = (matrix.problem for matrix in self._matrices.values())
        return [problem for problem in found if problem is not None]

    def forget(self) -> None:
        """Let go of everything: the store is another one now."""
        self._matrices.clear()

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
