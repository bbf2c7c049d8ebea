"""Automata over code points: made lazily from expressions, word lists and lengths, and combined.

A machine's moves in a state are given as segments: pairs of the first code point and the state
that it and those after it lead to (None: nowhere), ascending, the first from 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

from llmgate.grammar.text.charsets import ALL, LAST, Ranges
from llmgate.grammar.text.expressions import Alt, Assertion, Cat, Chars, Node, Repeat, TooLarge
from llmgate.grammar.text.shapes import nonempty, nullable

Segments = tuple[tuple[int, Any], ...]

_MOST_POSITIONS: Final = 6_000
# Rows that are kept while a machine is used; a text that is checked needs few of them.
_MOST_KEPT: Final = 20_000


class Machine(Protocol):
    """A deterministic automaton that may be made while it is used."""

    @property
    def start(self) -> Any:
        """The state before the first character; None where nothing matches."""

    @property
    def weight(self) -> int:
        """How many machines there are in it."""

    def moves(self, state: Any) -> Segments:
        """Where the characters lead to."""

    def accepts(self, state: Any) -> bool:
        """Whether the text may end here."""


class Positions:
    """The texts of a tree without assertions; a state is a set of places in it, as bits."""

    weight = 1

    def __init__(self, node: Node) -> None:
        self.start = 1
        self._follow: list[int] = [0]
        self._class_masks: dict[Ranges, int] = {}
        self._moves: dict[int, Segments] = {}
        self._cuts: dict[tuple[Ranges, ...], tuple[tuple[int, tuple[int, ...]], ...]] = {}
        first, last, empty = self._build(node)
        self._follow[0] = first
        self._accepting = sum(1 << position for position in last) | int(empty)
        self._classes = list(self._class_masks.items())
        self.size = len(self._follow)

    def _build(self, node: Node) -> tuple[int, list[int], bool]:
        """The places that come first and last, and whether there may be none."""
        if isinstance(node, Chars):
            if not node.ranges:
                return 0, [], False
            position = len(self._follow)
            if position > _MOST_POSITIONS:
                raise TooLarge("the expression has too many places")
            self._follow.append(0)
            bit = 1 << position
            self._class_masks[node.ranges] = self._class_masks.get(node.ranges, 0) | bit
            return bit, [position], False
        if isinstance(node, Cat):
            first, last, empty = 0, list[int](), True
            for part in node.parts:
                one_first, one_last, one_empty = self._build(part)
                self._connect(last, one_first)
                first = first | one_first if empty else first
                last = last + one_last if one_empty else one_last
                empty = empty and one_empty
            return first, last, empty
        if isinstance(node, Alt):
            first, last, empty = 0, list[int](), False
            for part in node.parts:
                one_first, one_last, one_empty = self._build(part)
                first |= one_first
                last += one_last
                empty |= one_empty
            return first, last, empty
        assert not isinstance(node, Assertion)
        return self._repeated(node)

    def _repeated(self, node: Repeat) -> tuple[int, list[int], bool]:
        inner, least, most = node.node, node.least, node.most
        if nullable(inner):
            inner, least = nonempty(inner), 0
        first, last, ends = 0, list[int](), list[int]()
        copies = max(least, 1) if most is None else most
        for number in range(copies):
            one_first, one_last, _ = self._build(inner)
            self._connect(last, one_first)
            first = first if number else one_first
            last = one_last
            if number >= least - 1:
                ends += last
        if most is None:
            self._connect(last, one_first)
        return first, ends, not least

    def _connect(self, last: list[int], first: int) -> None:
        for position in last:
            self._follow[position] |= first

    def moves(self, state: int) -> Segments:
        known = self._moves.get(state)
        if known is not None:
            return known
        following = self.following(state)
        active, masks = [], []
        for ranges, mask in self._classes:
            if following & mask:
                active.append(ranges)
                masks.append(following & mask)
        out: list[tuple[int, int | None]] = []
        for low, members in self._partition(tuple(active)):
            target = 0
            for member in members:
                target |= masks[member]
            found = target or None
            if not out or out[-1][1] != found:
                out.append((low, found))
        if len(self._moves) > _MOST_KEPT:
            self._moves.clear()
        made = self._moves[state] = tuple(out)
        return made

    def sets(self) -> Iterable[Ranges]:
        """The sets of characters that places stand for."""
        return self._class_masks

    def masks(self, letters: Iterable[int], count: int) -> list[int]:
        """For each letter the places for it, given the letters in each of the sets, as bits."""
        masks = [0] * count
        for mask, inside in zip(self._class_masks.values(), letters, strict=True):
            while inside:
                low = inside & -inside
                masks[low.bit_length() - 1] |= mask
                inside ^= low
        return masks

    def open(self) -> int:
        """The places behind which everything matches."""
        loops = 0
        rest = self._class_masks.get(ALL, 0) & self._accepting
        while rest:
            low = rest & -rest
            rest ^= low
            if self._follow[low.bit_length() - 1] & low:
                loops |= low
        found = loops
        rest = self._accepting if loops else 0
        while rest:
            low = rest & -rest
            rest ^= low
            if self._follow[low.bit_length() - 1] & loops:
                found |= low
        return found

    def following(self, state: int) -> int:
        """The places that may come next."""
        following, rest, follow = 0, state, self._follow
        while rest:
            low = rest & -rest
            following |= follow[low.bit_length() - 1]
            rest ^= low
        return following

    def _partition(self, classes: tuple[Ranges, ...]) -> tuple[tuple[int, tuple[int, ...]], ...]:
        known = self._cuts.get(classes)
        if known is None:
            known = self._cuts[classes] = partition(classes)
        return known

    def accepts(self, state: int) -> bool:
        return bool(state & self._accepting)


def partition(classes: Iterable[Ranges]) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Cuts all code points where any of the sets begins or ends: the start, and which sets."""
    events: dict[int, list[tuple[int, bool]]] = {0: []}
    for number, ranges in enumerate(classes):
        for low, high in ranges:
            events.setdefault(low, []).append((number, True))
            if high < LAST:
                events.setdefault(high + 1, []).append((number, False))
    inside: set[int] = set()
    out = []
    for code in sorted(events):
        for number, begins in events[code]:
            (inside.add if begins else inside.discard)(number)
        out.append((code, tuple(sorted(inside))))
    return tuple(out)


class Words:
    """Some fixed texts."""

    start = 0
    weight = 1

    def __init__(self, texts: Iterable[str]) -> None:
        self._nodes: list[dict[int, int]] = [{}]
        self._complete: set[int] = set()
        for text in texts:
            at = 0
            for char in text:
                below = self._nodes[at].get(ord(char))
                if below is None:
                    below = self._nodes[at][ord(char)] = len(self._nodes)
                    self._nodes.append({})
                at = below
            self._complete.add(at)
        self.size = len(self._nodes)

    def sets(self) -> list[Ranges]:
        """The characters of the texts, each by itself."""
        return [((code, code),) for code in sorted({one for node in self._nodes for one in node})]

    def below(self, state: int) -> dict[int, int]:
        """The states after one more character."""
        return self._nodes[state]

    def moves(self, state: int) -> Segments:
        out: list[tuple[int, int | None]] = [(0, None)]
        for code, below in sorted(self._nodes[state].items()):
            if out[-1][0] == code:
                out.pop()
            out.append((code, below))
            out.append((code + 1, None))
        return tuple(out)

    def accepts(self, state: int) -> bool:
        return state in self._complete


class Counter:
    """All texts of some lengths."""

    start = 0
    weight = 1

    def __init__(self, least: int, most: int | None) -> None:
        self._least = least
        self.most = most

    def moves(self, state: int) -> Segments:
        if state == self.most:
            return ((0, None),)
        # Beyond the least there is nothing to count where there is no most.
        return ((0, min(state + 1, self._least) if self.most is None else state + 1),)

    def accepts(self, state: int) -> bool:
        return state >= self._least


class All:
    """What all of several machines accept."""

    def __init__(self, parts: list[Machine]) -> None:
        self.parts = parts
        self.weight = sum(part.weight for part in parts)
        starts = tuple(part.start for part in parts)
        self.start = None if None in starts else starts

    def moves(self, state: tuple[Any, ...]) -> Segments:
        each = [part.moves(at) for part, at in zip(self.parts, state, strict=True)]
        # What leads somewhere in all of them, from the one with the fewest ways on.
        order = sorted(range(len(each)), key=lambda number: len(each[number]))
        ways: list[tuple[int, int, tuple[Any, ...]]] = [(0, LAST, ())]
        for number in order:
            row, found = each[number], []
            for low, high, targets in ways:
                index = place(row, low)
                while index < len(row) and row[index][0] <= high:
                    start, target = row[index]
                    index += 1
                    if target is not None:
                        end = row[index][0] - 1 if index < len(row) else LAST
                        found.append((max(low, start), min(high, end), (*targets, target)))
            ways = found
        places = [order.index(number) for number in range(len(order))]
        out: list[tuple[int, Any]] = [(0, None)]
        for low, high, targets in ways:
            if out[-1][0] == low:
                out.pop()
            out.append((low, tuple(targets[place] for place in places)))
            if high < LAST:
                out.append((high + 1, None))
        return tuple(out)

    def accepts(self, state: tuple[Any, ...]) -> bool:
        return all(part.accepts(at) for part, at in zip(self.parts, state, strict=True))


class Some:
    """What any of several machines accepts."""

    def __init__(self, parts: list[Machine]) -> None:
        self.parts = parts
        self.weight = sum(part.weight for part in parts)
        starts = tuple(part.start for part in parts)
        self.start = starts if any(start is not None for start in starts) else None

    def moves(self, state: tuple[Any, ...]) -> Segments:
        each = [
            _NOWHERE if at is None else part.moves(at)
            for part, at in zip(self.parts, state, strict=True)
        ]
        return _merged(each)

    def accepts(self, state: tuple[Any, ...]) -> bool:
        return any(
            at is not None and part.accepts(at) for part, at in zip(self.parts, state, strict=True)
        )


class Other:
    """What a machine does not accept; a state is one of its states in a tuple, or ()."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.weight = machine.weight
        self.start = () if machine.start is None else (machine.start,)

    def moves(self, state: tuple[Any, ...]) -> Segments:
        if not state:
            return ((0, ()),)
        return tuple(
            (low, () if target is None else (target,))
            for low, target in self.machine.moves(state[0])
        )

    def accepts(self, state: tuple[Any, ...]) -> bool:
        return not state or not self.machine.accepts(state[0])


_NOWHERE: Final[Segments] = ((0, None),)


def _merged(each: list[Segments]) -> Segments:
    """Where several rows lead to at once; None where none of them leads anywhere."""
    out: list[tuple[int, Any]] = []
    at = [0] * len(each)
    low = 0
    while low <= LAST:
        targets = tuple([one[index][1] for one, index in zip(each, at, strict=True)])
        target = None if targets.count(None) == len(targets) else targets
        if not out or out[-1][1] != target:
            out.append((low, target))
        low = LAST + 1
        for one, index in zip(each, at, strict=True):
            if index + 1 < len(one) and one[index + 1][0] < low:
                low = one[index + 1][0]
        for number, one in enumerate(each):
            if at[number] + 1 < len(one) and one[at[number] + 1][0] == low:
                at[number] += 1
    return tuple(out)


def place(row: Segments, code: int) -> int:
    """The index of the segment that a code point is in."""
    low, high = 0, len(row)
    while high - low > 1:
        middle = (low + high) // 2
        if row[middle][0] <= code:
            low = middle
        else:
            high = middle
    return low
