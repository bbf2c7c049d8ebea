"""Answers that were given before, kept for a time."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Any

import msgspec

from llmgate.memory import names
from llmgate.storage import Records
from llmgate.types import Request


def key_of(request: Any) -> str:
    """The key of what was asked: equal for whatever is equal as JSON, in whatever order.

    Of a `Request`, the name of its conversation and its notes have no part in it.
    """
    if isinstance(request, Request):
        request = msgspec.structs.replace(request, conversation=None, notes=())
    # Keys in order, so that equal objects are equal texts.
    return sha256(msgspec.json.encode(request, order="sorted")).hexdigest()


class GenerationCache:
    """Values by the key of what was asked, each until its time is over."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def get(self, key: str) -> Any | None:
        """What was stored for the key, as JSON says it; None if nothing is there any more."""
        found = await self._records.get(names.generation(key))
        return None if found is None else found.value

    async def put(self, key: str, value: Any, seconds: float) -> None:
        """Keep a value for so many seconds."""
        await self._records.put(names.generation(key), value, expires=timedelta(seconds=seconds))

    async def clear(self) -> int:
        """Forget all, and return how many there were."""
        prefix, removed = names.generation(""), 0
        while keys := await self._records.keys(prefix):
            async with self._records.transaction() as tx:
                for key in keys:
                    tx.delete(key)
            removed += len(keys)
        return removed
