"""The log of an agent's steps: its chains of thoughts, calls and results."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from llmgate.memory import names
from llmgate.memory.text import storable
from llmgate.storage import Line, Records, Transaction

T = TypeVar("T")


class StepsLog:
    """Values that stay in their order: whatever `msgspec` can make JSON of, and again of JSON."""

    def __init__(self, records: Records, name: str, *, root: str = names.AGENTS) -> None:
        self._records = records
        self._log = names.steps(names.check_name(name), root)

    async def append(self, tx: Transaction, *steps: Any) -> tuple[int, ...]:
        """Add steps, and return their numbers: these count from 1."""
        lines = [Line(_storable(msgspec.to_builtins(step)), text="") for step in steps]
        return await tx.append(self._log, *lines)

    async def end(self) -> int:
        """The number of the last step, 0 before the first."""
        return await self._records.end(self._log)

    async def read(self, kind: type[T], *, after: int = 0, limit: int = 1000) -> tuple[T, ...]:
        """Steps in their order, from behind the one with that number on."""
        entries = await self._records.read(self._log, after=after, limit=limit)
        return tuple(msgspec.convert(entry.value, kind) for entry in entries)

    async def last(self, kind: type[T], limit: int = 1) -> tuple[T, ...]:
        """The last steps, in their order."""
        entries = await self._records.read(self._log, limit=limit, reverse=True)
        return tuple(msgspec.convert(entry.value, kind) for entry in reversed(entries))


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {_storable(key): _storable(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_storable(inner) for inner in value]
    return value
