"""Follows a grammar through a text, exactly, one character at a time.

A parse is a stack of places in productions. Stacks are shared: each is a number that stands for
its top and the number of the stack below, so that two equal ones are one. A place at the end of
its production is left out, which keeps repetition from growing them.
"""

from __future__ import annotations

from collections.abc import Callable

from llmgate.grammar.builder import quote
from llmgate.grammar.check import check, productive
from llmgate.grammar.gbnf import Literal, Production, Program, Symbol

# The number of the empty stack: the grammar may end here.
_DONE = 0


class Stacks:
    """All stacks met in one run over a text, and the steps between them.

    `missing` is called with the name of a rule that the program lacks, and must bring it in.
    """

    def __init__(self, program: Program, missing: Callable[[str], object] | None = None) -> None:
        self.program = program
        self.missing = missing
        self._productions: list[Production] = [()]
        self._offsets: list[int] = [0]
        self._below: list[int] = [_DONE]
        self._numbers: dict[tuple[int, int, int], int] = {}
        # Productions live as long as the program, so their identity is a key.
        self._closures: dict[int, frozenset[int]] = {_DONE: frozenset((_DONE,))}
        self._steps: dict[tuple[frozenset[int], int], frozenset[int]] = {}

    def start(self) -> frozenset[int]:
        """The stacks before the first character, each with a terminal on top."""
        root = self.program.symbol("root")
        return self._close(self._push((root,), 0, _DONE))

    def step(self, stacks: frozenset[int], code: int) -> frozenset[int]:
        """The stacks after one more character; none when it does not fit."""
        known = self._steps.get((stacks, code))
        if known is None:
            out: set[int] = set()
            for stack in self.past(stacks, code):
                out |= self._close(stack)
            known = self._steps[stacks, code] = frozenset(out)
        return known

    def past(self, stacks: frozenset[int], code: int) -> set[int]:
        """The stacks after one more character as they are, with a rule on top where one is."""
        out: set[int] = set()
        for stack in stacks:
            if stack != _DONE:
                symbol = self.top(stack)
                assert not isinstance(symbol, int)
                if symbol.has(code):
                    out.add(self._rest(stack))
        return out

    def top(self, stack: int) -> Symbol:
        """What the stack waits for."""
        return self._productions[stack][self._offsets[stack]]

    def remainder(self, stack: int) -> list[Symbol]:
        """Everything that has to follow, from the top of the stack down."""
        out: list[Symbol] = []
        while stack != _DONE:
            out.extend(self._productions[stack][self._offsets[stack] :])
            stack = self._below[stack]
        return out

    def _rest(self, stack: int) -> int:
        return self._push(self._productions[stack], self._offsets[stack] + 1, self._below[stack])

    def _push(self, production: Production, offset: int, below: int) -> int:
        if offset == len(production):
            return below
        key = (id(production), offset, below)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._below)
            self._productions.append(production)
            self._offsets.append(offset)
            self._below.append(below)
        return number

    def _close(self, stack: int) -> frozenset[int]:
        known = self._closures.get(stack)
        if known is not None:
            return known
        found: set[int] = set()
        seen = {stack}
        todo = [stack]
        while todo:
            current = todo.pop()
            if current == _DONE:
                found.add(_DONE)
                continue
            symbol = self.top(current)
            if not isinstance(symbol, int):
                found.add(current)
                continue
            after = self._rest(current)
            for production in self._alternatives(symbol):
                pushed = self._push(production, 0, after)
                if pushed not in seen:
                    seen.add(pushed)
                    todo.append(pushed)
        closed = self._closures[stack] = frozenset(found)
        return closed

    def _alternatives(self, rule: int) -> tuple[Production, ...]:
        productions = self.program.productions[rule]
        if productions is None and self.missing is not None:
            self.missing(self.program.names[rule])
            productions = self.program.productions[rule]
        assert productions is not None
        return productions


class Matcher:
    """Says whether texts match a grammar. Raises `GrammarError` for one that `check` refuses."""

    def __init__(self, text: str) -> None:
        self._program = program_of(text)

    def matches(self, text: str) -> bool:
        """Whether the whole text matches."""
        return _DONE in self._after(text)

    def accepts_prefix(self, text: str) -> bool:
        """Whether the text can be continued to one that matches, or is one."""
        return bool(self._after(text))

    def _after(self, text: str) -> frozenset[int]:
        run = Stacks(self._program)
        stacks = run.start()
        for char in text:
            stacks = run.step(stacks, ord(char))
            if not stacks:
                break
        return stacks


def program_of(text: str) -> Program:
    """The rules of a grammar, without what can never end: so every stack has a way to a match.

    Raises `GrammarError` for a grammar that `check` refuses.
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


def after(prefix: str, rules: dict[str, str]) -> str:
    """The body of a root rule that matches what may follow `prefix`, using the same rules.

    Raises ValueError when no text of the grammar starts with `prefix`.
    """
    program = Program()

    def bring(name: str) -> None:
        program.read(f"{name} ::= {rules[name]}\n")

    run = Stacks(program, bring)
    stacks = run.start()
    left: set[int] = set(stacks)
    for number, char in enumerate(prefix):
        left = run.past(stacks, ord(char))
        if not left:
            raise ValueError(
                f"the prefill {prefix!r} does not fit the grammar from character {number} on: "
                f"{prefix[number:]!r}"
            )
        stacks = run.step(stacks, ord(char))
    return " | ".join(sorted({_source(program, run.remainder(stack)) for stack in left}))


def _source(program: Program, symbols: list[Symbol]) -> str:
    """GBNF for a sequence of symbols."""
    out: list[str] = []
    literal = ""
    for symbol in symbols:
        if isinstance(symbol, Literal):
            literal += chr(symbol.code)
            continue
        if literal:
            out.append(quote(literal))
            literal = ""
        if isinstance(symbol, int):
            out.append(program.sources.get(symbol, program.names[symbol]))
        else:
            out.append(symbol.source)
    if literal:
        out.append(quote(literal))
    return " ".join(out) or '""'
