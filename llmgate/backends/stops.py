"""Finds stop strings in a text that comes in pieces."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache


class Stops:
    """Passes a text on up to its first stop string, which is removed, as is all after it.

    What could be the start of a stop string is held back until it is clear. The match that
    begins earliest wins: how the text is cut into pieces makes no difference.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = sorted({stop for stop in stops if stop}, key=len, reverse=True)
        self._may_begin = _first_of(tuple(self._stops)).search
        self._held = ""
        self.found = False

    def feed(self, piece: str) -> str:
        """What of the text up to the end of `piece` can be passed on now."""
        if self.found:
            return ""
        # Most pieces have nothing in them that a stop string could begin with.
        if not self._held and self._may_begin(piece) is None:
            return piece
        text = self._held + piece
        match = self._match(text)
        undecided = self._undecided(text)
        # A stop string that began before the match may still complete: it would win.
        if match is not None and match <= undecided:
            self.found, self._held = True, ""
            return text[:match]
        self._held = text[undecided:]
        return text[:undecided]

    def flush(self) -> str:
        """What was still held back and can be passed on, once no more text comes."""
        text, self._held = self._held, ""
        match = self._match(text)
        if match is None:
            return text
        self.found = True
        return text[:match]

    def _match(self, text: str) -> int | None:
        """Where the earliest stop string in `text` begins."""
        return min((at for stop in self._stops if (at := text.find(stop)) >= 0), default=None)

    def _undecided(self, text: str) -> int:
        """Where the longest end of `text` that begins a stop string starts, else its length."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        for start in range(max(0, len(text) - longest), len(text)):
            end = text[start:]
            if any(len(stop) > len(end) and stop.startswith(end) for stop in self._stops):
                return start
        return len(text)


@lru_cache(maxsize=64)
def _first_of(stops: tuple[str, ...]) -> re.Pattern[str]:
    """The characters that these stop strings begin with."""
    first = "".join(re.escape(stop[0]) for stop in stops)
    return re.compile(f"[{first}]" if first else "(?!)")
