"""Moving all passages from one store to another of any engine, and checking that they came."""

from __future__ import annotations

import hashlib

import msgspec

from llmgate.errors import StorageError
from llmgate.storage.copying import Watch
from llmgate.storage.passages import Passage, Vectors, VectorStore

_TOGETHER = 500


class VectorDigest(msgspec.Struct, frozen=True):
    """What a store holds: of each collection the number and the checksum of its passages."""

    collections: dict[str, tuple[int, str]]

    @property
    def passages(self) -> int:
        """The passages of all collections."""
        return sum(count for count, _ in self.collections.values())


async def migrate_vectors(
    source: VectorStore, target: VectorStore, watch: Watch = lambda number: None
) -> VectorDigest:
    """Copy all collections, and compare both sides.

    What is there already is not stored twice, so that it goes on where it was when it is done
    again. `watch` hears how many passages were copied or compared: each comes three times. Raises
    `StorageError` for a target that has other things in it, or if both sides differ at the end.
    """
    names = await source.collections()
    if others := set(await target.collections()) - set(names):
        raise StorageError(
            f"the target is not empty: it has {sorted(others)[0]!r}.", hint="Choose an empty store."
        )
    for name in names:
        async with await source.open(name) as old:
            stats = await old.stats()
            opened = await target.open(name, dimension=stats.dimension, metric=stats.metric)
            async with opened as new:
                async for page in old.all(_TOGETHER):
                    await new.insert_many(page)
                    watch(len(page))
    wanted, got = await digest_vectors(source, watch), await digest_vectors(target, watch)
    for name, (count, checksum) in wanted.collections.items():
        there, other = got.collections.get(name, (0, ""))
        if count != there:
            raise _different(f"{name!r} has {count} passages, and {there} came")
        if checksum != other:
            raise _different(f"{name!r} has other passages")
    return got


async def digest_vectors(store: VectorStore, watch: Watch = lambda number: None) -> VectorDigest:
    """The counts and checksums of a store."""
    found = {}
    for name in await store.collections():
        async with await store.open(name) as collection:
            found[name] = await _digest(collection, watch)
    return VectorDigest(found)


async def _digest(collection: Vectors, watch: Watch) -> tuple[int, str]:
    stats = await collection.stats()
    checksum = hashlib.sha256(msgspec.json.encode((stats.dimension, stats.metric)))
    count = 0
    async for page in collection.all(_TOGETHER):
        for passage in page:
            checksum.update(_canonical(passage))
        count += len(page)
        watch(len(page))
    return count, checksum.hexdigest()


def _canonical(passage: Passage) -> bytes:
    # Engines may give back an object's keys in another order.
    return msgspec.json.encode(passage, order="sorted")


def _different(difference: str) -> StorageError:
    return StorageError(
        f"the copy is not the same: {difference}.",
        hint="Was the source written to meanwhile? Let nothing use it and migrate again into an"
        " empty store.",
    )
