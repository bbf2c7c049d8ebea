"""Where calls begin and end in an answer: the marks of a style, looked for as the text comes."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

from llmgate.styles import Style
from llmgate.wrappers.marks import MORE, More, mark, search

# A mark in quotes is spoken of, not used.
_QUOTES = frozenset("`'\"“‘«")


@lru_cache(maxsize=256)
def openers(style: Style, names: tuple[str, ...] | None) -> Openers:
    """What looks for the calls of a style. Its parts are compiled once for all answers."""
    return Openers(style, names)


class Openers:
    """`names` are those of the functions that may be called, None if none may be.

    It keeps nothing of an answer: `openers` gives the same one to all of a kind.
    """

    def __init__(self, style: Style, names: Collection[str] | None) -> None:
        self._style = style
        self._names = names or ()
        opening = [text for text in (style.open, *style.opens) if text]
        self._begin = [mark(text) for text in (style.begin, *style.begins) if text]
        # Some models leave out the mark around all calls.
        self._marks = [mark(text) for text in opening] + self._begin
        self._openings = len(opening)
        if names is None or style.bare:
            self._marks = []
        self._close = mark(style.close) if style.close.strip() else None
        self._between = mark(style.between) if style.between.strip() else None
        # Marks that ordinary text has too count only before a function's name, and a single
        # character only at a line's beginning.
        self._weak = re.search(r"\w", style.opener) is None
        self._on_lines = self._weak and len(style.opener) == 1
        named = "|".join(sorted(map(re.escape, self._names), key=len, reverse=True))
        self._named = re.compile(rf"\s*(?:{named})(?![\w.-])" if named else r"(?!)")

    def here(self, text: str) -> int | More | None:
        """Whether calls begin at the start of `text`: how much of it the mark around them takes.

        That is 0 for a mark that belongs to the first call itself.
        """
        undecided = False
        for number, opening in enumerate(self._marks):
            end = opening.match(text, 0)
            if end is not None and not isinstance(end, More) and self._weak:
                end = self._before_name(text, end)
            if isinstance(end, More):
                undecided = True
            elif end is not None:
                return end if number < self._openings else 0
        return MORE if undecided else None

    def find(self, text: str, before: str, *, begins: bool = False) -> tuple[int, int | None]:
        """How much of `text` is certainly words, and what `here` says of what follows them.

        `before` is the character that was read before it, empty at the beginning of an answer.
        `begins`: there is a mark between the two, so that no word goes on here.
        """
        start = 0
        while True:
            at, end = search(self._marks, text, start, before="" if begins else before)
            if end is None:
                return at, None
            previous = text[at - 1] if at else before
            new_line = previous in ("", "\n") or not (before + text[:at]).strip()
            if previous in _QUOTES or (self._on_lines and not new_line):
                start = at + 1
                continue
            found = self.here(text[at:])
            if isinstance(found, More):
                return at, None
            if found is not None:
                return at, found
            start = at + 1

    def next(self, text: str) -> int | More | None:
        """Behind a call: whether another one begins, and how much stands between them."""
        if self._between is not None:
            end = self._between.match(text, 0)
            if end is None or isinstance(end, More):
                return end
            return end + len(text[end:]) - len(text[end:].lstrip())
        if not self._begin:
            return 0 if text[0] in "{[" or self._named.match(text) else None
        found = self.here(text)
        return 0 if found == 0 else found

    def over(self, text: str) -> int | More | None:
        """Whether the mark that closes the calls stands at the start of `text`."""
        return None if self._close is None else self._close.match(text, 0)

    def _before_name(self, text: str, end: int) -> int | More | None:
        if found := self._named.match(text, end):
            return end if found.end() < len(text) else MORE
        following = text[end:].lstrip()
        if any(name.startswith(following) for name in self._names):
            return MORE
        return None
