"""One way of reading an answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from llmgate.types import Delta, Finish


class Mode(Protocol):
    """Reads an answer or a part of it; both methods may raise `OutputError`."""

    def feed(self, text: str) -> Iterator[Delta]:
        """What `text` makes certain."""
        ...

    def finish(self, reason: Finish) -> Iterator[Delta]:
        """The rest and the finish."""
        ...
