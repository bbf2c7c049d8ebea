"""Near neighbours by a graph (HNSW, of usearch), for collections too large to look at every vector.

What it finds are candidates, to be ranked exactly; what it lacks is searched exactly beside it. It
is built in the background, kept in a file, and used once it was measured to find what it must.
"""

from __future__ import annotations

import importlib.util
import os
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmgate.storage.matrix_file import discard
from llmgate.storage.places import make_folder, sync_file, sync_folder

if TYPE_CHECKING:
    from llmgate.storage.frozen import Frozen
    from llmgate.storage.matrix import Matrix
    from llmgate.storage.matrix_file import Ids, Rows

# Below so many vectors a look at each takes few milliseconds, and needs nothing to be built.
FEWEST = 300_000
# What is not in the graph, or is in it no more, as a share of all: more makes it build again.
_STALE = 0.2
_SUFFIX = ".graph"
_BATCH = 1000
# Neighbours of each vector, and how widely they are looked for when it is added.
_CONNECTIVITY = 32
_EXPANSION_ADD = 128
# How widely neighbours are looked for: the first of these with which enough of the nearest ten
# are among so many candidates.
_EXPANSIONS = (100, 200, 400, 800, 1600)
_RECALL = 0.99
_NEAREST = 10
_CANDIDATES = 100
_SAMPLED = 64


class Graph:
    """The graph of one matrix, and the thread that builds it."""

    def __init__(self, folder: Path | None, collection: int, generation: int) -> None:
        self._folder = folder
        self._names = f"{collection}-{generation}-"
        self._collection = collection
        # Together, so that a search sees both or neither: the graph and the last id in it.
        self._ready: tuple[Any, int] | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._unusable_below = 0

    @property
    def is_ready(self) -> bool:
        """Whether there are candidates to be had."""
        return self._ready is not None

    def candidates(self, matrix: Matrix, query: Rows, count: int) -> Ids | None:
        """Places of rows among which the nearest are; None while there is no graph to ask."""
        import numpy as np

        if len(matrix) < FEWEST:
            return None
        ready = self._ready
        self._keep_up(matrix, ready)
        if ready is None:
            return None
        index, last = ready
        first = int(np.searchsorted(matrix.ids, last, "right"))
        if len(matrix.ids) - first > 2 * _STALE * len(matrix.ids):
            return None
        keys = index.search(query, max(_CANDIDATES, 2 * count)).keys.astype(np.int64)
        places = np.searchsorted(matrix.ids, keys)
        places = places[places < first]
        known = places[np.isin(matrix.ids[places], keys)]
        found: Ids = np.concatenate([known, np.arange(first, len(matrix.ids))])
        return found

    def wait(self) -> None:
        """Wait until what is being built is there."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Stop building; what is there of it is kept."""
        self._stop.set()
        self.wait()
        self._ready = None

    def _keep_up(self, matrix: Matrix, ready: tuple[Any, int] | None) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        if len(matrix.ids) <= self._unusable_below or not _is_installed():
            return
        if ready is not None:
            index, last = ready
            lacking = len(matrix.ids) - int(matrix.ids.searchsorted(last, "right"))
            gone = max(0, len(index) + lacking - len(matrix))
            if lacking + gone <= _STALE * len(matrix):
                return
            ready = None if gone > _STALE * len(matrix) else ready
        self._thread = threading.Thread(
            target=self._build, args=(matrix.frozen(), ready), name="llmgate-graph", daemon=True
        )
        self._thread.start()

    def _build(self, rows: Frozen, ready: tuple[Any, int] | None) -> None:
        if ready is not None:
            index, last = ready[0].copy(), ready[1]
        else:
            index, last = self._load(rows) or (_new(rows), 0)
            known = int(rows.alive[: int(rows.ids.searchsorted(last, "right"))].sum())
            if len(index) - known > _STALE * len(index):
                index, last = _new(rows), 0
        before = len(index)
        first = int(rows.ids.searchsorted(last, "right"))
        for start in range(first, len(rows.ids), _BATCH):
            if self._stop.is_set():
                break
            ids, vectors = rows.part(start, start + _BATCH)
            if len(ids):
                # One thread: the others of this machine have a model to run.
                index.add(ids, vectors, threads=1)
            last = int(rows.ids[min(start + _BATCH, len(rows.ids)) - 1])
        if len(index) - before > _STALE * len(index):
            self._save(index, last)
        if self._stop.is_set():
            return
        if _is_good(index, rows):
            self._ready = (index, last)
        else:
            self._unusable_below = 2 * len(rows.ids)

    def _save(self, index: Any, last: int) -> None:
        if self._folder is None:
            return
        beside = self._folder / f"{self._names}{last:020d}{_SUFFIX}.new"
        try:
            make_folder(self._folder)
            index.save(os.fspath(beside))
            sync_file(beside)
            # A file that is not what was written must not get to usearch: it would trust it.
            name = f"{self._names}{last:020d}-{_checksum(beside):08x}{_SUFFIX}"
            beside.rename(self._folder / name)
            sync_folder(self._folder)
        except (OSError, RuntimeError):
            # It only saves time: it is built again.
            discard(beside)
            return
        for old in self._folder.glob(f"{self._collection}-*{_SUFFIX}"):
            if old.name != name:
                discard(old)

    def _load(self, rows: Frozen) -> tuple[Any, int] | None:
        if self._folder is None:
            return None
        for path in sorted(self._folder.glob(f"{self._names}*{_SUFFIX}"), reverse=True):
            last, _, checksum = path.stem[len(self._names) :].partition("-")
            try:
                if f"{_checksum(path):08x}" != checksum or not last.isdigit():
                    discard(path)
                    continue
                index = _new(rows)
                index.load(os.fspath(path))
            except (OSError, RuntimeError):
                continue
            if index.ndim == rows.dimension and int(last) <= rows.last:
                return index, int(last)
        return None


def _is_installed() -> bool:
    return importlib.util.find_spec("usearch") is not None


def _new(rows: Frozen) -> Any:
    from usearch.index import Index

    return Index(
        ndim=rows.dimension,
        metric="l2sq" if rows.metric == "euclidean" else "ip",
        dtype="f16" if rows.metric == "cosine" else "f32",
        connectivity=_CONNECTIVITY,
        expansion_add=_EXPANSION_ADD,
    )


def _is_good(index: Any, rows: Frozen) -> bool:
    """Set how widely the graph is searched so that it finds enough; whether it can."""
    queries = rows.between(_SAMPLED)
    nearest = rows.nearest(queries, _NEAREST)
    for expansion in _EXPANSIONS:
        index.expansion_search = expansion
        found = 0
        for query, ids in zip(queries, nearest, strict=True):
            found += len(set(index.search(query, _CANDIDATES).keys.tolist()) & ids)
        if found >= _RECALL * sum(map(len, nearest)):
            return True
    return False


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            checksum = zlib.crc32(data, checksum)
    return checksum
