"""What every engine for passages offers: texts with vectors, found by either or by both."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import msgspec

from llmgate.storage.base import Health

Metric = Literal["cosine", "dot", "euclidean"]
# How deep the rankings by vector and by text go that are made one. What neither of them has so
# far up is no result.
DEPTH = 100


class Passage(msgspec.Struct, frozen=True):
    """A piece of text, what document it is of, and its vector if it has one.

    Without an `id` it gets one that comes from `doc_id` and `text`: the same piece of the same
    document is the same passage. `created_at` is None for now. Vectors are kept as 32-bit floats.
    """

    text: str
    id: str = ""
    embedding: Sequence[float] | None = None
    doc_id: str | None = None
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    created_at: datetime | None = None


class Hit(msgspec.Struct, frozen=True):
    """A passage that a query found: the higher the `score` the better it fits.

    It was made of the `similarity`, by the metric, and of the `relevance` of the words, which is
    about 1 if all of them are there: by these, hits of several collections can be compared. Each
    is None where that ranking does not have it. The passage comes without its embedding.
    """

    passage: Passage
    score: float
    similarity: float | None = None
    relevance: float | None = None


class Source(msgspec.Struct, frozen=True):
    """A document that passages are of, and how many."""

    doc_id: str
    passages: int


class CollectionStats(msgspec.Struct, frozen=True):
    """How much there is in a collection; no `dimension` until there is a vector."""

    collection: str
    passages: int
    vectors: int
    dimension: int | None
    metric: Metric


class VectorStats(msgspec.Struct, frozen=True):
    """How much there is in all collections. `bytes` are those on the disk, with indexes."""

    engine: str
    location: str
    schema: int
    collections: int
    passages: int
    vectors: int
    bytes: int


class Vectors(Protocol):
    """A collection of passages.

    What was acknowledged, in that an awaited write has returned, survives the end of the process
    and of the machine; a write that raised has left nothing behind. A collection is there from
    its first passage on, before that it answers as an empty one. All its vectors have one
    dimension, which the first one fixes if opening did not.

    A `filter` names metadata and the value that it must have, one of several if that is a list;
    `doc_id` in it is the passage's. Metadata that is a list has each of its elements.
    """

    collection: str

    async def insert(self, passage: Passage) -> str:
        """As `insert_many`, for one."""
        ...

    async def insert_many(self, passages: Iterable[Passage]) -> tuple[str, ...]:
        """Store passages, all or none, and return their ids.

        One that is there already stays where it is; a vector and metadata that come with it
        replace its own. Raises `ConfigError` for a vector of another dimension, `Unstorable` for
        one with NaN in it and for an id that is there with another text.
        """
        ...

    async def embed(self, vectors: Mapping[str, Sequence[float]]) -> int:
        """Give passages new vectors by their ids, all or none; how many of them are there.

        Raises as `insert_many` does for a vector.
        """
        ...

    async def get(self, id: str) -> Passage | None:  # noqa: A002 - the name of the field
        """The passage, or None where there is none."""
        ...

    async def delete(self, *ids: str) -> int:
        """Take passages away; how many there were."""
        ...

    def all(
        self,
        page_size: int = 100,
        after: str | None = None,
        *,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        embedded: bool | None = None,
    ) -> AsyncGenerator[tuple[Passage, ...], None]:
        """Pages of passages, in the order in which they were inserted.

        What is inserted or deleted meanwhile makes none come twice or be left out. `after` is
        the id of a passage that is there; `embedded` tells those with a vector from the others.
        """
        ...

    async def query(
        self,
        vector: Sequence[float] | None = None,
        text: str | None = None,
        top_k: int = 10,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
    ) -> tuple[Hit, ...]:
        """The passages that fit best, by vector, by the words of a text, or by both.

        By words those are found that have one of them at least, in one of its forms. By both,
        the first `DEPTH` of each ranking become one: there are not more results than those.
        """
        ...

    async def size(
        self,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        *,
        text: str | None = None,
        embedded: bool | None = None,
    ) -> int:
        """How many passages there are, or how many a query by `text` alone would find."""
        ...

    async def sources(self) -> tuple[Source, ...]:
        """The documents that there are passages of, in the order of their ids."""
        ...

    async def health(self) -> Health:
        """Look through everything that is stored, of all collections."""
        ...

    async def stats(self) -> CollectionStats:
        """Count what is stored."""
        ...

    async def close(self) -> None:
        """Let go of the collection. Closing again does nothing."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class VectorStore(Protocol):
    """Everything at one URL: collections by their names."""

    async def open(
        self,
        collection: str,
        *,
        dimension: int | None = None,
        metric: Metric | None = None,
        closing: bool = False,
    ) -> Vectors:
        """A collection; with `closing`, the store is closed when the collection is.

        Raises `ConfigError` if it is there with another dimension or metric. A new one without
        a metric takes `cosine`.
        """
        ...

    async def collections(self, prefix: str = "") -> list[str]:
        """The names of the collections that have been written to, in the order of code points."""
        ...

    async def drop(self, collection: str) -> int:
        """Take a whole collection away, and return how many passages it had."""
        ...

    async def health(self) -> Health:
        """Look through everything that is stored."""
        ...

    async def stats(self) -> VectorStats:
        """Count what is stored."""
        ...

    async def backup(self, path: Path | None = None) -> Path:
        """As `Records.backup`."""
        ...

    async def restore(self, path: Path) -> None:
        """As `Records.restore`."""
        ...

    async def close(self) -> None:
        """Let go of the store and its collections. Closing again does nothing."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def id_of(text: str, doc_id: str | None = None) -> str:
    """The id of a passage that was given none."""
    return hashlib.sha256(msgspec.json.encode((doc_id, text))).hexdigest()[:32]
