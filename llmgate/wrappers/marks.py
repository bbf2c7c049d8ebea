"""Marks: the texts around a call's parts, matched with elastic white space and placeholders."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

# More white space than this is not taken for a mark's: what is held back has to be bounded.
MAX_SPACE = 200
_PIECES = re.compile(r"\s+|\{(?:n|id|string|type)\}")
_PLACEHOLDERS = {
    "n": re.compile(r"[0-9]{1,20}"),
    "id": re.compile(r"""[^\s\x00-\x1f<>\[\]{}"'|]{1,128}"""),
    "string": re.compile(r"[a-z]{1,20}"),
    "type": re.compile(r"[a-z]{1,20}"),
}
# As many characters are looked for at once, before a mark is compared with a text.
_HEAD = 4
_SPACE = re.compile(rf"[ \t\r\n]{{0,{MAX_SPACE}}}")


class More(enum.Enum):
    """Says that a text matches as far as it goes: only more of it will tell."""

    MORE = "more"


MORE: Final = More.MORE


class _Space:
    """A run of white space: `needed` between two words, elsewhere there may be none."""

    __slots__ = ("needed",)

    def __init__(self, needed: bool) -> None:
        self.needed = needed


class _Hole:
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


_Part = str | _Space | _Hole


class Mark:
    """A mark's text, ready to be looked for.

    White space inside it matches any run of it, none included, but between two words at least
    one character. White space at its ends is not part of what is matched, it only keeps words
    apart: whoever reads a mark passes over the white space next to it. A mark of nothing else
    is `empty` and matches everywhere.
    """

    __slots__ = ("_after_word", "_before_word", "_parts", "head", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts, self._after_word, self._before_word = _compiled(text)
        first = self._parts[0] if self._parts else ""
        self.head = first[:_HEAD] if isinstance(first, str) else ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing but white space in it."""
        return not self._parts

    @property
    def plain(self) -> bool:
        """Whether it is nothing but a text, without white space or placeholders in it."""
        apart = self._after_word or self._before_word
        return len(self._parts) == 1 and bool(self.head) and not apart

    @property
    def core(self) -> str:
        """The text without the white space at its ends."""
        return self.text.strip()

    def match(self, text: str, at: int = 0, before: str = "") -> int | More | None:
        """Where the mark ends that begins at `at`; None if none does, `MORE` if one may.

        `before` is the character before the text.
        """
        if not at and self._after_word and before and _is_word(before):
            return None
        found = self.read(text, at)
        return found[0] if isinstance(found, tuple) else found

    def read(
        self, text: str, at: int = 0, *, apart: bool = False
    ) -> tuple[int, dict[str, str]] | More | None:
        """As `match`, with the values that stand at the placeholders.

        `apart`: what stands before is known to be no part of a word.
        """
        if self._after_word and not apart and at and _is_word(text[at - 1]):
            return None
        values: dict[str, str] = {}
        length = len(text)
        for part in self._parts:
            if isinstance(part, str):
                end = at + len(part)
                if not text.startswith(part, at):
                    return MORE if end > length and part.startswith(text[at:]) else None
                at = end
                continue
            pattern = _SPACE if isinstance(part, _Space) else _PLACEHOLDERS[part.name]
            found = pattern.match(text, at)
            end = found.end() if found else at
            if end == length:
                return MORE
            if isinstance(part, _Hole):
                if found is None:
                    return None
                values[part.name] = found[0]
            elif part.needed and end == at:
                return None
            at = end
        if self._before_word:
            if at == length:
                return MORE
            if _is_word(text[at]):
                return None
        return at, values

    def __repr__(self) -> str:
        return f"Mark({self.text!r})"


@lru_cache(maxsize=1024)
def mark(text: str) -> Mark:
    """The mark of that text: there are few, and each answer looks for them."""
    return Mark(text)


def firsts(marks: Iterable[Mark]) -> frozenset[str] | None:
    """The characters that these marks begin with, None if that may be any."""
    heads = [mark.head[:1] for mark in marks if not mark.empty]
    return frozenset(heads) if all(heads) else None


def search(
    marks: Sequence[Mark], text: str, at: int = 0, *, final: bool = False, before: str = ""
) -> tuple[int, int | None]:
    """Find the first place from `at` on where one of `marks` stands, and where it ends.

    Without one, the place up to which `text` is certainly free of them, and None. Where several
    begin at the same place, the longest counts, so a whole mark is not found while a longer one
    may still come, unless `final` says that nothing comes any more. `before` is the character
    before the text.
    """
    if len(marks) == 1 and marks[0].plain:
        return _search_text(marks[0].core, text, at, final=final)
    for found in _starts(tuple(mark.head for mark in marks)).finditer(text, at):
        start, longest = found.start(), -1
        for mark in marks:
            end = None if mark.empty else mark.match(text, start, before)
            if end is MORE:
                if not final:
                    return start, None
            elif isinstance(end, int):
                longest = max(longest, end)
        if longest >= 0:
            return start, longest
    return len(text), None


def _search_text(mark: str, text: str, at: int, *, final: bool) -> tuple[int, int | None]:
    """As `search`, for a mark that is nothing but a text: many times faster where it is long."""
    found = text.find(mark, at)
    if found >= 0:
        return found, found + len(mark)
    for length in range(min(len(mark) - 1, len(text) - at), 0, -1):
        if not final and text.endswith(mark[:length]):
            return len(text) - length, None
    return len(text), None


def fill(text: str, values: Mapping[str, str]) -> str:
    """A mark's text with `values` at its placeholders."""
    return re.sub(r"\{(n|id|string|type)\}", lambda hole: values[hole[1]], text)


@lru_cache(maxsize=512)
def _compiled(text: str) -> tuple[tuple[_Part, ...], bool, bool]:
    """A mark's parts, and whether white space keeps it apart from a word before and behind."""
    core = text.strip()
    parts: list[_Part] = []
    at = 0
    for found in _PIECES.finditer(core):
        if found.start() > at:
            parts.append(core[at : found.start()])
        at = found.end()
        if found[0][0] == "{":
            parts.append(_Hole(found[0][1:-1]))
        else:
            needed = _is_word(core[found.start() - 1]) and _is_word(core[at])
            parts.append(_Space(needed))
    if at < len(core):
        parts.append(core[at:])
    apart_before = bool(core) and text[0].isspace() and _is_word(core[0])
    apart_behind = bool(core) and text[-1].isspace() and _is_word(core[-1])
    return tuple(parts), apart_before, apart_behind


@lru_cache(maxsize=256)
def _starts(heads: tuple[str, ...]) -> re.Pattern[str]:
    """Where marks with these beginnings may begin, at the very end of a text with less of them."""
    ways = [re.escape(head) for head in heads if head]
    ways += [rf"{re.escape(head[:end])}\Z" for head in heads for end in range(1, len(head))]
    # Nothing is consumed: a mark may begin inside what looked like the beginning of another.
    return re.compile(f"(?={'|'.join(dict.fromkeys(ways))})" if ways else r"(?!)")


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
