"""Passages over an engine in this process: all that waits for a disk is done in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from llmgate.errors import ConfigError, StorageError, Unstorable
from llmgate.storage import encoding
from llmgate.storage.base import Health
from llmgate.storage.operations import checked
from llmgate.storage.passages import (
    CollectionStats,
    Hit,
    Metric,
    Passage,
    Source,
    Vectors,
    VectorStats,
)

T = TypeVar("T")
_METRICS = ("cosine", "dot", "euclidean")


class VectorEngine(Protocol):
    """What an engine does, one call at a time except that reads may go beside one write.

    Everything that it raises on purpose is an `LlmgateError`.
    """

    location: str

    def check(self, name: str, dimension: int | None, metric: Metric | None) -> None: ...
    def insert(
        self, name: str, dimension: int | None, metric: Metric | None, passages: Sequence[Passage]
    ) -> tuple[str, ...]: ...
    def embed(self, name: str, vectors: Mapping[str, Sequence[float]]) -> int: ...
    def delete(self, name: str, ids: Sequence[str]) -> int: ...
    def get(self, name: str, id: str) -> Passage | None: ...  # noqa: A002
    def page(
        self,
        name: str,
        after: int | str | None,
        limit: int,
        wanted: Mapping[str, Any] | None,
        embedded: bool | None,
    ) -> tuple[int, tuple[Passage, ...]]: ...
    def query(
        self,
        name: str,
        vector: Sequence[float] | None,
        text: str | None,
        top_k: int,
        wanted: Mapping[str, Any] | None,
    ) -> tuple[Hit, ...]: ...
    def size(
        self, name: str, wanted: Mapping[str, Any] | None, text: str | None, embedded: bool | None
    ) -> int: ...
    def sources(self, name: str) -> tuple[Source, ...]: ...
    def collection_stats(
        self, name: str, dimension: int | None, metric: Metric | None
    ) -> CollectionStats: ...
    def collections(self, prefix: str) -> list[str]: ...
    def drop(self, name: str) -> int: ...
    def health(self) -> Health: ...
    def stats(self) -> VectorStats: ...
    def backup(self, path: Path | None) -> Path: ...
    def restore(self, path: Path) -> None: ...
    def close(self) -> None: ...


class LocalStore:
    """A store over a `VectorEngine`: one thread writes, and one reads if it is given its own."""

    def __init__(
        self, engine: VectorEngine, writer: ThreadPoolExecutor, reader: ThreadPoolExecutor
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._reader = reader
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, engine: Callable[[], VectorEngine], *, readers: bool = False) -> Self:
        """Open an engine in the thread that will write."""
        writer = ThreadPoolExecutor(1, "llmgate-vectors-write")
        try:
            opened = await asyncio.get_running_loop().run_in_executor(writer, engine)
        except BaseException:
            writer.shutdown(wait=False)
            raise
        reader = ThreadPoolExecutor(1, "llmgate-vectors-read") if readers else writer
        return cls(opened, writer, reader)

    async def open(
        self,
        collection: str,
        *,
        dimension: int | None = None,
        metric: Metric | None = None,
        closing: bool = False,
    ) -> Vectors:
        """As `VectorStore.open`."""
        encoding.check_name("collection", collection)
        if dimension is not None and dimension < 1:
            raise ConfigError(f"{dimension} is no dimension: it has to be 1 or more.")
        if metric is not None and metric not in _METRICS:
            raise ConfigError(
                f"{metric!r} is no metric.", hint=f"There are: {', '.join(_METRICS)}."
            )
        await self.read(self._engine.check, collection, dimension, metric)
        return LocalVectors(self, self._engine, collection, dimension, metric, closing)

    async def collections(self, prefix: str = "") -> list[str]:
        """As `VectorStore.collections`."""
        return await self.read(self._engine.collections, checked(prefix))

    async def drop(self, collection: str) -> int:
        """As `VectorStore.drop`."""
        encoding.check_name("collection", collection)
        return await self.write(self._engine.drop, collection)

    async def health(self) -> Health:
        """As `VectorStore.health`."""
        return await self._alone(self._engine.health)

    async def stats(self) -> VectorStats:
        """As `VectorStore.stats`."""
        return await self.read(self._engine.stats)

    async def backup(self, path: Path | None = None) -> Path:
        """As `VectorStore.backup`."""
        return await self.write(self._engine.backup, path)

    async def restore(self, path: Path) -> None:
        """As `VectorStore.restore`."""
        await self._alone(self._engine.restore, path)

    async def close(self) -> None:
        """As `VectorStore.close`."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def read(self, function: Callable[..., T], *arguments: Any) -> T:
        """Do something in the thread that reads."""
        return await self._run(self._reader, function, *arguments)

    async def write(self, function: Callable[..., T], *arguments: Any) -> T:
        """Do something in the thread that writes."""
        return await self._run(self._writer, function, *arguments)

    async def _alone(self, function: Callable[..., T], *arguments: Any) -> T:
        """In the thread that writes, while that which reads waits."""
        if self._reader is self._writer:
            return await self.write(function, *arguments)
        loop = asyncio.get_running_loop()
        begun, ended = loop.create_future(), threading.Event()

        def hold() -> None:
            loop.call_soon_threadsafe(begun.set_result, None)
            ended.wait()

        self._check_open()
        holding = loop.run_in_executor(self._reader, hold)
        try:
            await begun
            return await self.write(function, *arguments)
        finally:
            ended.set()
            await holding

    async def _run(
        self, executor: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any
    ) -> T:
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(executor, function, *arguments)

    async def _close(self) -> None:
        # Behind all that is under way in both threads.
        if self._reader is not self._writer:
            await asyncio.to_thread(self._reader.shutdown)
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._writer, self._engine.close)
        finally:
            self._writer.shutdown(wait=False)

    def _check_open(self) -> None:
        if self._closing is not None:
            raise StorageError(f"the store {self._engine.location} is closed.")


class LocalVectors:
    """A collection of a `LocalStore`."""

    def __init__(
        self,
        store: LocalStore,
        engine: VectorEngine,
        collection: str,
        dimension: int | None,
        metric: Metric | None,
        closing: bool,
    ) -> None:
        self.collection = collection
        self._store = store
        self._engine = engine
        self._dimension = dimension
        self._metric = metric
        self._closed = False
        self._closing = closing

    async def insert(self, passage: Passage) -> str:
        """As `Vectors.insert`."""
        return (await self.insert_many((passage,)))[0]

    async def insert_many(self, passages: Iterable[Passage]) -> tuple[str, ...]:
        """As `Vectors.insert_many`."""
        return await self._write(
            self._engine.insert, self.collection, self._dimension, self._metric, tuple(passages)
        )

    async def embed(self, vectors: Mapping[str, Sequence[float]]) -> int:
        """As `Vectors.embed`."""
        for name in vectors:
            checked(name)
        return await self._write(self._engine.embed, self.collection, dict(vectors))

    async def get(self, id: str) -> Passage | None:  # noqa: A002 - the name of the field
        """As `Vectors.get`."""
        return await self._read(self._engine.get, self.collection, checked(id))

    async def delete(self, *ids: str) -> int:
        """As `Vectors.delete`."""
        names = [checked(one) for one in ids]
        return await self._write(self._engine.delete, self.collection, names) if names else 0

    async def all(
        self,
        page_size: int = 100,
        after: str | None = None,
        *,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        embedded: bool | None = None,
    ) -> AsyncGenerator[tuple[Passage, ...], None]:
        """As `Vectors.all`."""
        _check_count("page_size", page_size, 1)
        row: int | str | None = None if after is None else checked(after)
        while True:
            row, passages = await self._read(
                self._engine.page, self.collection, row, page_size, filter, embedded
            )
            if passages:
                yield passages
            if len(passages) < page_size:
                return

    async def query(
        self,
        vector: Sequence[float] | None = None,
        text: str | None = None,
        top_k: int = 10,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
    ) -> tuple[Hit, ...]:
        """As `Vectors.query`."""
        _check_count("top_k", top_k, 0)
        if vector is None and text is None:
            raise Unstorable("a query needs a vector, a text, or both.")
        if text is not None:
            checked(text)
        return await self._read(self._engine.query, self.collection, vector, text, top_k, filter)

    async def size(
        self,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        *,
        text: str | None = None,
        embedded: bool | None = None,
    ) -> int:
        """As `Vectors.size`."""
        if text is not None:
            checked(text)
        return await self._read(self._engine.size, self.collection, filter, text, embedded)

    async def sources(self) -> tuple[Source, ...]:
        """As `Vectors.sources`."""
        return await self._read(self._engine.sources, self.collection)

    async def health(self) -> Health:
        """As `Vectors.health`."""
        self._check_open()
        return await self._store.health()

    async def stats(self) -> CollectionStats:
        """As `Vectors.stats`."""
        return await self._read(
            self._engine.collection_stats, self.collection, self._dimension, self._metric
        )

    async def close(self) -> None:
        """As `Vectors.close`."""
        self._closed = True
        if self._closing:
            await self._store.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _read(self, function: Callable[..., T], *arguments: Any) -> T:
        self._check_open()
        return await self._store.read(function, *arguments)

    async def _write(self, function: Callable[..., T], *arguments: Any) -> T:
        self._check_open()
        return await self._store.write(function, *arguments)

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError(f"the collection {self.collection!r} is closed.")


def _check_count(name: str, number: int, least: int) -> None:
    if number < least:
        raise Unstorable(f"`{name}` is {number}, and can't be below {least}.")
