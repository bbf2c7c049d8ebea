"""What of a grammar is left when the beginning of an answer is already written."""

from __future__ import annotations

from llmgate.grammar.builder import Builder, quote
from llmgate.grammar.gbnf.matcher import Edge, Places, Run
from llmgate.grammar.gbnf.program import Literal, Program, Symbol


def continue_after(prefix: str, builder: Builder) -> None:
    """Change the builder's root rule to what may follow `prefix`, using the same rules.

    Raises ValueError when no text of the grammar starts with `prefix`.
    """
    program = Program()
    # A grammar's rules are read when they are needed: few of them, for a short prefix.
    places = Places(program, lambda name: program.read(f"{name} ::= {builder.rules[name]}\n"))
    run = Run(places)
    state, edges = run.start(), run.begin()
    for number, char in enumerate(prefix):
        edges = run.past(state, ord(char))
        if not edges:
            raise ValueError(
                f"the prefill {prefix!r} does not fit the grammar from character {number} on: "
                f"{prefix[number:]!r}"
            )
        state = run.step(state, ord(char))
    writer = _Writer(builder, places, run)
    builder.define(builder.root, " | ".join(sorted({writer.source(edge) for edge in edges})))


class _Writer:
    """Writes out what has to follow: a node with several ways becomes a rule."""

    def __init__(self, builder: Builder, places: Places, run: Run) -> None:
        self._builder = builder
        self._places = places
        self._run = run
        self._names: dict[int, str] = {}

    def source(self, edge: Edge) -> str:
        """GBNF for all that follows from an edge on."""
        parts = []
        place, node = edge
        while place >= 0:
            parts.append(_source(self._places.program, self._places.rest(place)))
            edges = self._run.nodes[node]
            if len(edges) > 1:
                parts.append(self._rule(node))
                break
            ((place, node),) = edges
        return " ".join(part for part in parts if part) or '""'

    def _rule(self, node: int) -> str:
        name = self._names.get(node)
        if name is None:
            # Nodes lead to earlier ones only, so this ends; as deep as the prefix is nested.
            ways = sorted({self.source(edge) for edge in self._run.nodes[node]})
            name = self._names[node] = self._builder.rule("rest", " | ".join(ways))
        return name


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
    return " ".join(out)
