"""Writes regular languages as GBNF: trees of expressions as they are, automata as linear rules."""

from __future__ import annotations

from typing import Final

from llmgate.grammar.builder import MOST_REPETITIONS, Builder, quote
from llmgate.grammar.text.automaton import Automaton
from llmgate.grammar.text.charsets import LAST, Ranges
from llmgate.grammar.text.expressions import (
    EMPTY,
    Alt,
    Assertion,
    Cat,
    Chars,
    Node,
    Repeat,
    TooLarge,
)
from llmgate.grammar.text.shapes import looped, never, nonempty, nullable
from llmgate.grammar.text.spelling import Spelling

# What one language may take of the 64 KB that a grammar should stay below.
_LARGEST: Final = 40_000
_LARGEST_GRAMMAR: Final = 60_000
_DEEPEST: Final = 12
# Counts up to this one are written at the symbol itself.
_DIRECT: Final = 100
_LONG: Final = 40

# An expression and how it binds: "one" symbol without rules of its own, "word" (a literal of
# several characters), a "row" of symbols, or "ways" beside each other.
_Written = tuple[str, str]
# Counts that need nothing but a mark.
_SINGLE: Final = ((0, None), (1, None), (0, 1))


def room(builder: Builder) -> int:
    """How many characters a language may still take of a grammar."""
    taken = sum(len(name) + len(body) + 6 for name, body in builder.rules.items())
    return min(_LARGEST, _LARGEST_GRAMMAR - taken)


def of_tree(builder: Builder, node: Node, spelling: Spelling, hint: str) -> str | None:
    """An expression for a tree without assertions; None if nothing matches that can be written.

    Raises `TooLarge`.
    """
    found = _Trees(builder, spelling, hint).write(node)
    if found is None:
        return None
    return f"({found[0]})" if found[1] == "ways" else found[0]


class _Trees:
    def __init__(self, builder: Builder, spelling: Spelling, hint: str) -> None:
        self.builder = builder
        self.spelling = spelling
        self.hint = hint
        self.size = 0
        self.sets: dict[Ranges, _Written | None] = {}
        # By identity, with the node, which is kept for it.
        self.known: dict[int, tuple[Node, _Written | None]] = {}

    def write(self, node: Node) -> _Written | None:
        if isinstance(node, Chars):
            return self.chars(node.ranges)
        known = self.known.get(id(node))
        if known is not None:
            found = known[1]
        elif isinstance(node, Cat):
            found = self.row(node.parts)
        elif isinstance(node, Alt):
            found = self.ways(node)
        else:
            assert not isinstance(node, Assertion)
            found = self.repeated(node)
        if known is None:
            self.known[id(node)] = node, found
        if found is not None:
            self.size += len(found[0])
            if self.size > 8 * _LARGEST or len(found[0]) > _LARGEST:
                raise TooLarge("the expression would make the grammar too long")
        return found

    def chars(self, ranges: Ranges) -> _Written | None:
        if ranges not in self.sets:
            self.sets[ranges] = self.spelled(ranges)
        return self.sets[ranges]

    def spelled(self, ranges: Ranges) -> _Written | None:
        if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
            text = self.spelling.single(ranges[0][0])
            if text is not None:
                return quote(text), "one" if len(text) == 1 else "word"
        found = self.spelling.chars(self.builder, ranges)
        return None if found is None else (found, "one")

    def row(self, parts: tuple[Node, ...]) -> _Written | None:
        out: list[str] = []
        literal = ""
        for part in parts:
            text = None
            if isinstance(part, Chars) and len(part.ranges) == 1:
                low, high = part.ranges[0]
                text = self.spelling.single(low) if low == high else None
            if text is not None:
                literal += text
                continue
            if literal:
                out.append(quote(literal))
                literal = ""
            found = self.write(part)
            if found is None:
                return None
            out.append(f"({found[0]})" if found[1] == "ways" else found[0])
        if literal:
            out.append(quote(literal))
        if len(out) < 2:
            return (out[0], "row") if out else ('""', "word")
        return " ".join(out), "row"

    def ways(self, node: Alt) -> _Written | None:
        found = [self.write(part) for part in node.parts if part != EMPTY]
        texts = list(dict.fromkeys(one[0] for one in found if one is not None))
        if EMPTY not in node.parts:
            if not texts:
                return None
            return " | ".join(texts), "ways" if len(texts) > 1 else "row"
        return (f"({' | '.join(texts)})?", "row") if texts else ('""', "word")

    def repeated(self, node: Repeat) -> _Written | None:
        inner, least, most = node.node, node.least, node.most
        if most is None:
            if nullable(inner):
                inner, least = looped(inner), 0
        elif nullable(inner):
            inner, least = nonempty(inner), 0
        if max(least, most or 0) > MOST_REPETITIONS:
            raise TooLarge(f"more than {MOST_REPETITIONS} repetitions are not counted")
        found = None if never(inner) else self.write(inner)
        if found is None:
            return None if least else ('""', "word")
        text, kind = found
        if (least, most) in _SINGLE:
            if kind in ("row", "ways"):
                # What is long may well be there more than once.
                long = len(text) > _LONG
                text = self.builder.rule(self.hint, text) if long else f"({text})"
            return self.builder.repeat(text, least, most), "row"
        if kind != "one":
            text = self.builder.rule(self.hint, text)
        return counted(self.builder, text, least, most), "row"


def counted(builder: Builder, text: str, least: int, most: int | None) -> str:
    """An expression for a symbol repeated; by its name where that takes rules of their own."""
    if max(least, most or 0) > _DIRECT and not text[0].isalpha():
        text = builder.rule("one", text)
    elif most is None and 1 < least <= _DIRECT:
        return f"{text}{{{least},}}"
    return builder.repeat(text, least, most)


def of_automaton(
    builder: Builder, automaton: Automaton, spelling: Spelling, hint: str
) -> str | None:
    """An expression for an automaton; None if nothing matches that can be written.

    Raises `TooLarge`.
    """
    return None if automaton.start is None else _Automata(builder, automaton, spelling, hint).go()


class _Automata:
    def __init__(
        self, builder: Builder, automaton: Automaton, spelling: Spelling, hint: str
    ) -> None:
        self.builder = builder
        self.automaton = automaton
        self.spelling = spelling
        self.hint = hint
        self.left = room(builder)
        # A state from which several ways go takes a dozen characters at least.
        if sum(len(row) > 2 for row in automaton.rows) * 12 > self.left:
            raise TooLarge("the combination of expressions would make the grammar too long")
        self.edges = [_edges(row) for row in automaton.rows]
        self.uses = [0] * len(self.edges)
        self.uses[0] = 1
        for edges in self.edges:
            for target in edges:
                self.uses[target] += 1
        # How a state is referred to, once it is written, and how deep its parentheses go.
        self.references: dict[int, str] = {}
        self.depths: dict[int, int] = {}
        # Names of states that are referred to before they are written.
        self.names: dict[int, str] = {}
        self.spelled: dict[Ranges, str] = {}
        # States that are no start of a run.
        self.broken: set[int] = set()

    def go(self) -> str:
        """The expression for the first state; the rules of the others come before it."""
        opened: set[int] = set()
        todo = [0]
        ways: dict[int, list[tuple[list[Ranges], int]]] = {}
        while todo:
            state = todo[-1]
            if state in self.references:
                todo.pop()
                continue
            if state not in opened:
                opened.add(state)
                found = ways[state] = self.ways(state)
                todo += [target for _, target in found if target not in opened]
                continue
            todo.pop()
            self.references[state] = self.refer(state, self.write(state, ways.pop(state)))
        return self.references[0]

    def ways(self, state: int) -> list[tuple[list[Ranges], int]]:
        """Where a state leads to and by which characters, over states that only pass on."""
        if self.run(state) is not None:
            return []
        found = []
        for target, ranges in self.edges[state].items():
            if target == state:
                continue
            passed, at = [ranges], target
            while self.uses[at] == 1 and len(self.edges[at]) == 1 and at != state:
                if self.automaton.accepting[at]:
                    break
                ((following, more),) = self.edges[at].items()
                if following == at:
                    break
                passed.append(more)
                at = following
            found.append((passed, at))
        return found

    def run(self, state: int) -> tuple[Ranges, int] | None:
        """The set and the count, where a state is the start of "up to so many of these"."""
        passed: list[int] = []
        first: Ranges | None = None
        while self.automaton.accepting[state] and state not in self.broken:
            edges = self.edges[state]
            if not edges:
                return None if first is None else (first, len(passed))
            ((target, ranges), *others) = edges.items()
            if first is not None and ranges != first:
                # What comes before ends here; a new one may begin.
                break
            passed.append(state)
            if others or target == state or self.uses[target] > 1:
                break
            first, state = ranges, target
        self.broken.update(passed)
        return None

    def write(self, state: int, ways: list[tuple[list[Ranges], int]]) -> tuple[str, bool, int]:
        """The expression for a state, whether it needs parentheses, and its depth."""
        run = self.run(state)
        if run is not None:
            return self.counted(run[0], 0, run[1]), False, 0
        texts, depth = [], 0
        for passed, target in ways:
            text = self.path(passed)
            if target in self.references:
                text += f" {self.references[target]}".rstrip()
                depth = max(depth, self.depths.get(target, 0))
            else:
                text += f" {self.name(target)}"
            texts.append(text)
        loop = self.edges[state].get(state)
        again = "" if loop is None else self.counted(loop, 0, None)
        if not texts:
            return again, False, 0
        final = self.automaton.accepting[state]
        if not final and len(texts) == 1:
            return f"{again} {texts[0]}".lstrip(), False, depth
        body = " | ".join(texts)
        if not final and not again:
            return body, True, depth + 1
        return f"{again} ({body}){'?' if final else ''}".lstrip(), False, depth + 1

    def refer(self, state: int, written: tuple[str, bool, int]) -> str:
        """How others refer to a state with that expression."""
        text, several, depth = written
        name = self.names.get(state)
        own = depth > _DEEPEST or (self.uses[state] > 1 and len(text) > 12)
        if name is not None or own or not state:
            self.left -= len(text) + 12
            if self.left < 0:
                raise TooLarge("the combination of expressions would make the grammar too long")
        if name is not None:
            self.builder.define(name, text or '""')
            return name
        if state and own:
            return self.builder.rule(f"k{len(self.builder.rules)}", text)
        self.depths[state] = depth
        return f"({text})" if several else text

    def name(self, state: int) -> str:
        """The name of a state that is still to be written."""
        found = self.names.get(state)
        if found is None:
            # A number of its own, since asking for a free name gets slow with many alike.
            stem = f"k{len(self.builder.rules) + len(self.names)}"
            found = self.names[state] = self.builder.name(stem)
        return found

    def path(self, passed: list[Ranges]) -> str:
        """An expression for one set after the other."""
        out: list[str] = []
        literal = ""
        at = 0
        while at < len(passed):
            ranges = passed[at]
            text = None
            if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
                text = self.spelling.single(ranges[0][0])
            end = at + 1
            while end < len(passed) and passed[end] == ranges:
                end += 1
            if text is not None and end - at < 16:
                literal += text * (end - at)
            else:
                if literal:
                    out.append(quote(literal))
                    literal = ""
                out.append(self.counted(ranges, end - at, end - at))
            at = end
        if literal:
            out.append(quote(literal))
        return " ".join(out)

    def counted(self, ranges: Ranges, least: int, most: int | None) -> str:
        """An expression for characters of one set, whose name is used where it is shorter."""
        one = self.spelled.get(ranges)
        if one is None:
            found = self.spelling.chars(self.builder, ranges)
            assert found is not None
            one = found if len(found) < 16 else self.builder.rule("one", found)
            self.spelled[ranges] = one
        if (least, most) == (1, 1):
            return one
        if max(least, most or 0) > MOST_REPETITIONS:
            raise TooLarge(f"more than {MOST_REPETITIONS} repetitions are not counted")
        return counted(self.builder, one, least, most)


def _edges(row: tuple[tuple[int, int | None], ...]) -> dict[int, Ranges]:
    """For each state that is led to: by which characters."""
    found: dict[int, list[tuple[int, int]]] = {}
    for number, (low, target) in enumerate(row):
        if target is not None:
            high = row[number + 1][0] - 1 if number + 1 < len(row) else LAST
            found.setdefault(target, []).append((low, high))
    # Segments beside each other lead to different states, so there is nothing to join.
    return {target: tuple(ranges) for target, ranges in found.items()}
