"""Finds what would make an engine refuse a grammar, or end on it, before any engine sees it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from llmgate.errors import GrammarError, suggestion
from llmgate.grammar.gbnf.program import Program

# llama.cpp looks for left recursion by recursing into everything that can come first, without
# remembering where it has been: deep chains end its stack, wide ones take for ever.
_DEEPEST_START: Final = 2_000
_MOST_STARTS: Final = 5_000_000


# Every request brings its grammar here, nearly always one that was here before; only texts
# that passed are remembered.
@lru_cache(maxsize=64)
def check(text: str) -> None:
    """Make sure that llama.cpp loads this grammar.

    Raises `GrammarError` with line and column for a syntax error, and for undefined rules,
    a missing `root`, left recursion (with the cycle) and repetitions beyond llama.cpp's limits.
    """
    program = Program().read(text)
    _defined(program)
    _no_left_recursion(program)


def nullable(program: Program) -> set[int]:
    """The rules that match the empty text."""
    return _derivable(program, terminals=False)


def productive(program: Program) -> set[int]:
    """The rules that match at least one text of finite length."""
    return _derivable(program, terminals=True)


def _derivable(program: Program, terminals: bool) -> set[int]:
    """The rules with an alternative made of such rules only, and terminals where allowed."""
    found: set[int] = set()
    waiting: dict[int, list[tuple[int, set[int]]]] = {}
    todo: list[int] = []
    for rule, productions in enumerate(program.productions):
        for production in productions or ():
            needs = {symbol for symbol in production if isinstance(symbol, int)}
            if not terminals and not all(isinstance(symbol, int) for symbol in production):
                continue
            if not needs:
                todo.append(rule)
            entry = (rule, needs)
            for need in needs:
                waiting.setdefault(need, []).append(entry)
    while todo:
        rule = todo.pop()
        if rule in found:
            continue
        found.add(rule)
        for other, needs in waiting.get(rule, ()):
            needs.discard(rule)
            if not needs:
                todo.append(other)
    return found


def _defined(program: Program) -> None:
    known = [name for name in program.index if "_" not in name]
    defined = [name for name in known if program.productions[program.index[name]] is not None]
    for name in known:
        index = program.index[name]
        if program.productions[index] is None:
            raise GrammarError(
                f"grammar, {program.place(index)}: the rule {name!r} is not defined.",
                hint=suggestion(name, defined),
            )
    if "root" not in program.index:
        what = "the grammar is empty" if not known else "the grammar has no rule 'root'"
        raise GrammarError(f"{what}.", hint=suggestion("root", defined) if known else None)


def _no_left_recursion(program: Program) -> None:
    empty = nullable(program)
    starts: list[list[int]] = [[] for _ in program.names]
    for rule, productions in enumerate(program.productions):
        for production in productions or ():
            for symbol in production:
                if not isinstance(symbol, int):
                    break
                starts[rule].append(symbol)
                if symbol not in empty:
                    break
    # Depth first with a stack of our own: `path` is the chain of rules that is open now.
    depth: dict[int, int] = {}
    cost: dict[int, int] = {}
    for first in range(len(starts)):
        if first in depth:
            continue
        path: list[tuple[int, Iterator[int]]] = [(first, iter(starts[first]))]
        on_path = {first}
        while path:
            rule, rest = path[-1]
            for symbol in rest:
                if symbol in on_path:
                    _report(program, [entry for entry, _ in path], symbol)
                if symbol not in depth:
                    path.append((symbol, iter(starts[symbol])))
                    on_path.add(symbol)
                    break
            else:
                path.pop()
                on_path.discard(rule)
                depth[rule] = 1 + max((depth[symbol] for symbol in starts[rule]), default=0)
                cost[rule] = 1 + sum(cost[symbol] for symbol in starts[rule])
                if depth[rule] > _DEEPEST_START or cost[rule] > _MOST_STARTS:
                    raise GrammarError(
                        f"too many rules can stand at the start of {program.owner(rule)!r}, "
                        "one inside the other: llama.cpp would not get through.",
                        hint="Begin the alternatives with literals.",
                    )


def _report(program: Program, path: list[int], again: int) -> None:
    cycle = [*path[path.index(again) :], again]
    names = [program.owner(cycle[0])]
    for rule in cycle[1:]:
        if program.owner(rule) != names[-1] or "_" not in program.names[rule]:
            names.append(program.owner(rule))
    where = program.place(program.index[names[0]])
    if all("_" in program.names[rule] for rule in cycle):
        raise GrammarError(
            f"grammar, {where}: in the rule {names[0]!r} something is repeated without end that "
            f"can be empty: {program.sources[cycle[0]]}.",
            hint="Repeat only what has at least one character.",
        )
    if names[-1] != names[0]:
        names.append(names[0])
    raise GrammarError(
        f"grammar, {where}: left recursion: {' → '.join(names)}.",
        hint="Write the repetition with '*', or let a character come before the rule.",
    )
