"""Which agents a store has, and forgetting one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from llmgate.errors import UnknownAgent
from llmgate.memory import names
from llmgate.storage import Records


class Forgotten(msgspec.Struct, frozen=True):
    """What was deleted with an agent; `kept` are the ids of blocks that other agents use."""

    documents: int
    logs: int
    kept: tuple[str, ...] = ()


async def agents(records: Records, *, root: str = names.AGENTS) -> list[str]:
    """The names of all agents, or of all conversations under another root."""
    prefix = f"{root}/"
    found: dict[str, None] = {}
    async for key in _all(records.keys, prefix):
        found.setdefault(key.removeprefix(prefix).partition("/")[0])
    return sorted(found)


async def forget(records: Records, name: str, *, root: str = names.AGENTS) -> Forgotten:
    """Delete all documents and logs of an agent, and its blocks that no other agent uses.

    All of it goes in one step. The agent's state names its blocks: `blocks`, from labels to ids.
    Passages of its archival memory are elsewhere. Raises `UnknownAgent`.
    """
    prefix = f"{root}/{names.check_name(name)}"
    documents = [key async for key in _all(records.keys, prefix) if _belongs(key, prefix)]
    logs = [log async for log in _all(records.logs, prefix) if _belongs(log, prefix)]
    if not documents and not logs:
        raise UnknownAgent(name, await agents(records, root=root))
    kept = []
    if used := await _blocks(records, prefix):
        others: set[str] = set()
        for other in await agents(records, root=root):
            if other != name:
                others |= await _blocks(records, names.state(other, root))
        kept = sorted(used & others)
        documents += [names.block(block) for block in sorted(used - others)]
        logs += [names.history(block) for block in sorted(used - others)]
    documents += [
        key
        async for key in _all(records.keys, names.system(""))
        if key.endswith(f"/{name}") and key.count("/") == 2
    ]
    async with records.transaction() as tx:
        for key in documents:
            tx.delete(key)
        for log in logs:
            tx.drop(log)
    return Forgotten(len(documents), len(logs), tuple(kept))


async def _blocks(records: Records, state: str) -> set[str]:
    found = await records.get(state)
    blocks = found.value.get("blocks") if found and isinstance(found.value, dict) else None
    return set(blocks.values()) if isinstance(blocks, dict) else set()


def _belongs(key: str, prefix: str) -> bool:
    return key == prefix or key.startswith(f"{prefix}/")


async def _all(read: Callable[..., Awaitable[list[str]]], prefix: str) -> AsyncIterator[str]:
    after = ""
    while found := await read(prefix, after=after):
        for name in found:
            yield name
        after = found[-1]
