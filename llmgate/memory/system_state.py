"""The system's own state: values by key that outlive the process."""

from __future__ import annotations

from typing import Any

from llmgate.memory import names
from llmgate.storage import Document, Records


class SystemState:
    """JSON values by key, such as remembered approvals; `/` puts keys in groups.

    What belongs to an agent is named `{group}/{agent}`: it is deleted with the agent.
    """

    def __init__(self, records: Records) -> None:
        self._records = records

    async def get(self, key: str, default: Any = None) -> Any:
        """The value, or the default where there is none."""
        found = await self._records.get(names.system(key))
        return default if found is None else found.value

    async def document(self, key: str) -> Document | None:
        """The value with its version."""
        return await self._records.get(names.system(key))

    async def put(self, key: str, value: Any, *, expected: int | None = None) -> int:
        """Store a value and return its version. Raises `Conflict` as `Records.put` does."""
        return await self._records.put(names.system(key), value, expected=expected)

    async def delete(self, key: str) -> bool:
        """Take a value away; whether there was one."""
        return await self._records.delete(names.system(key))

    async def keys(self, prefix: str = "") -> list[str]:
        """The keys that begin so."""
        found: list[str] = []
        start, after = names.system(""), ""
        while page := await self._records.keys(start + prefix, after=after):
            found += [key.removeprefix(start) for key in page]
            after = page[-1]
        return found
