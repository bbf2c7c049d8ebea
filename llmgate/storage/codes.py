"""Which vectors may be near, told by one bit for each of their numbers: is it above average?

What has most bits in common are candidates, to be ranked exactly: a tenth of the work. It is
built in the background, and used once it was measured to find what it must.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from llmgate.storage.frozen import Frozen
    from llmgate.storage.matrix import Matrix
    from llmgate.storage.matrix_file import Ids, Rows

# Below so many vectors a look at each takes few milliseconds; shorter ones have too few bits.
FEWEST = 30_000
_SHORTEST = 128
# How many candidates there are at least: the first of these with which enough of the nearest ten
# of samples are among them. And how many there are for each vector that is asked for.
_CANDIDATES = (1000, 2000, 4000, 8000)
_EACH = 20
_RECALL = 0.99
_NEAREST = 10
_SAMPLED = 64
# Among so many vectors that is measured, which are samples too.
_CHECKED = 25_000
# What was added since, or is there no more, as a share of all: more makes it build again.
_STALE = 0.2
_TOGETHER = 4096


class Built(msgspec.Struct, frozen=True):
    """The bits of vectors, 64 of all of them in each row, and how many candidates are enough."""

    ids: Ids
    bits: Rows
    mean: Rows
    enough: int

    def nearest(self, query: Rows, count: int) -> Ids:
        """The ids of at least `count` vectors with the most bits in common, in their order."""
        import numpy as np

        bits = _bits(query.reshape(1, -1), self.mean)[:, 0]
        apart = np.zeros(len(self.ids), np.uint16)
        for some, one in zip(self.bits, bits, strict=True):
            apart += np.bitwise_count(some ^ one)
        count = min(count, len(self.ids))
        edge = np.partition(apart, count - 1)[count - 1]
        found: Ids = self.ids[apart <= edge]
        return found


class Codes:
    """The bits of the vectors of one matrix, and the thread that makes them."""

    def __init__(self) -> None:
        self._built: Built | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._unusable_below = 0

    @property
    def is_ready(self) -> bool:
        """Whether there are candidates to be had."""
        return self._built is not None

    def candidates(self, matrix: Matrix, query: Rows, count: int) -> Ids | None:
        """Places of rows among which the nearest are; None where all have to be looked at."""
        import numpy as np

        if len(matrix) < FEWEST or matrix.dimension < _SHORTEST or matrix.metric != "cosine":
            return None
        built = self._built
        last = 0 if built is None else int(built.ids[-1])
        first = int(np.searchsorted(matrix.ids, last, "right"))
        fresh = len(matrix.ids) - first
        gone = 0 if built is None else len(built.ids) - int(matrix.alive[:first].sum())
        if fresh + gone > _STALE * len(matrix):
            self._renew(matrix)
            return None
        if built is None:
            return None
        wanted = max(built.enough, _EACH * count)
        if wanted > len(matrix) // 4:
            return None
        ids = built.nearest(query, wanted)
        places = np.searchsorted(matrix.ids[:first], ids)
        places = places[places < first]
        known = places[np.isin(matrix.ids[places], ids)]
        found: Ids = np.concatenate([known, np.arange(first, len(matrix.ids))])
        return found

    def wait(self) -> None:
        """Wait until what is being built is there."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Stop building."""
        self._stop.set()
        self.wait()
        self._built = None

    def _renew(self, matrix: Matrix) -> None:
        import numpy as np

        if not hasattr(np, "bitwise_count") or len(matrix.ids) < self._unusable_below:
            return
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._build, args=(matrix.frozen(),), name="llmgate-codes", daemon=True
            )
            self._thread.start()

    def _build(self, rows: Frozen) -> None:
        import numpy as np

        total = np.zeros(rows.dimension, np.float64)
        for first in range(0, len(rows.ids), _TOGETHER):
            total += rows.part(first, first + _TOGETHER)[1].sum(axis=0)
        ids = rows.ids[rows.alive]
        mean = (total / max(1, len(ids))).astype(np.float32)
        # Where each of so many is a sample, as many times fewer candidates have to be enough.
        step = max(1, len(ids) // _CHECKED)
        parts, samples = [], []
        for first in range(0, len(rows.ids), _TOGETHER):
            if self._stop.is_set():
                return
            some = rows.part(first, first + _TOGETHER)[1]
            parts.append(_bits(some, mean))
            samples.append(some[::step])
        enough = _enough(np.concatenate(samples), mean, rows.between(_SAMPLED), step)
        if enough is None:
            self._built, self._unusable_below = None, 2 * len(rows.ids)
        else:
            self._built = Built(ids, np.concatenate(parts, axis=1), mean, enough)


def _enough(rows: Rows, mean: Rows, queries: Rows, step: int) -> int | None:
    """How many candidates have enough of the nearest among them; None if too many had to be."""
    import numpy as np

    built = Built(np.arange(len(rows)), _bits(rows, mean), mean, 0)
    nearest = np.argpartition(-(queries @ rows.T), _NEAREST - 1, axis=1)[:, :_NEAREST]
    for enough in _CANDIDATES:
        found = 0
        for query, best in zip(queries, nearest, strict=True):
            found += int(np.isin(best, built.nearest(query, enough // step)).sum())
        if found >= _RECALL * nearest.size:
            return enough
    return None


def _bits(rows: Rows, mean: Rows) -> Rows:
    """The bits of vectors, 64 of each in one row of numbers."""
    import numpy as np

    above = np.packbits(rows > mean, axis=1)
    whole = np.zeros((len(rows), -(-above.shape[1] // 8) * 8), np.uint8)
    whole[:, : above.shape[1]] = above
    bits: Rows = np.ascontiguousarray(whole.view(np.uint64).T)
    return bits
