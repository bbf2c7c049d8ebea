"""Automata for expressions with conditions: looking ahead, looking behind, edges of words.

A condition on what follows is an automaton that runs along from there on, part of the state as
long as it is undecided. A condition on what stands before is an automaton that has run along
from the beginning, whose answer is known where it is asked for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec

from llmgate.grammar.text import charsets
from llmgate.grammar.text.automaton import Automaton, determined
from llmgate.grammar.text.charsets import Ranges
from llmgate.grammar.text.expressions import (
    ANYTHING,
    EMPTY,
    Alt,
    Assertion,
    Cat,
    Chars,
    Inexact,
    Node,
    Repeat,
    TooLarge,
    cat,
)
from llmgate.grammar.text.machines import Positions, Segments
from llmgate.grammar.text.shapes import asserts, whole

_MOST_PLACES: Final = 2_000
_MOST_UNDECIDED: Final = 12
_MOST_KEPT: Final = 5_000
_WORD: Final = Chars(charsets.WORD)
# The place after everything.
_MATCH: Final = 0

# An automaton's number, its state, and whether it must accept in the end or must not.
_Undecided = frozenset[tuple[int, int, bool]]
_Config = tuple[int, _Undecided]
_Behind = tuple[int | None, ...]
_State = tuple[frozenset[_Config], _Behind]


class _Step(msgspec.Struct, frozen=True):
    """A place where a character is read."""

    ranges: Ranges
    following: int


class _Split(msgspec.Struct):
    """A place from which several others are reached at once."""

    following: tuple[int, ...]


class _Ahead(msgspec.Struct, frozen=True):
    """A place that is passed if what follows the text read so far is as asked."""

    node: Node
    holds: bool
    following: int


class _Before(msgspec.Struct, frozen=True):
    """A place that is passed if the text read so far is as asked."""

    number: int
    holds: bool
    following: int


class Conditions:
    """The texts in which an expression with conditions is found.

    Raises `Inexact` for conditions inside of conditions that can't be followed.
    """

    weight = 4

    def __init__(self, node: Node) -> None:
        self._places: list[_Step | _Split | _Ahead | _Before | None] = [None]
        # The texts that conditions look behind for, as automata for all of what stands before.
        self._behind: list[Automaton] = []
        self._numbers: dict[Node, int] = {}
        self._ahead: list[Automaton] = []
        self._started: dict[tuple[Node, _Behind | None], int] = {}
        self._entries: dict[Node, int] = {}
        self._moves: dict[_State, Segments] = {}
        entry = self._build(cat([ANYTHING, node, ANYTHING]), _MATCH)
        self.start: _State | None = self._state({(entry, frozenset())}, self._first_behind())

    def _first_behind(self) -> _Behind:
        return tuple(one.start for one in self._behind)

    def _add(self, place: _Step | _Split | _Ahead | _Before) -> int:
        self._places.append(place)
        if len(self._places) > _MOST_PLACES:
            raise TooLarge("an expression with conditions has too many places")
        return len(self._places) - 1

    def _build(self, node: Node, following: int) -> int:
        """The place from which the tree is read, and then `following`."""
        if isinstance(node, Chars):
            return self._add(_Step(node.ranges, following))
        if isinstance(node, Cat):
            for part in reversed(node.parts):
                following = self._build(part, following)
            return following
        if isinstance(node, Alt):
            return self._add(_Split(tuple(self._build(part, following) for part in node.parts)))
        if isinstance(node, Assertion):
            return self._condition(node, following)
        if node.most is None:
            loop = _Split(())
            at = self._add(loop)
            loop.following = (self._build(node.node, at), following)
        else:
            at = following
            for _ in range(node.most - node.least):
                at = self._add(_Split((self._build(node.node, at), following)))
        for _ in range(node.least):
            at = self._build(node.node, at)
        return at

    def _condition(self, node: Assertion, following: int) -> int:
        if node.kind == "start":
            return self._before(EMPTY, node.holds, following)
        if node.kind == "end":
            return self._add(_Ahead(EMPTY, node.holds, following))
        if node.kind == "word":
            word = cat([_WORD, ANYTHING])
            ways = []
            for inside in (True, False):
                # At the edge of a word just one of the two neighbours is part of it.
                edge = self._add(_Ahead(word, inside != node.holds, following))
                ways.append(self._before(cat([ANYTHING, _WORD]), inside, edge))
            return self._add(_Split(tuple(ways)))
        assert node.node is not None
        if node.kind == "behind":
            before = whole(cat([node.node, Assertion("end")]))
            # The end of the whole text is not the end of what stands before.
            if before is None or _ends(node.node):
                raise Inexact("a condition stands inside of one that looks behind")
            return self._before(before, node.holds, following)
        self._prepare(node.node)
        return self._add(_Ahead(cat([node.node, ANYTHING]), node.holds, following))

    def _before(self, text: Node, holds: bool, following: int) -> int:
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self._behind)
            self._behind.append(_automaton(text))
        return self._add(_Before(number, holds, following))

    def _prepare(self, node: Node) -> None:
        """Make the places of a condition's own conditions, so that all are known at the start."""
        if asserts(node):
            inner = cat([node, ANYTHING])
            self._entries[inner] = self._build(inner, _MATCH)

    def _undecided(self, place: _Ahead, behind: _Behind) -> tuple[int, int, bool] | bool:
        """The automaton of a condition at its start, or its answer where that is known now."""
        entry = self._entries.get(place.node)
        key = (place.node, None if entry is None else behind)
        number = self._started.get(key)
        if number is None:
            if entry is None:
                automaton = _automaton(place.node)
            else:
                start = self._state({(entry, frozenset())}, behind)
                automaton = determined(_From(self, start))
            number = self._started[key] = len(self._ahead)
            self._ahead.append(automaton)
        return self._judged(number, self._ahead[number].start, place.holds)

    def _judged(self, number: int, at: int | None, holds: bool) -> tuple[int, int, bool] | bool:
        if at is None:
            return not holds
        if at == self._ahead[number].open:
            return holds
        return number, at, holds

    def _state(self, configs: set[_Config], behind: _Behind) -> _State | None:
        """A state with everything that is reached without reading a character."""
        seen = set(configs)
        todo = list(configs)
        found: dict[int, set[_Undecided]] = {}
        while todo:
            at, undecided = todo.pop()
            place = self._places[at]
            following: tuple[int, ...]
            if place is None or isinstance(place, _Step):
                found.setdefault(at, set()).add(undecided)
                continue
            if isinstance(place, _Split):
                following = place.following
            elif isinstance(place, _Before):
                now = behind[place.number]
                accepted = now is not None and self._behind[place.number].accepting[now]
                following = (place.following,) if accepted == place.holds else ()
            else:
                answer = self._undecided(place, behind)
                following = () if answer is False else (place.following,)
                if not isinstance(answer, bool):
                    undecided |= {answer}
                    if len(undecided) > _MOST_UNDECIDED:
                        raise TooLarge("too many conditions are undecided at once")
            for one in following:
                config = (one, undecided)
                if config not in seen:
                    seen.add(config)
                    todo.append(config)
        if not found:
            return None
        # What has more to fulfil than another way to the same place adds nothing.
        least = frozenset(
            (at, one)
            for at, ways in found.items()
            for one in ways
            if len(ways) == 1 or not any(other < one for other in ways)
        )
        return least, behind

    def moves(self, state: _State) -> Segments:
        """Where the characters lead to."""
        known = self._moves.get(state)
        if known is None:
            if len(self._moves) > _MOST_KEPT:
                self._moves.clear()
            known = self._moves[state] = self._made(state)
        return known

    def _made(self, state: _State) -> Segments:
        configs, behind = state
        steps: list[tuple[Ranges, int, _Undecided]] = []
        cuts = {0}
        for at, undecided in configs:
            place = self._places[at]
            if isinstance(place, _Step):
                steps.append((place.ranges, place.following, undecided))
                for low, high in place.ranges:
                    cuts.add(low)
                    cuts.add(high + 1)
                for number, inner, _ in undecided:
                    cuts.update(low for low, _ in self._ahead[number].rows[inner])
        for number, now in enumerate(behind):
            if now is not None:
                cuts.update(low for low, _ in self._behind[number].rows[now])
        cuts.discard(charsets.LAST + 1)
        out: list[tuple[int, Any]] = []
        targets: dict[tuple[frozenset[_Config], _Behind], _State | None] = {}
        for code in sorted(cuts):
            reached: set[_Config] = set()
            for ranges, following, undecided in steps:
                if charsets.has(ranges, code):
                    left = self._stepped(undecided, code)
                    if left is not None:
                        reached.add((following, left))
            now_behind = tuple(
                None if at is None else self._behind[number].after(at, code)
                for number, at in enumerate(behind)
            )
            key = (frozenset(reached), now_behind)
            if key not in targets:
                targets[key] = self._state(reached, now_behind)
            if not out or out[-1][1] != targets[key]:
                out.append((code, targets[key]))
        return tuple(out)

    def _stepped(self, undecided: _Undecided, code: int) -> _Undecided | None:
        """What is still undecided after a character; None if something is not fulfilled."""
        left = []
        for number, at, holds in undecided:
            answer = self._judged(number, self._ahead[number].after(at, code), holds)
            if answer is False:
                return None
            if not isinstance(answer, bool):
                left.append(answer)
        return frozenset(left)

    def accepts(self, state: _State) -> bool:
        """Whether the text may end here."""
        return any(
            at == _MATCH
            and all(self._ahead[number].accepting[one] == holds for number, one, holds in undecided)
            for at, undecided in state[0]
        )


def _ends(node: Node) -> bool:
    """Whether the end of the text is asked for somewhere in the tree."""
    if isinstance(node, Cat | Alt):
        return any(_ends(part) for part in node.parts)
    if isinstance(node, Repeat):
        return _ends(node.node)
    return isinstance(node, Assertion) and node.kind == "end"


class _From:
    """A machine from another start."""

    weight = 4

    def __init__(self, machine: Conditions, start: _State | None) -> None:
        self._machine = machine
        self.start = start

    def moves(self, state: _State) -> Segments:
        return self._machine.moves(state)

    def accepts(self, state: _State) -> bool:
        return self._machine.accepts(state)


@lru_cache(maxsize=256)
def _automaton(node: Node) -> Automaton:
    return determined(Positions(node))
