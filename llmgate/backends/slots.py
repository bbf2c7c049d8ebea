"""Which of a server's slots holds the beginning of which conversation."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

_KEPT = 1024


class Slots:
    """Sends a conversation back to the slot that answered it last, whose cache holds its prompt.

    A slot that is answering another request of ours is left alone: whoever asks for it by its
    number would wait, though others may be idle.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[str, int] = OrderedDict()
        self._busy: Counter[int] = Counter()

    def of(self, conversation: str) -> int | None:
        """The slot to ask for, None to leave the choice to the server."""
        slot = self._last.get(conversation)
        return None if slot is None or self._busy[slot] else slot

    @contextmanager
    def using(self, slot: int | None) -> Iterator[None]:
        """While a request of ours asks for this slot."""
        if slot is None:
            yield
            return
        self._busy[slot] += 1
        try:
            yield
        finally:
            self._busy[slot] -= 1

    def answered(self, conversation: str, slot: int) -> None:
        """That slot holds this conversation now, and no longer another one."""
        for other in [name for name, held in self._last.items() if held == slot]:
            del self._last[other]
        self._last[conversation] = slot
        if len(self._last) > _KEPT:
            self._last.popitem(last=False)
