"""Free text around marks, as right-linear rules: the states of an automaton that looks for them.

A text is followed character by character; where a mark in it is complete, something else goes
on. So a grammar can hold what comes behind a mark without anybody having to wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, Literal

import msgspec

from llmgate.grammar.builder import Builder, quote
from llmgate.grammar.calls.marks import pieces

# A mark in quotes is spoken of, not used; `openers.py` of the wrappers reads it so.
QUOTES: Final = "`'\"“‘«"
_SPACE: Final = " \t\r\n"
# Elements of a mark that are no single characters.
_SOME_SPACE: Final = "s+"
_ANY_SPACE: Final = "s*"
_NO_WORD: Final = "no word"
_WORD: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
_OTHER: Final = ""

Where = Literal["anywhere", "unquoted", "line", "start", "first"]
# What was read last: nothing, nothing but white space, a line break, a quote, anything else.
_Before = Literal["first", "start", "line", "quote", "other"]
_State = tuple[frozenset[tuple[int, int]], _Before]


class Word(msgspec.Struct, frozen=True):
    """A mark that is looked for, as elements: single characters, and kinds of white space.

    where: anywhere; `unquoted`: not behind a quote; `line`: at the beginning of a line, or of
        the text; `start`: at the beginning of the text, behind white space or not; `first`: not
        even behind white space.
    target: the number of what goes on behind it; None: nothing, a text can't have it in it.
    """

    elements: tuple[str, ...]
    where: Where = "anywhere"
    target: int | None = None


def word(
    mark: str, where: Where = "anywhere", target: int | None = None, *, apart: bool = False
) -> Word:
    """The word for a mark without holes, or for what comes before its first one.

    `apart`: what follows it, if anything does, is no part of a word.
    """
    elements: list[str] = []
    for piece in pieces(mark.strip()):
        if piece.kind == "text":
            elements += piece.text
        elif piece.kind == "space":
            elements.append(_SOME_SPACE if piece.needed else _ANY_SPACE)
        else:
            break
    if apart:
        elements.append(_NO_WORD)
    return Word(tuple(elements), where, target)


def text_rule(
    builder: Builder,
    hint: str,
    words: Sequence[Word],
    targets: Sequence[str] = (),
    *,
    ends: bool = True,
    also: str = "",
) -> str:
    """The name of a rule for text with such words in it.

    `targets` are expressions for what goes on behind a word. `ends`: whether the text may end
    without one. `also` may stand where a `line` word could begin.
    """
    rows = _rows(tuple(words))
    names = [builder.name(hint)]
    names += [builder.name(f"{names[0]}-{number}") for number in range(1, len(rows))]
    for name, row in zip(names, rows, strict=True):
        ways = []
        for chars, state, target in row.ways:
            behind = names[state] if target is None else targets[target]
            ways.append(f"{chars} {behind}".rstrip())
        if also and row.free:
            ways.append(also)
        if ends:
            ways.append('""')
        builder.define(name, " | ".join(ways))
    return names[0]


def until(builder: Builder, mark: str) -> str:
    """The name of a rule for a text up to a mark and with it, which stands in it only there."""
    return _shared(builder, mark, "until", ends=False)


def free(builder: Builder, mark: str) -> str:
    """The name of a rule for a text in which a mark does not stand."""
    return _shared(builder, mark, "without", ends=True)


def units(mark: str) -> str:
    """The body of a rule for the smallest texts after which no part of a mark has been read.

    Each is one character, or the beginning of the mark with one that does not go on with it.
    """
    rows = _rows((word(mark),))
    ways = []
    beginning = ""
    for row, following in zip(rows, mark, strict=False):
        apart = next(chars for chars, state, target in row.ways if state == 0 and target is None)
        ways.append(f"{quote(beginning)} {apart}" if beginning else apart)
        beginning += following
    return " | ".join(ways)


def _shared(builder: Builder, mark: str, hint: str, *, ends: bool) -> str:
    known = builder.shared.get((hint, mark))
    if known is None:
        target = None if ends else 0
        known = text_rule(builder, hint, [word(mark, "anywhere", target)], [""], ends=ends)
        builder.shared[hint, mark] = known
    return known


class _Row(msgspec.Struct, frozen=True):
    """A state: characters and where they lead (to a state, or to a target), and whether a mark
    that ordinary text has too counts in it: on a new line, or where none of them has to be on
    one, not behind a quote."""

    ways: tuple[tuple[str, int, int | None], ...]
    free: bool


@lru_cache(maxsize=256)
def _rows(words: tuple[Word, ...]) -> tuple[_Row, ...]:
    """The automaton for the words; the first state is where a text begins."""
    follower = _Follower(words)
    heeded = follower.heeds("line", "start", "first")
    start: _State = (frozenset(), "first" if heeded else "other")
    numbers = {start: 0}
    todo, rows = [start], []
    for state in todo:
        ways: dict[tuple[int, int | None], list[str]] = {}
        for char in (*follower.alphabet, _OTHER):
            found = follower.step(state, char)
            if found is None:
                continue
            if isinstance(found, int):
                key: tuple[int, int | None] = (0, found)
            else:
                if found not in numbers:
                    numbers[found] = len(numbers)
                    todo.append(found)
                key = (numbers[found], None)
            ways.setdefault(key, []).append(char)
        on_line = state[1] in ("first", "start", "line")
        free = on_line if follower.heeds("line") else state[1] != "quote"
        # A word may have been read already that only has to be seen to end.
        free = free and not any(
            words[number].elements[place:] == (_NO_WORD,) for number, place in state[0]
        )
        rows.append(_Row(_classes(ways, follower.alphabet), free))
    return tuple(rows)


def _classes(
    ways: dict[tuple[int, int | None], list[str]], alphabet: Sequence[str]
) -> tuple[tuple[str, int, int | None], ...]:
    out = []
    for (state, target), chars in ways.items():
        if _OTHER in chars:
            others = [char for char in alphabet if char not in chars]
            out.append((all_but(others), state, target))
        elif len(chars) == 1:
            out.append((quote(chars[0]), state, target))
        else:
            out.append((f"[{_inside(chars)}]", state, target))
    return tuple(out)


class _Follower:
    """The moves of the automaton. A state has the places in words that are being read."""

    def __init__(self, words: tuple[Word, ...]) -> None:
        self._words = words
        self._heeded = {one.where for one in words}
        letters = {element for one in words for element in one.elements if len(element) == 1}
        kinds = {element for one in words for element in one.elements if len(element) > 1}
        if kinds & {_SOME_SPACE, _ANY_SPACE} or self.heeds("line", "start"):
            letters.update(_SPACE)
        if _NO_WORD in kinds:
            letters.update(_WORD)
        if self.heeds("unquoted"):
            letters.update(QUOTES)
        self.alphabet = sorted(letters)

    def heeds(self, *where: Where) -> bool:
        """Whether it matters for a word if it stands there."""
        return not self._heeded.isdisjoint(where)

    def step(self, state: _State, char: str) -> _State | int | None:
        """The state behind one more character, a word's target, or None where a text can't go."""
        places, before = state
        begun = [(number, 0) for number, one in enumerate(self._words) if self._begins(one, before)]
        found: set[tuple[int, int]] = set()
        ended: list[Word] = []
        for number, place in (*places, *begun):
            elements = self._words[number].elements
            for following in _after(elements, place, char):
                if following == len(elements):
                    ended.append(self._words[number])
                else:
                    found.add((number, following))
        if ended:
            # Of several that end here, the longest began first.
            return max(ended, key=lambda one: len(one.elements)).target
        return frozenset(found), self._behind(before, char)

    def _begins(self, one: Word, before: _Before) -> bool:
        if one.where == "unquoted":
            return before != "quote"
        if one.where == "line":
            return before in ("line", "start", "first")
        if one.where == "start":
            return before in ("start", "first")
        return one.where == "anywhere" or before == "first"

    def _behind(self, before: _Before, char: str) -> _Before:
        begun = before in ("first", "start") and self.heeds("line", "start")
        if begun and char and char in _SPACE:
            return "start"
        if char == "\n" and self.heeds("line"):
            return "line"
        quoted = char and char in QUOTES and self.heeds("unquoted")
        return "quote" if quoted else "other"


def _after(elements: tuple[str, ...], place: int, char: str) -> Iterable[int]:
    """The places in a word behind one more character."""
    while place < len(elements):
        element = elements[place]
        if element == _ANY_SPACE:
            if char and char in _SPACE:
                yield place
            place += 1
            continue
        if element == _SOME_SPACE:
            if char and char in _SPACE:
                yield place
                yield place + 1
            return
        if element == _NO_WORD:
            if char == _OTHER or char not in _WORD:
                yield place + 1
            return
        if element == char:
            yield place + 1
        return


def all_but(chars: Iterable[str]) -> str:
    """A class for every character but these and U+0000, which no engine reads.

    Exclusions are for ASCII only: of a character whose bytes come one by one, llama.cpp takes the
    first byte for an excluded one that begins with it.
    """
    codes = sorted({0, *map(ord, chars)})
    if codes[-1] < 0x80:
        return f"[^{_inside(map(chr, codes[1:]))}\\x00]"
    ranges = zip([code + 1 for code in codes], [*codes[1:], 0x110000], strict=True)
    return "[" + "".join([_range(low, end - 1) for low, end in ranges if low < end]) + "]"


def _range(low: int, high: int) -> str:
    parts = [_member(code) if code < 0x7F else f"\\U{code:08X}" for code in (low, high)]
    return parts[0] if low == high else "-".join(parts)


def _inside(chars: Iterable[str]) -> str:
    """Characters as they stand in a class, runs of three and more as ranges."""
    codes = sorted(map(ord, chars))
    out: list[str] = []
    at = 0
    while at < len(codes):
        end = at
        while end + 1 < len(codes) and codes[end + 1] == codes[end] + 1:
            end += 1
        if end - at < 2:
            out += [_member(codes[one]) for one in range(at, end + 1)]
        else:
            out.append(f"{_member(codes[at])}-{_member(codes[end])}")
        at = end + 1
    return "".join(out)


def _member(code: int) -> str:
    char = chr(code)
    if char in "]\\[":
        return f"\\{char}"
    if char == "\n":
        return "\\n"
    if char in "-^" or code < 0x20 or 0x7F <= code < 0xA1:
        return f"\\x{code:02X}"
    return char
