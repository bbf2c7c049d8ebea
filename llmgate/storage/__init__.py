"""Records, kept in an engine that a URL chooses: `sqlite:llmgate.db`, `file:folder`, `memory:`.

    async with await storage.open("sqlite:llmgate.db") as records:
        version = await records.put("agents/ann/state", {"step": 1})
        await records.append("agents/ann/messages", {"role": "user", "content": "Hello!"})

Other packages add engines through entry points of the group `llmgate.storage`: the name is the
scheme, the object an `async def open_url(url: Url) -> Records`.
"""

from __future__ import annotations

from llmgate import registry
from llmgate.storage.base import (
    Document,
    Entry,
    Health,
    Line,
    Page,
    Records,
    Stats,
    Transaction,
)
from llmgate.storage.url import Url

__all__ = [
    "ENGINES",
    "Document",
    "Entry",
    "Health",
    "Line",
    "Page",
    "Records",
    "Stats",
    "Transaction",
    "Url",
    "engines",
    "open",
]

ENGINES = {
    "sqlite": "llmgate.storage.sqlite:open_url",
    "file": "llmgate.storage.files:open_url",
    "memory": "llmgate.storage.memory:open_url",
}
_GROUP = "llmgate.storage"


def engines() -> list[str]:
    """The schemes of all engines, from other packages too."""
    return registry.names("storage engine", ENGINES, _GROUP)


async def open(url: str) -> Records:  # noqa: A001 - reads as storage.open
    """The store at a URL, made if it is not there and brought up to date if it is older.

    Raises `ConfigError` for a URL, an engine or a parameter that can't be, and `StorageError` if
    the store can't be opened: `NewerStore` for one of a newer llmgate, `StoreBusy`, `StoreCorrupt`.
    """
    parsed = Url.parse(url)
    records: Records = await registry.find("storage engine", parsed.scheme, ENGINES, _GROUP)(parsed)
    return records
