"""Passages with their vectors, kept in an engine that a URL chooses: `sqlite:` or `memory:`.

    async with await open_vectors("sqlite:vectors.db", collection="agent/ann") as archive:
        await archive.insert(Passage("Ann has a dog called Rex."))
        hits = await archive.query(text="dog")

Several collections of one URL are best opened through its store, which they share then. Other
packages add engines through entry points of the group `llmgate.vectors`: the name is the scheme,
the object an `async def open_url(url: Url) -> VectorStore`.
"""

from __future__ import annotations

from llmgate import registry
from llmgate.storage.passages import Metric, Vectors, VectorStore
from llmgate.storage.url import Url

ENGINES = {
    "sqlite": "llmgate.storage.sqlite_vectors:open_url",
    "memory": "llmgate.storage.sqlite_vectors:open_memory",
}
_GROUP = "llmgate.vectors"


def engines() -> list[str]:
    """The schemes of all engines, from other packages too."""
    return registry.names("vector engine", ENGINES, _GROUP)


async def open_vector_store(url: str) -> VectorStore:
    """The store at a URL, made if it is not there and brought up to date if it is older.

    Raises as `storage.open` does.
    """
    parsed = Url.parse(url)
    store: VectorStore = await registry.find("vector engine", parsed.scheme, ENGINES, _GROUP)(
        parsed
    )
    return store


async def open_vectors(
    url: str, *, collection: str, dimension: int | None = None, metric: Metric | None = None
) -> Vectors:
    """One collection of the store at a URL, which is closed with it.

    Raises as `open_vector_store` does, and as `VectorStore.open`.
    """
    store = await open_vector_store(url)
    try:
        return await store.open(collection, dimension=dimension, metric=metric, closing=True)
    except BaseException:
        await store.close()
        raise
