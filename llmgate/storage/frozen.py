"""The rows of a matrix as they were at a moment, for what goes through them in another thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from llmgate.storage.matrix_file import Ids, Rows

    Flags = npt.NDArray[np.bool_]

# So many rows are compared at a time.
_TOGETHER = 4096


class Frozen(msgspec.Struct, frozen=True):
    """The rows of a matrix as they were at a moment."""

    ids: Ids
    alive: Flags
    base: Rows
    tail: Rows
    dimension: int
    metric: str

    @property
    def last(self) -> int:
        """The id of the last vector, 0 without any."""
        return int(self.ids[-1]) if len(self.ids) else 0

    def part(self, first: int, last: int, *, dead: bool = False) -> tuple[Ids, Rows]:
        """Ids and vectors of some rows in a row, without those that were removed unless told."""
        import numpy as np

        base = len(self.base)
        parts = [
            np.asarray(self.base)[first:last],
            self.tail[max(first - base, 0) : max(last - base, 0)],
        ]
        some = [part for part in parts if len(part)]
        rows = some[0] if len(some) == 1 else np.concatenate(parts)
        ids, alive = self.ids[first:last], self.alive[first:last]
        return (ids, rows) if dead or alive.all() else (ids[alive], rows[alive])

    def between(self, count: int) -> Rows:
        """Vectors to search for, each between two of these: where they are, but on none of them."""
        import numpy as np

        chance = np.random.default_rng(len(self.ids))
        pairs = [
            np.concatenate([self.part(int(one), int(one) + 1, dead=True)[1] for one in places])
            for places in chance.integers(0, len(self.ids), (2, count))
        ]
        queries: Rows = pairs[0] + pairs[1]
        if self.metric == "cosine":
            queries /= np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-12)
        return queries

    def nearest(self, queries: Rows, count: int) -> list[set[int]]:
        """The ids of the nearest vectors to each query, exactly."""
        import numpy as np

        best: list[list[tuple[float, int]]] = [[] for _ in queries]
        for first in range(0, len(self.ids), _TOGETHER):
            ids, rows = self.part(first, first + _TOGETHER)
            scores = queries @ rows.T
            if self.metric == "euclidean":
                scores = 2 * scores - np.einsum("ij,ij->i", rows, rows)
            if len(ids) <= count:
                places = np.argsort(-scores, axis=1)
            else:
                places = np.argpartition(-scores, count - 1, axis=1)[:, :count]
            for found, row, chosen in zip(best, scores, places, strict=True):
                found += zip(row[chosen].tolist(), ids[chosen].tolist(), strict=True)
                found.sort(reverse=True)
                del found[count:]
        return [{number for _, number in found} for found in best]
