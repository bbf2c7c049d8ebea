"""Several saved states of one agent → all of its messages that are in one of them.

Each state has the messages that the model saw when it was saved. What has left that window later
is still in the older states, up to where they begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class History(msgspec.Struct, frozen=True):
    """Messages in their order; those from `window` on are in the newest state.

    `gaps` counts the places where messages are missing. `taken_back` counts messages of older
    states that newer ones should have and have not.
    """

    messages: tuple[Any, ...]
    window: int
    gaps: int = 0
    taken_back: int = 0


def merged(states: Sequence[Sequence[Any]]) -> History:
    """The messages of states, from the oldest to the newest, without their system messages."""
    messages: list[Any] = []
    gaps = taken_back = window = 0
    summary: list[Any] = []
    for state in states:
        said = [message for message in state if not _is_system(message)]
        summary, said = (said[:1], said[1:]) if said and _is_summary(said[0]) else ([], said)
        place, common = _overlap(messages, said)
        if place is None:
            # What the summary stands for is missing, so it stays where that was.
            gaps += bool(messages)
            window = len(messages)
            messages += [*summary, *said]
            summary = []
            continue
        taken_back += sum(message not in said for message in messages[place + common :])
        messages[place + common :] = said[common:]
        window = place
    if summary and window > 0 and messages[window - 1] == summary[0]:
        window -= 1
    else:
        messages[window:window] = summary
    return History(tuple(messages), window, gaps, taken_back)


def _overlap(before: Sequence[Any], after: Sequence[Any]) -> tuple[int | None, int]:
    """Where what is before goes over into what is after, and how many messages both have there.

    It is the longest such place, and the last one of those. None where they have nothing in common.
    """
    if not after:
        return (len(before), 0) if before else (None, 0)
    best: tuple[int | None, int] = (None, 0)
    for place in range(len(before) - 1, -1, -1):
        common = 0
        # One by one: a copy of the rest at each place would be slow for long histories.
        while (
            common < len(after)
            and place + common < len(before)
            and before[place + common] == after[common]
        ):
            common += 1
        if common > best[1]:
            best = place, common
    return best


def _is_system(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "system"


def _is_summary(message: Any) -> bool:
    """Whether a window that begins so has lost messages: nothing else begins with an alert."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, str) or message.get("role") != "user":
        return False
    try:
        packaged = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return False
    return isinstance(packaged, dict) and packaged.get("type") == "system_alert"
