"""Archival memory: what an agent put away, and the sources that it may look into."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

import msgspec

from llmgate.errors import ConfigError, LlmgateError, RequestError, UnknownName
from llmgate.memory.chunks import split
from llmgate.memory.embedding import Embedder, vectors_of
from llmgate.memory.text import storable
from llmgate.storage.fusion import fused
from llmgate.storage.passages import DEPTH, Hit, Passage, Vectors, id_of
from llmgate.types import Note

OpenCollection = Callable[[str], Awaitable[Vectors]]
# Names of collections.
AGENT = "agent/"
SOURCE = "source/"

# So many passages are embedded at a time that could not be when they were stored.
_TOGETHER = 32
# Seconds in which an embedder that has failed is not asked again.
_PAUSE = 30.0
# Longer texts are cut into pieces in a thread.
_LONG = 50_000


class Remembered(msgspec.Struct, frozen=True):
    """A passage that a search found; `source` names the source, None for the agent's own."""

    at: datetime
    text: str
    id: str
    source: str | None = None


class RememberedPage(msgspec.Struct, frozen=True):
    """A part of what a search found; `total` counts all of it, `notes` say what was amiss."""

    found: tuple[Remembered, ...]
    total: int
    page: int
    size: int
    notes: tuple[Note, ...] = ()

    @property
    def last(self) -> int:
        """The number of the last page, where the first is 0; -1 if nothing was found."""
        return -(-self.total // self.size) - 1


class Archival:
    """The passages of one agent, and those of the sources that are attached to it.

    With an embedder they are found by what they mean and by their words, without one by their
    words. If it fails, what is stored meanwhile gets its vector later, and a note says so.
    """

    def __init__(
        self,
        open_collection: OpenCollection,
        agent: str,
        *,
        sources: Sequence[str] = (),
        embed: Embedder | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.agent = agent
        self._open = open_collection
        self._sources = list(dict.fromkeys(sources))
        self._embed = embed
        self._clock = clock
        self._collections: dict[str, Vectors] = {}
        self._notes: list[Note] = []
        # Whether there may be passages to embed, and until when there is no use in trying.
        self._behind = embed is not None
        self._paused: float | None = None
        self._unfit = False

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the attached sources."""
        return tuple(self._sources)

    async def insert(
        self, text: str, *, call: str | None = None, at: datetime | None = None
    ) -> str:
        """Put a text away, and return its id; a long one becomes several passages.

        The same `call` stores once, however often it is done; without one, the same text does.
        Raises `RequestError` for a text without any letters, and `StorageError`.
        """
        pieces = await _pieces(storable(text))
        if not pieces:
            raise RequestError("there is nothing in the text to put away.", param="content")
        name = id_of(storable(text)) if call is None else _id_of_call(self.agent, call)
        own = await self._own()
        # All pieces are stored in one step: the first one stands for them.
        if await own.get(name) is not None:
            return name
        at = at or datetime.now(UTC)
        passages = [
            Passage(
                piece,
                name if number == 0 else f"{name}-{number}",
                doc_id=name if len(pieces) > 1 else None,
                metadata={"part": number + 1, "parts": len(pieces)} if len(pieces) > 1 else {},
                created_at=at,
            )
            for number, piece in enumerate(pieces)
        ]
        vectors = None if self._unfit else await self._vectors(pieces, "stored without a vector")
        if vectors is not None:
            embedded = [
                msgspec.structs.replace(passage, embedding=vector)
                for passage, vector in zip(passages, vectors, strict=True)
            ]
            try:
                await own.insert_many(embedded)
            except ConfigError as error:
                self._refuse(error)
            else:
                await self._catch_up()
                return name
        await own.insert_many(passages)
        self._behind = self._embed is not None
        return name

    async def search(self, query: str, page: int = 0, size: int = 5) -> RememberedPage:
        """A page of what fits best, of the agent's own passages and of the attached sources.

        Raises `RequestError` for a page or a size that can't be.
        """
        if page < 0 or size < 1:
            wrong = ("page", page) if page < 0 else ("size", size)
            raise RequestError(f"{wrong[0]} {wrong[1]} can't be.", param=wrong[0])
        query = storable(query)
        kept, self._notes = self._notes, []
        try:
            hits, total = await self._ranked(query, (page + 1) * size) if query.strip() else ([], 0)
            notes = tuple(dict.fromkeys(self._notes))
        finally:
            self._notes = kept + self._notes
        found = [
            Remembered(hit.passage.created_at or datetime.now(UTC), hit.passage.text, name, source)
            for source, hit in hits[page * size : (page + 1) * size]
            for name in (hit.passage.id,)
        ]
        return RememberedPage(tuple(found), total, page, size, notes)

    async def size(self) -> int:
        """How many passages can be searched, those of the attached sources included."""
        return sum([await collection.size() for _, collection in await self._searched()])

    async def first(self, count: int = 10) -> tuple[Remembered, ...]:
        """The agent's own passages that it has had longest."""
        passages = await _first_page((await self._own()).all(page_size=max(1, count)))
        return tuple(
            Remembered(one.created_at or datetime.now(UTC), one.text, one.id)
            for one in passages[:count]
        )

    async def attach(self, source: str) -> None:
        """Search a source too from now on. Raises `RequestError` for one without passages."""
        collection = await self._collection(SOURCE + source)
        if not await collection.size():
            raise RequestError(
                f"there is no source {source!r}, or there are no passages in it.",
                hint="Load it first; llmgate list sources shows what there is.",
                param="source",
            )
        if source not in self._sources:
            self._sources.append(source)

    async def detach(self, source: str) -> None:
        """Search a source no longer. Raises `UnknownName` for one that is not attached."""
        if source not in self._sources:
            raise UnknownName("attached source", source, self._sources)
        self._sources.remove(source)

    async def embed_missing(self, limit: int | None = None) -> int:
        """Give vectors to own passages that were stored without, and return to how many.

        It ends early if the embedder fails, with a note.
        """
        if self._embed is None or self._unfit:
            return 0
        own = await self._own()
        done = 0
        async with aclosing(own.all(page_size=_TOGETHER, embedded=False)) as pages:
            async for page in pages:
                some = page if limit is None else page[: limit - done]
                if not some or not await self._embed_again(own, some):
                    return done
                done += len(some)
        self._behind = limit is not None and done >= limit
        return done

    def take_notes(self) -> tuple[Note, ...]:
        """What was amiss since this was last asked, in searches too."""
        notes = tuple(dict.fromkeys(self._notes))
        self._notes.clear()
        return notes

    async def aclose(self) -> None:
        """Let go of the collections."""
        opened, self._collections = self._collections, {}
        for collection in opened.values():
            await collection.close()

    async def _ranked(self, query: str, count: int) -> tuple[list[tuple[str | None, Hit]], int]:
        """The best `count` at least, if there are so many, and how many there are in all."""
        vectors = await self._vectors([query], "searched by words alone")
        if vectors is None:
            return await self._by_words(query, count)
        await self._catch_up()
        [vector] = vectors
        hits: list[tuple[str | None, Hit]] = []
        for source, collection in await self._searched():
            try:
                found = await collection.query(vector, query, 2 * DEPTH)
            except ConfigError as error:
                self._note(f"{collection.collection} was searched by words alone: {error}")
                found = await collection.query(text=query, top_k=2 * DEPTH)
            hits += [(source, hit) for hit in found]
        # Places in several rankings can't be compared, but what they rest on can.
        near = {n: hit.similarity for n, (_, hit) in enumerate(hits) if hit.similarity is not None}
        words = {n: hit.relevance for n, (_, hit) in enumerate(hits) if hit.relevance is not None}
        ranking = fused(
            sorted(near, key=lambda number: -near[number]),
            sorted(words.items(), key=lambda item: -item[1]),
        )
        return [hits[number] for number, _ in ranking], len(hits)

    async def _by_words(self, query: str, count: int) -> tuple[list[tuple[str | None, Hit]], int]:
        hits: list[tuple[str | None, Hit]] = []
        total = 0
        for source, collection in await self._searched():
            found = await collection.query(text=query, top_k=count)
            hits += [(source, hit) for hit in found]
            total += len(found) if len(found) < count else await collection.size(text=query)
        hits.sort(key=lambda item: -item[1].score)
        return hits, total

    async def _vectors(
        self, texts: Sequence[str], otherwise: str
    ) -> tuple[Sequence[float], ...] | None:
        """Vectors for texts; None without an embedder or if it fails, which is noted."""
        if self._embed is None:
            return None
        if self._paused is not None and self._clock() < self._paused:
            self._note(f"The embedding model failed a moment ago: {otherwise}.")
            return None
        try:
            vectors = await vectors_of(self._embed, texts)
        except Exception as error:  # noqa: BLE001 - whatever fails there, nothing is to be lost here
            self._paused = self._clock() + _PAUSE
            reason = error.message if isinstance(error, LlmgateError) else repr(error)
            self._note(f"The embedding model failed: {otherwise}. {reason}")
            return None
        self._paused = None
        return vectors

    async def _catch_up(self) -> None:
        """Embed some of what is behind, now that the embedder works."""
        if not self._behind or self._unfit:
            return
        stats = await (await self._own()).stats()
        self._behind = stats.vectors < stats.passages
        if self._behind:
            await self.embed_missing(_TOGETHER)

    async def _embed_again(self, own: Vectors, passages: Sequence[Passage]) -> bool:
        """Give passages their vectors; whether that went well."""
        texts = [passage.text for passage in passages]
        vectors = await self._vectors(texts, "left without a vector for now")
        if vectors is None:
            return False
        try:
            ids = [passage.id for passage in passages]
            await own.embed(dict(zip(ids, vectors, strict=True)))
        except ConfigError as error:
            self._refuse(error)
            return False
        return True

    def _refuse(self, error: ConfigError) -> None:
        self._unfit = True
        self._note(f"Passages are stored without vectors: {error}")

    def _note(self, message: str) -> None:
        self._notes.append(Note("unembedded", message))

    async def _searched(self) -> list[tuple[str | None, Vectors]]:
        sources = [(name, await self._collection(SOURCE + name)) for name in self._sources]
        return [(None, await self._own()), *sources]

    async def _own(self) -> Vectors:
        return await self._collection(AGENT + self.agent)

    async def _collection(self, name: str) -> Vectors:
        if name not in self._collections:
            self._collections[name] = await self._open(name)
        return self._collections[name]


async def _first_page(pages: AsyncGenerator[tuple[Passage, ...], None]) -> tuple[Passage, ...]:
    async with aclosing(pages):
        async for page in pages:
            return page
    return ()


async def _pieces(text: str) -> tuple[str, ...]:
    return split(text) if len(text) < _LONG else await asyncio.to_thread(split, text)


def _id_of_call(agent: str, call: str) -> str:
    return hashlib.sha256(msgspec.json.encode(("call", agent, storable(call)))).hexdigest()[:32]
