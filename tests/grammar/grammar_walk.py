"""Writes random texts of a grammar, to see what a model with no sense at all could answer."""

from __future__ import annotations

from random import Random

from llmgate.grammar.gbnf.program import Literal, Program, Symbol

_SAMPLE = [ord(c) for c in 'abzAZ019 _-+./:{}[]"\\,\n\té€😀\x7f\u2028']


class Walker:
    """Random texts; past `budget` symbols it heads for the shortest way to the end."""

    def __init__(self, text: str, budget: int = 120) -> None:
        self.program = Program().read(text)
        self.budget = budget
        self.heights = self._heights()

    def walk(self, random: Random) -> str:
        out: list[str] = []
        todo: list[Symbol] = [self.program.index["root"]]
        spent = 0
        while todo:
            symbol = todo.pop()
            if isinstance(symbol, int):
                spent += 1
                choices = list(self.program.productions[symbol] or ())
                if spent > self.budget:
                    choices = [min(choices, key=self._height)]
                todo.extend(reversed(random.choice(choices)))
            elif isinstance(symbol, Literal):
                out.append(chr(symbol.code))
            else:
                codes = [code for code in _SAMPLE if symbol.has(code)]
                codes += [] if symbol.negated else [low for low, _ in symbol.ranges]
                codes += [] if symbol.negated else [high for _, high in symbol.ranges]
                out.append(chr(random.choice(codes)))
        return "".join(out)

    def _heights(self) -> list[float]:
        heights = [float("inf")] * len(self.program.names)
        self.heights = heights
        changed = True
        while changed:
            changed = False
            for rule, productions in enumerate(self.program.productions):
                best = min(1 + self._height(production) for production in productions or ((),))
                if best < heights[rule]:
                    heights[rule] = best
                    changed = True
        return heights

    def _height(self, production: tuple[Symbol, ...]) -> float:
        return sum(self.heights[symbol] for symbol in production if isinstance(symbol, int))
