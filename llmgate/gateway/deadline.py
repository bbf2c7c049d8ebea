"""The time that a whole request may take: queue, retries and fallbacks included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import TypeVar

from llmgate.errors import BackendTimeout
from llmgate.gateway.call import Call
from llmgate.types import Delta

T = TypeVar("T")


async def in_time(call: Call, work: Awaitable[T]) -> T:
    """The result of `work`, if there is one before the call's deadline."""
    left = call.left()
    if left is None:
        return await work
    try:
        async with asyncio.timeout(left):
            return await work
    except TimeoutError:
        raise BackendTimeout(
            f"The answer of the model {call.model!r} was not complete in time.",
            hint="`timeouts.total` in its settings says how long all of a request may take.",
        ) from None


def timed(call: Call, deltas: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
    """The same deltas, as long as the call has time."""
    return deltas if call.deadline is None else _until_deadline(call, deltas)


async def _until_deadline(
    call: Call, deltas: AsyncGenerator[Delta, None]
) -> AsyncGenerator[Delta, None]:
    while (delta := await in_time(call, anext(deltas, None))) is not None:
        yield delta
