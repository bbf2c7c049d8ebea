"""The shortest way to end an answer that a grammar holds, wherever it stands."""

from __future__ import annotations

from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import Final

from llmgate.grammar.gbnf.matcher import DONE, Edge, Places, Run, program_of
from llmgate.grammar.gbnf.program import Chars, Literal, Production, Program, Symbol

# What is written where a character has to be and any of several would do.
_PREFERRED: Final = 'a0A _-"}]'


class Closer:
    """Follows a text through a grammar and knows the shortest text that would complete it.

    Raises `GrammarError` for a grammar that `check` refuses.
    """

    def __init__(self, grammar: str) -> None:
        self._shortest = _shortest(grammar)
        self._run = Run(Places(program_of(grammar)))
        self._state = self._run.start()
        # By node: how long the shortest text behind it is, and the edge that it begins with.
        self._behind: list[tuple[int, Edge]] = [(0, (-1, DONE))]

    @property
    def ending(self) -> str | None:
        """The shortest text that completes what was fed; None if it does not fit the grammar."""
        if self._state.complete:
            return ""
        if not self._state.edges:
            return None
        self._look_behind()
        best = min((self._size(edge), edge) for edge in self._state.edges)[1]
        return self._written(best)

    def feed(self, text: str) -> None:
        """Follow `text`."""
        run, state = self._run, self._state
        for character in text:
            state = run.step(state, ord(character))
        self._state = state

    def _look_behind(self) -> None:
        """Measure the nodes that are new; each leads to earlier ones only."""
        for edges in self._run.nodes[len(self._behind) :]:
            self._behind.append(min((self._size(edge), edge) for edge in edges))

    def _size(self, edge: Edge) -> int:
        place, node = edge
        if place < 0:
            return 0
        return self._behind[node][0] + sum(map(self._shortest.size, self._run.places.rest(place)))

    def _written(self, edge: Edge) -> str:
        out: list[str] = []
        place, node = edge
        while place >= 0:
            out.append(self._shortest.text(self._run.places.rest(place)))
            place, node = self._behind[node][1]
        return "".join(out)


class _Shortest:
    """The shortest text of each rule of a program: its size, and the production that it is of."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._best: list[Production | None] = [None] * len(program.names)
        self._sizes: list[int] = [0] * len(program.names)
        self._find()

    def size(self, symbol: Symbol) -> int:
        """How long a symbol's shortest text is, in bytes: the nearest to tokens that there is."""
        return self._sizes[symbol] if isinstance(symbol, int) else _bytes(_character(symbol))

    def text(self, symbols: list[Symbol]) -> str:
        """The shortest text of a sequence of symbols."""
        out: list[str] = []
        todo: list[Symbol] = symbols[::-1]
        while todo:
            symbol = todo.pop()
            if isinstance(symbol, int):
                best = self._best[symbol]
                assert best is not None
                todo.extend(reversed(best))
            else:
                out.append(_character(symbol))
        return "".join(out)

    def _find(self) -> None:
        """Settle the rules from the shortest on: what one is made of was settled before it."""
        waiting: dict[int, list[_Way]] = {}
        queue: list[tuple[int, int, Production]] = []
        for rule, productions in enumerate(self._program.productions):
            for production in productions or ():
                way = _Way(rule, production)
                for need in way.needs:
                    waiting.setdefault(need, []).append(way)
                if not way.needs:
                    queue.append((sum(map(self.size, production)), rule, production))
        order = [(size, number) for number, (size, _, _) in enumerate(queue)]
        heapify(order)
        while order:
            size, number = heappop(order)
            _, rule, production = queue[number]
            if self._best[rule] is not None:
                continue
            self._best[rule], self._sizes[rule] = production, size
            for way in waiting.get(rule, ()):
                way.needs.discard(rule)
                if not way.needs and self._best[way.rule] is None:
                    size = sum(map(self.size, way.production))
                    heappush(order, (size, len(queue)))
                    queue.append((size, way.rule, way.production))


class _Way:
    """A production, and which rules it needs that have no shortest text yet."""

    __slots__ = ("needs", "production", "rule")

    def __init__(self, rule: int, production: Production) -> None:
        self.rule = rule
        self.production = production
        self.needs = {symbol for symbol in production if isinstance(symbol, int)}


@lru_cache(maxsize=16)
def _shortest(grammar: str) -> _Shortest:
    return _Shortest(program_of(grammar))


def _character(symbol: Chars | Literal) -> str:
    if isinstance(symbol, Literal):
        return chr(symbol.code)
    for character in _PREFERRED:
        if symbol.has(ord(character)):
            return character
    if not symbol.negated:
        return chr(symbol.ranges[0][0])
    return next(chr(code) for code in range(0x20, 0x110000) if symbol.has(code))


def _bytes(text: str) -> int:
    return len(text.encode("utf-8"))
