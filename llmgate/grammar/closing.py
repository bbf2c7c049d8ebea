"""The shortest way to end an answer that a grammar holds, wherever it stands."""

from __future__ import annotations

from typing import Final

from llmgate.grammar.gbnf import Chars, Literal, Program, Symbol
from llmgate.grammar.matcher import Stacks, program_of

# What is written where a character has to be and any of several would do.
_PREFERRED: Final = 'a0A _-"}]'


class Closer:
    """Follows a text through a grammar and knows the shortest text that would complete it.

    Raises `GrammarError` for a grammar that `check` refuses.
    """

    def __init__(self, grammar: str) -> None:
        program = program_of(grammar)
        self._run = Stacks(program)
        self._shortest = _shortest_texts(program)
        self._stacks = self._run.start()
        self._ending = self._end(self._stacks)

    @property
    def ending(self) -> str | None:
        """The shortest text that completes what was fed; None if it does not fit the grammar."""
        return self._ending

    def feed(self, text: str) -> None:
        """Follow `text`."""
        for character in text:
            self._stacks = self._run.step(self._stacks, ord(character))
        self._ending = self._end(self._stacks)

    def _end(self, stacks: frozenset[int]) -> str | None:
        ways = (
            "".join(self._text(symbol) for symbol in self._run.remainder(stack)) for stack in stacks
        )
        return min(ways, key=_size, default=None)

    def _text(self, symbol: Symbol) -> str:
        return self._shortest[symbol] if isinstance(symbol, int) else _character(symbol)


def _shortest_texts(program: Program) -> dict[int, str]:
    """The shortest text of each rule."""
    found: dict[int, str] = {}
    changed = True
    while changed:
        changed = False
        for rule, productions in enumerate(program.productions):
            for production in productions or ():
                if any(isinstance(s, int) and s not in found for s in production):
                    continue
                text = "".join(
                    found[s] if isinstance(s, int) else _character(s) for s in production
                )
                if rule not in found or _size(text) < _size(found[rule]):
                    found[rule] = text
                    changed = True
    return found


def _character(symbol: Chars | Literal) -> str:
    if isinstance(symbol, Literal):
        return chr(symbol.code)
    for character in _PREFERRED:
        if symbol.has(ord(character)):
            return character
    if not symbol.negated:
        return chr(symbol.ranges[0][0])
    return next(chr(code) for code in range(0x20, 0x110000) if symbol.has(code))


def _size(text: str) -> int:
    """Bytes, the nearest to tokens that there is without a tokenizer."""
    return len(text.encode("utf-8"))
