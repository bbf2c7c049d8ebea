"""Automata that are completely known: how they are made of machines, and made small."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from llmgate.grammar.text.expressions import TooLarge
from llmgate.grammar.text.machines import All, Counter, Machine, Segments, place
from llmgate.grammar.text.searches import Letters, Search, search

_MOST_STATES: Final = 2_000
# What one search may cost, in segments that are looked at.
_MOST_WORK: Final = 12_000
# Up to this many states, equal ones are found wherever they are, not only near the end.
_FEW_STATES: Final = 200


class Limits(msgspec.Struct, frozen=True):
    """What a search over letters may cost.

    states: how many states there may be besides two for each place of its parts: combinations
        that make sense have not many more states than their parts have places.
    steps: how many letters may be looked at.
    """

    states: int
    steps: int


QUICK: Final = Limits(600, 60_000)
# For texts without escapes: what marks their end is told apart from all that they may have.
# Where not everything is held in any case.
HASTY: Final = Limits(60, 6_000)
THOROUGH: Final = Limits(2_000, 400_000)


class Automaton:
    """A machine that is completely known: its states are numbers, each on a way to an end.

    `start` is 0, or None where nothing matches.
    """

    weight = 1

    def __init__(self, rows: list[Segments], accepting: list[bool]) -> None:
        self.rows = rows
        self.accepting = accepting
        self.start: int | None = 0 if rows else None
        # The state from which everything matches, if there is one.
        self.open: int | None = None
        for state, row in enumerate(rows):
            if row == ((0, state),) and accepting[state]:
                self.open = state

    def moves(self, state: int) -> Segments:
        return self.rows[state]

    def after(self, state: int, code: int) -> int | None:
        """The state after one more character; None if it leads nowhere."""
        row = self.rows[state]
        found: int | None = row[place(row, code)][1]
        return found

    def accepts(self, state: int) -> bool:
        return self.accepting[state]


def follow(machine: Machine, text: str) -> Any:
    """The state after a text; None if it leads nowhere."""
    state = machine.start
    for char in text:
        if state is None:
            return None
        row = machine.moves(state)
        state = row[0][1] if len(row) == 1 else row[place(row, ord(char))][1]
    return state


def matches(machine: Machine, text: str) -> bool:
    """Whether the machine accepts the text."""
    state = follow(machine, text)
    return state is not None and machine.accepts(state)


def empty(machine: Machine, limits: Limits = QUICK) -> bool:
    """Whether no text matches. Raises `TooLarge` if that takes too long to find out."""
    if machine.start is None:
        return True
    found = search(machine)
    if found is None:
        return _dead(machine)
    return _hopeless(found[0], _most(machine, *found, limits))


def _most(machine: Machine, found: Search, letters: Letters, limits: Limits) -> int:
    """How many states a search may have."""
    states = min(limits.states + 2 * found.size, _MOST_STATES)
    return min(states, limits.steps // ((machine.weight + 2) * (letters.count + 4)))


def _hopeless(found: Search, most: int) -> bool:
    todo = [found.start]
    seen = {0, found.start}
    while todo:
        state = todo.pop()
        if found.accepts(state):
            return False
        for target in found.row(state):
            if target not in seen:
                seen.add(target)
                todo.append(target)
        if len(seen) > most:
            raise TooLarge("the combination of expressions has too many states")
    return True


def _dead(machine: Machine) -> bool:
    todo = [machine.start]
    seen = set(todo)
    work = 0
    while todo:
        state = todo.pop()
        if machine.accepts(state):
            return False
        row = machine.moves(state)
        work += len(row) * machine.weight
        if work > _MOST_WORK:
            raise TooLarge("the combination of expressions has too many states")
        for number, (low, target) in enumerate(row):
            if target is not None and target not in seen and not _halves(row, number, low):
                seen.add(target)
                todo.append(target)
    return True


def _halves(row: Segments, number: int, low: int) -> bool:
    """Whether a segment has nothing but halves of surrogate pairs, which no text contains."""
    if not 0xD800 <= low <= 0xDFFF:
        return False
    return number + 1 < len(row) and row[number + 1][0] <= 0xE000


def determined(machine: Machine, limits: Limits = QUICK) -> Automaton:
    """All of a machine, with equal states made one. Raises `TooLarge` where they are too many."""
    if machine.start is None:
        return Automaton([], [])
    found = search(machine)
    if found is not None:
        return _spelled(machine, *found, limits)
    numbers: dict[Any, int] = {machine.start: 0}
    order = [machine.start]
    rows: list[list[tuple[int, int | None]]] = []
    accepting: list[bool] = []
    work = 0
    for state in order:
        row = machine.moves(state)
        work += len(row) * machine.weight
        made: list[tuple[int, int | None]] = []
        for index, (low, target) in enumerate(row):
            number = None
            if target is not None and not _halves(row, index, low):
                number = numbers.get(target)
                if number is None:
                    number = numbers[target] = len(order)
                    order.append(target)
            made.append((low, number))
        if len(order) > _MOST_STATES or work > _MOST_WORK:
            raise TooLarge("the combination of expressions has too many states")
        rows.append(made)
        accepting.append(machine.accepts(state))
    return _reduced(rows, accepting)


def _spelled(machine: Machine, found: Search, letters: Letters, limits: Limits) -> Automaton:
    """The same by letters."""
    most = _most(machine, found, letters, limits)
    if isinstance(machine, All):
        _check_lengths(machine, most)
    numbers: dict[Any, int | None] = {0: None, found.start: 0}
    order = [found.start]
    rows: list[list[tuple[int, int | None]]] = []
    accepting: list[bool] = []
    for state in order:
        made: list[tuple[int, int | None]] = []
        last: int | None = -1
        for letter, target in enumerate(found.row(state)):
            if target in numbers:
                number = numbers[target]
            else:
                number = numbers[target] = len(order)
                order.append(target)
            if number != last:
                made.append((letter, number))
                last = number
        if len(order) > most:
            raise TooLarge("the combination of expressions has too many states")
        rows.append(made)
        accepting.append(found.accepts(state))
    return _reduced(rows, accepting, letters)


def _check_lengths(machine: All, most: int) -> None:
    """Raise `TooLarge` where it is known early that there are too many states.

    With lengths counted, states are those that are reached in so many steps, for each number of
    steps; these soon stay the same.
    """
    counters = [part for part in machine.parts if isinstance(part, Counter)]
    others = [part for part in machine.parts if not isinstance(part, Counter)]
    if len(counters) != 1 or counters[0].most is None or not others:
        return
    found = search(others[0] if len(others) == 1 else All(others))
    if found is None:
        return
    row, left = found[0].row, counters[0].most
    before: set[Any] = set()
    reached: set[Any] = {found[0].start}
    total = 1
    while left and total <= most:
        left -= 1
        following = {target for state in reached for target in row(state)}
        following.discard(0)
        total += len(following)
        if following in (reached, before):
            # From here on one is like the other, or one is like the other but one.
            total += (len(following) + len(reached)) * left // 2
            break
        before, reached = reached, following
    if total > most:
        raise TooLarge("the combination of expressions has too many states")


def _reduced(
    rows: list[list[tuple[int, int | None]]],
    accepting: list[bool],
    letters: Letters | None = None,
) -> Automaton:
    """Without states that lead nowhere, and with equal ones made one."""
    before: list[list[int]] = [[] for _ in rows]
    for state, row in enumerate(rows):
        for one in {target for _, target in row if target is not None}:
            before[one].append(state)
    useful = [state for state, final in enumerate(accepting) if final]
    seen = set(useful)
    for state in useful:
        for one in before[state]:
            if one not in seen:
                seen.add(one)
                useful.append(one)
    if 0 not in seen:
        return Automaton([], [])
    same, whole = _equal(rows, accepting, before, seen)
    if not whole and len(set(same)) <= _FEW_STATES:
        same = _refined(rows, accepting, same)
    # Numbered anew in the order in which they are met.
    numbers = {same[0]: 0}
    order = [same[0]]
    out: list[Segments] = []
    for state in order:
        row = rows[state] if letters is None else _written(rows[state], letters)
        made: list[tuple[int, int | None]] = []
        for low, target in row:
            number: int | None = None
            if target is not None and target in seen:
                only = same[target]
                if only not in numbers:
                    numbers[only] = len(order)
                    order.append(only)
                number = numbers[only]
            if not made or made[-1][1] != number:
                made.append((low, number))
        out.append(tuple(made))
    return Automaton(out, [accepting[state] for state in order])


def _written(row: list[tuple[int, int | None]], letters: Letters) -> list[tuple[int, int | None]]:
    """A row of letters by code points."""
    targets: list[int | None] = []
    for number, (letter, target) in enumerate(row):
        end = row[number + 1][0] if number + 1 < len(row) else letters.count
        targets += [target] * (end - letter)
    return [(low, targets[letter]) for low, letter in letters.cuts]


def _equal(
    rows: list[list[tuple[int, int | None]]],
    accepting: list[bool],
    before: list[list[int]],
    useful: set[int],
) -> tuple[list[int], bool]:
    """For each state one that is equal to it, and whether all were looked at.

    Those on or before a cycle of several states are not, and stay alone.
    """
    same = [state if state in useful else -1 for state in range(len(rows))]
    left = [
        len({target for _, target in row if target in useful and target != state})
        for state, row in enumerate(rows)
    ]
    known: dict[tuple[object, ...], int] = {}
    looping: set[int] = set()
    todo = [state for state in useful if not left[state]]
    for state in todo:
        row, final = rows[state], accepting[state]
        targets = {same[target] for _, target in row if target is not None}
        if state in targets:
            looping.add(state)
        # A state that leads to itself is equal to one that leads to itself in the same way, and
        # to one that leads there.
        found = known.get(_key(row, final, same, state))
        for target in looping & targets - {state} if found is None else ():
            if known.get(_key(row, final, same, target)) == target:
                found = target
        if found is None:
            known[_key(row, final, same, state)] = found = state
        same[state] = found
        for one in before[state]:
            if one != state and one in useful:
                left[one] -= 1
                if not left[one]:
                    todo.append(one)
    return same, len(todo) == len(useful)


def _key(
    row: list[tuple[int, int | None]], final: bool, same: list[int], itself: int
) -> tuple[object, ...]:
    """What a state does, with one of the states that it leads to taken for itself."""
    key: list[object] = [final]
    last: object = ()
    for low, target in row:
        to: object = -1 if target is None else same[target]
        if to == itself:
            to = "self"
        if to != last:
            key += (low, to)
            last = to
    return tuple(key)


def _refined(
    rows: list[list[tuple[int, int | None]]], accepting: list[bool], same: list[int]
) -> list[int]:
    """Equal states made one wherever they are, by telling apart what differs (Moore)."""
    states = sorted({state for state in same if state >= 0})
    block = {state: int(accepting[state]) for state in states}
    count = len(set(block.values()))
    while True:
        known: dict[tuple[object, ...], int] = {}
        following: dict[int, int] = {}
        for state in states:
            key: list[object] = [block[state]]
            last: object = ()
            for low, target in rows[state]:
                to = -1 if target is None or same[target] < 0 else block[same[target]]
                if to != last:
                    key += (low, to)
                    last = to
            following[state] = known.setdefault(tuple(key), len(known))
        block = following
        if len(known) == count:
            break
        count = len(known)
    first: dict[int, int] = {}
    for state in states:
        first.setdefault(block[state], state)
    # The start stays the first of its block: it is the least number there is.
    return [first[block[one]] if one >= 0 else -1 for one in same]
