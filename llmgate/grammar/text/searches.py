"""Machines over a small alphabet: all characters that no part tells apart are one letter.

A search that has to see many states follows these: what they lead to is a list with a place for
each letter, so that combining them is one pass over the lists of their parts. States are small
numbers, or tuples of them; 0 is nowhere.

Where everything matches from now on, it does not matter what else could: that is one state, and
nowhere for what must not match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

import msgspec

from llmgate.grammar.text.charsets import LAST, Ranges
from llmgate.grammar.text.machines import All, Counter, Machine, Other, Positions, Some, Words

_FIRST_HALF: Final = 0xD800
_BEHIND_HALVES: Final = 0xE000
# The state from which everything matches, where that must not be.
_DOOMED: Final = -1


class Letters(msgspec.Struct, frozen=True):
    """An alphabet: where each run of code points begins and its letter, and what is in each set.

    No text has halves of surrogate pairs in it, so they go with what stands before them.
    """

    cuts: tuple[tuple[int, int], ...]
    sets: dict[Ranges, int]
    count: int


class Search(Protocol):
    """A deterministic automaton over letters, made while it is used."""

    @property
    def start(self) -> Any:
        """The state before the first letter."""

    @property
    def size(self) -> int:
        """How many places there are in what it is made of."""

    def row(self, state: Any) -> list[Any]:
        """Where each letter leads to."""

    def accepts(self, state: Any) -> bool:
        """Whether a text may end here."""


def search(machine: Machine) -> tuple[Search, Letters] | None:
    """The machine over letters; None if it has parts whose characters aren't known before."""
    sets: dict[Ranges, int] = {}
    for found in _sets(machine):
        if found is None:
            return None
        sets.setdefault(found, 1 << len(sets))
    letters = _letters(sets)
    return _made(machine, letters), letters


def _sets(machine: Machine) -> Iterator[Ranges | None]:
    """All that characters are compared with."""
    if isinstance(machine, All | Some):
        for part in machine.parts:
            yield from _sets(part)
    elif isinstance(machine, Other):
        yield from _sets(machine.machine)
    elif isinstance(machine, Positions | Words):
        yield from machine.sets()
    elif not isinstance(machine, Counter):
        yield None


def _letters(bits: dict[Ranges, int]) -> Letters:
    changes: dict[int, int] = {0: 0}
    for ranges, bit in bits.items():
        for low, high in ranges:
            changes[low] = changes.get(low, 0) ^ bit
            if high < LAST:
                changes[high + 1] = changes.get(high + 1, 0) ^ bit
    order = sorted(changes)
    numbers: dict[int, int] = {}
    cuts = []
    inside = 0
    for index, low in enumerate(order):
        inside ^= changes[low]
        end = order[index + 1] if index + 1 < len(order) else LAST + 1
        if low >= _FIRST_HALF and end <= _BEHIND_HALVES:
            continue
        cuts.append((low, numbers.setdefault(inside, len(numbers))))
    sets = {
        ranges: sum(1 << number for members, number in numbers.items() if members & bit)
        for ranges, bit in bits.items()
    }
    return Letters(tuple(cuts), sets, len(numbers))


def _made(machine: Machine, letters: Letters, unwanted: bool = False) -> Search:
    if isinstance(machine, Positions):
        return _Places(machine, letters, unwanted)
    if isinstance(machine, Words):
        return _Trie(machine, letters)
    if isinstance(machine, Counter):
        return _Count(machine, letters)
    if isinstance(machine, Other):
        return _Not(_made(machine.machine, letters, True))
    assert isinstance(machine, All | Some)
    parts = [_made(part, letters) for part in machine.parts]
    return _And(parts) if isinstance(machine, All) else _Or(parts)


class _Places:
    """The sets of places in a tree, numbered as they are met."""

    start = 1

    def __init__(self, machine: Positions, letters: Letters, unwanted: bool) -> None:
        self._machine = machine
        self._masks = machine.masks([letters.sets[one] for one in machine.sets()], letters.count)
        self._numbers = {0: 0, machine.start: 1}
        # Every place from which everything matches stands for all of them.
        self._open = machine.open()
        self._one = self._open & -self._open
        if unwanted and self._open:
            self._numbers[self._one] = _DOOMED
        self._states = [0, machine.start]
        self._rows: list[list[int] | None] = [[0] * letters.count, None]
        self.size = machine.size

    def row(self, state: int) -> list[int]:
        known = self._rows[state]
        if known is not None:
            return known
        following = self._machine.following(self._states[state])
        numbers, made = self._numbers, []
        for mask in self._masks:
            target = following & mask
            if target & self._open:
                target = self._one
            number = numbers.get(target)
            if number is None:
                number = numbers[target] = len(self._states)
                self._states.append(target)
                self._rows.append(None)
            made.append(number)
        self._rows[state] = made
        return made

    def accepts(self, state: int) -> bool:
        return self._machine.accepts(self._states[state])


class _Trie:
    """The beginnings of fixed texts."""

    start = 1

    def __init__(self, machine: Words, letters: Letters) -> None:
        self._machine = machine
        # Half of a surrogate pair has no letter.
        self._letters = {
            ranges[0][0]: letters.sets[ranges].bit_length() - 1
            for ranges in machine.sets()
            if letters.sets[ranges]
        }
        self._nowhere = [0] * letters.count
        self.size = machine.size

    def row(self, state: int) -> list[int]:
        below = self._machine.below(state - 1) if state else {}
        if not below:
            return self._nowhere
        made = self._nowhere.copy()
        for code, target in below.items():
            letter = self._letters.get(code)
            if letter is not None:
                made[letter] = target + 1
        return made

    def accepts(self, state: int) -> bool:
        return state > 0 and self._machine.accepts(state - 1)


class _Count:
    """Lengths."""

    start = 1

    def __init__(self, machine: Counter, letters: Letters) -> None:
        self._machine = machine
        self._count = letters.count
        self.size = 1

    def row(self, state: int) -> list[int]:
        ((_, target),) = self._machine.moves(state - 1) if state else ((0, None),)
        return [0 if target is None else target + 1] * self._count

    def accepts(self, state: int) -> bool:
        return state > 0 and self._machine.accepts(state - 1)


class _Not:
    """A state is one of the other's in a tuple, since nowhere is somewhere here."""

    def __init__(self, part: Search) -> None:
        self.part = part
        self.start = (part.start,)
        self.size = part.size

    def row(self, state: tuple[Any]) -> list[Any]:
        row = self.part.row(state[0] if state else 0)
        return [0 if target == _DOOMED or not state else (target,) for target in row]

    def accepts(self, state: tuple[Any]) -> bool:
        return bool(state) and not self.part.accepts(state[0])


class _And:
    """A state is one of each part, those that must not hold behind the others."""

    def __init__(self, parts: Iterable[Search]) -> None:
        wanted: list[Search] = []
        unwanted: list[Search] = []
        for part in parts:
            if isinstance(part, _Not):
                unwanted.append(part.part)
            else:
                wanted.append(part)
        self._wanted = len(wanted)
        self._parts = wanted + unwanted
        self.start = tuple(part.start for part in self._parts)
        self._rows: list[Callable[[Any], list[Any]]] = [part.row for part in self._parts]
        self._nowhere = [0] * len(self._parts[0].row(self.start[0]))
        self.size = sum(part.size for part in self._parts)

    def row(self, state: tuple[Any, ...]) -> list[Any]:
        if not state:
            return self._nowhere
        each = zip(*[row(at) for row, at in zip(self._rows, state, strict=True)], strict=True)
        wanted = self._wanted
        if wanted == len(self._parts):
            return [0 if 0 in targets else targets for targets in each]
        return [0 if _DOOMED in targets or 0 in targets[:wanted] else targets for targets in each]

    def accepts(self, state: tuple[Any, ...]) -> bool:
        if not state:
            return False
        for number, (part, at) in enumerate(zip(self._parts, state, strict=True)):
            if part.accepts(at) != (number < self._wanted):
                return False
        return True


class _Or:
    """A state is one of each part, some of them nowhere."""

    def __init__(self, parts: list[Search]) -> None:
        self._parts = parts
        self.start = tuple(part.start for part in parts)
        self._nowhere = [0] * len(parts[0].row(self.start[0]))
        self.size = sum(part.size for part in parts)

    def row(self, state: tuple[Any, ...]) -> list[Any]:
        if not state:
            return self._nowhere
        each = [part.row(at) for part, at in zip(self._parts, state, strict=True)]
        return [targets if any(targets) else 0 for targets in zip(*each, strict=True)]

    def accepts(self, state: tuple[Any, ...]) -> bool:
        return bool(state) and any(
            part.accepts(at) for part, at in zip(self._parts, state, strict=True)
        )
