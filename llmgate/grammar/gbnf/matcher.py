"""Follows a grammar through a text, exactly, one character at a time.

A parse is a stack of what is still to come. Stacks that have the same rule to finish are merged
where they met, into one *node* that knows all ways to go on: so an ambiguous grammar costs no
more than its number of places, and not one stack for each way of reading the text. A rule at
the very end of another one adds no node, which keeps repetition from growing them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec

from llmgate.grammar.builder import quote
from llmgate.grammar.gbnf.check import check, productive
from llmgate.grammar.gbnf.program import Chars, Literal, Production, Program, Symbol

# Where to go on: a place and the node that tells what follows behind its production.
Edge = tuple[int, int]
# The node below everything: the grammar may end here.
DONE: Final = 0
_END: Final[Edge] = (-1, DONE)
# So many states are kept from one text to the next.
_MOST_KEPT: Final = 1_000


class State:
    """Where a text may stand: before which terminals, and whether it may end here."""

    __slots__ = ("complete", "edges", "steps")

    def __init__(self, edges: frozenset[Edge], complete: bool) -> None:
        self.edges = edges
        self.complete = complete
        # The states behind the characters that were met here.
        self.steps: dict[int, State] = {}

    def __bool__(self) -> bool:
        return self.complete or bool(self.edges)


class Places:
    """The productions of a program in one row, so that a number says where in it a parse is.

    `missing` is called with the name of a rule that the program lacks, and must bring it in.
    """

    def __init__(self, program: Program, missing: Callable[[str], object] | None = None) -> None:
        self.program = program
        self._missing = missing
        # What stands at each place; None behind the last symbol of a production.
        self.symbols: list[Symbol | None] = []
        self._starts: dict[int, tuple[int, ...]] = {}
        self._nullable: dict[int, bool] = {}

    def starts(self, rule: int) -> tuple[int, ...]:
        """The first place of each of a rule's productions."""
        known = self._starts.get(rule)
        if known is None:
            known = self._starts[rule] = tuple(map(self._laid, self._productions(rule)))
        return known

    def nullable(self, rule: int) -> bool:
        """Whether the rule matches the empty text. There must be no left recursion."""
        known = self._nullable.get(rule)
        if known is None:
            self._find_nullable(rule)
            known = self._nullable[rule]
        return known

    def rest(self, place: int) -> list[Symbol]:
        """The symbols from a place to the end of its production."""
        out: list[Symbol] = []
        while (symbol := self.symbols[place]) is not None:
            out.append(symbol)
            place += 1
        return out

    def _laid(self, production: Production) -> int:
        start = len(self.symbols)
        self.symbols.extend(production)
        self.symbols.append(None)
        return start

    def _productions(self, rule: int) -> tuple[Production, ...]:
        productions = self.program.productions[rule]
        if productions is None and self._missing is not None:
            self._missing(self.program.names[rule])
            productions = self.program.productions[rule]
        assert productions is not None
        return productions

    def _find_nullable(self, rule: int) -> None:
        # Depth first with a stack of its own: grammars may be as deep as `check` allows.
        path = [rule]
        while path:
            needed = self._undecided(path[-1])
            if needed is None:
                path.pop()
            else:
                path.append(needed)

    def _undecided(self, rule: int) -> int | None:
        """A rule that has to be decided before this one; None once this one is."""
        known = self._nullable
        for production in self._productions(rule):
            for symbol in production:
                if not isinstance(symbol, int):
                    break
                if symbol not in known:
                    return symbol
                if not known[symbol]:
                    break
            else:
                known[rule] = True
                return None
        known[rule] = False
        return None


class Run:
    """All nodes and states met while texts are followed, and the steps between them."""

    def __init__(self, places: Places) -> None:
        self.places = places
        # By the number of a node: where the parse goes on behind it. Nodes never change, and
        # lead to nodes with smaller numbers only.
        self.nodes: list[frozenset[Edge]] = [frozenset((_END,))]
        self._numbers: dict[frozenset[Edge], int] = {self.nodes[DONE]: DONE}
        self._states: dict[tuple[frozenset[Edge], bool], State] = {}

    @property
    def size(self) -> int:
        """How many states there are."""
        return len(self._states)

    def start(self) -> State:
        """The state before the first character."""
        return _Closing(self, self.begin()).state()

    def begin(self) -> list[Edge]:
        """The beginnings of the root rule, before anything is looked into."""
        root = self.places.program.symbol("root")
        return [(start, DONE) for start in self.places.starts(root)]

    def step(self, state: State, code: int) -> State:
        """The state after one more character; a false one when it does not fit."""
        known = state.steps.get(code)
        if known is None:
            known = state.steps[code] = _Closing(self, self.past(state, code)).state()
        return known

    def past(self, state: State, code: int) -> list[Edge]:
        """Where a parse stands right behind one more character."""
        symbols = self.places.symbols
        out = []
        for place, node in state.edges:
            symbol = symbols[place]
            assert isinstance(symbol, Chars | Literal)
            if symbol.has(code):
                out.append((place + 1, node))
        return out

    def number(self, edges: frozenset[Edge]) -> int:
        """The node with these ways to go on."""
        known = self._numbers.get(edges)
        if known is None:
            known = self._numbers[edges] = len(self.nodes)
            self.nodes.append(edges)
        return known

    def state(self, edges: frozenset[Edge], complete: bool) -> State:
        """The state before these terminals."""
        known = self._states.get((edges, complete))
        if known is None:
            known = self._states[edges, complete] = State(edges, complete)
        return known


class _Closing:
    """Looks into everything that can come next, down to terminals.

    The node of a rule that begins here has the number `-1 - rule` until it is known who waits
    for that rule.
    """

    def __init__(self, run: Run, todo: list[Edge]) -> None:
        self._run = run
        self._terminals: set[Edge] = set()
        self._complete = False
        # Who waits for each rule that begins here, and which of these rules' own waiting ones
        # it has besides, since it stands at their end.
        self._waiting: dict[int, set[Edge]] = {}
        self._ends: dict[int, set[int]] = {}
        self._seen: set[Edge] = set()
        self._todo = todo

    def state(self) -> State:
        run, seen, todo, symbols = self._run, self._seen, self._todo, self._run.places.symbols
        while todo:
            edge = todo.pop()
            if edge in seen:
                continue
            seen.add(edge)
            place, node = edge
            if place < 0:
                self._complete = True
                continue
            symbol = symbols[place]
            if symbol is None:
                # A rule that ends where it began is dealt with where it is called.
                if node >= 0:
                    todo.extend(run.nodes[node])
            elif isinstance(symbol, int):
                self._call(symbol, place + 1, node)
            else:
                self._terminals.add(edge)
        if self._waiting:
            numbers = self._numbers()
            edges = frozenset(
                (place, numbers[-1 - node]) if node < 0 else (place, node)
                for place, node in self._terminals
            )
        else:
            edges = frozenset(self._terminals)
        return run.state(edges, self._complete)

    def _call(self, rule: int, behind: int, node: int) -> None:
        run = self._run
        waiting = self._waiting.get(rule)
        if waiting is None:
            waiting = self._waiting[rule] = set()
            self._ends[rule] = set()
            own = -1 - rule
            self._todo.extend([(start, own) for start in run.places.starts(rule)])
        if run.places.symbols[behind] is not None:
            waiting.add((behind, node))
        elif node < 0:
            self._ends[rule].add(-1 - node)
        else:
            waiting |= run.nodes[node]
        if run.places.nullable(rule):
            self._todo.append((behind, node))

    def _numbers(self) -> dict[int, int]:
        """The nodes of the rules that begin here; without left recursion none needs itself."""
        run, known = self._run, dict[int, int]()
        edges: dict[int, frozenset[Edge]] = {}
        path = list(self._waiting)
        while path:
            rule = path[-1]
            if rule in known:
                path.pop()
                continue
            needed = self._ends[rule] | {-1 - node for _, node in self._waiting[rule] if node < 0}
            if missing := [one for one in needed if one not in known]:
                path.extend(missing)
                continue
            path.pop()
            mine = {(p, known[-1 - n]) if n < 0 else (p, n) for p, n in self._waiting[rule]}
            for other in self._ends[rule]:
                mine |= edges[other]
            edges[rule] = frozenset(mine)
            known[rule] = run.number(edges[rule])
        return known


class Mismatch(msgspec.Struct, frozen=True):
    """Where a text stops fitting a grammar: the index, and what could have stood there."""

    at: int
    expected: tuple[str, ...]


class Matcher:
    """Says whether texts match a grammar. Raises `GrammarError` for one that `check` refuses."""

    def __init__(self, text: str) -> None:
        self._places = Places(program_of(text))
        # What was learnt of the grammar from the texts so far.
        self._run = Run(self._places)

    def matches(self, text: str) -> bool:
        """Whether the whole text matches."""
        return self._follow(text)[1].complete

    def accepts_prefix(self, text: str) -> bool:
        """Whether the text can be continued to one that matches, or is one."""
        return bool(self._follow(text)[1])

    def mismatch(self, text: str) -> Mismatch | None:
        """The first place from which on no text of the grammar goes on like this; None for a match.

        What was expected there is said in GBNF, with "the end" where the text might have ended.
        """
        at, state, last = self._follow(text)
        if state.complete:
            return None
        if not state:
            at, state = at - 1, last
        symbols = self._places.symbols
        ways = {_shown(symbols, place) for place, _ in state.edges}
        return Mismatch(at, (*sorted(ways), *(["the end"] if state.complete else [])))

    def _follow(self, text: str) -> tuple[int, State, State]:
        """How many characters were looked at, the state behind them and the one before that."""
        run = self._run
        if run.size > _MOST_KEPT:
            run = self._run = Run(self._places)
        state = last = run.start()
        for number, char in enumerate(text, 1):
            last, state = state, run.step(state, ord(char))
            if not state:
                return number, state, last
        return len(text), state, last


def matches(grammar: str, text: str) -> bool:
    """Whether `text` matches the GBNF text `grammar`; fast where that was used lately.

    Raises `GrammarError` for a grammar that `check` refuses.
    """
    return _matcher(grammar).matches(text)


def begins(grammar: str, text: str) -> bool:
    """Whether `text` is the beginning of one that matches `grammar`, or is one; see `matches`."""
    return _matcher(grammar).accepts_prefix(text)


@lru_cache(maxsize=32)
def _matcher(grammar: str) -> Matcher:
    return Matcher(grammar)


@lru_cache(maxsize=32)
def program_of(text: str) -> Program:
    """The rules of a grammar, without what can never end: so every state has a way to a match.

    Not to be changed. Raises `GrammarError` for a grammar that `check` refuses.
    """
    check(text)
    program = Program().read(text)
    ends = productive(program)
    program.productions = [
        tuple(
            production
            for production in productions or ()
            if all(not isinstance(symbol, int) or symbol in ends for symbol in production)
        )
        for productions in program.productions
    ]
    return program


def _shown(symbols: list[Symbol | None], place: int) -> str:
    """What stands at a place: a character class, or a literal with what follows it."""
    text = ""
    while isinstance(symbol := symbols[place], Literal):
        text += chr(symbol.code)
        place += 1
    if text:
        return quote(text)
    assert isinstance(symbol, Chars)
    return symbol.source
