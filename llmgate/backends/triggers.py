"""Finds triggers in an answer that comes in pieces of bytes."""

from __future__ import annotations

from collections.abc import Iterable


class Triggers:
    """Watches for the first trigger that is complete, wherever pieces begin and end."""

    def __init__(self, triggers: Iterable[str]) -> None:
        self._triggers = [trigger.encode("utf-8") for trigger in triggers if trigger]
        self._kept = max((len(trigger) for trigger in self._triggers), default=1) - 1
        self._tail = b""

    def find(self, piece: bytes) -> bytes | None:
        """The text from the beginning of the first trigger on, if `piece` completes one."""
        text = self._tail + piece
        starts = [at for trigger in self._triggers if (at := text.find(trigger)) >= 0]
        return text[min(starts) :] if starts else None

    def feed(self, piece: bytes) -> None:
        """Go on behind a piece that completes no trigger."""
        if self._kept:
            self._tail = (self._tail + piece)[-self._kept :]
