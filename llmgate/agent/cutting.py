"""Where a conversation may be cut: before an event, so that no call is parted from its result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from llmgate.memory.conversation import Logged


class Plan(msgspec.Struct, frozen=True):
    """How many messages leave the window, and the tokens of what is to stand for them."""

    cut: int
    summary: int


def cuts_of(logged: Sequence[Logged]) -> list[int]:
    """How many messages may leave: those before each event but the first."""
    return [at for at in range(1, len(logged)) if logged[at].message.role == "user"]


def calls_of(logged: Sequence[Logged]) -> list[int]:
    """The same inside of the last turn: those before each answer of the model's."""
    last = (cuts_of(logged) or [0])[-1]
    return [at for at in range(last + 1, len(logged)) if logged[at].message.role == "assistant"]


def last_exchange(logged: Sequence[Logged]) -> int:
    """Where a person spoke last, 0 if nobody did."""
    return max((at for at, e in enumerate(logged) if e.kind == "event:user_message"), default=0)


async def first_that(cuts: Sequence[int], fits: Callable[[int], Awaitable[bool]]) -> int | None:
    """The first cut behind which the rest fits, None if it does behind none."""
    if not cuts or not await fits(cuts[-1]):
        return None
    low, high = 0, len(cuts) - 1
    while low < high:
        middle = (low + high) // 2
        if await fits(cuts[middle]):
            high = middle
        else:
            low = middle + 1
    return cuts[high]
