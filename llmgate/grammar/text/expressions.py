"""Regular expressions as trees, and what can't be made of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from llmgate.grammar.text import charsets
from llmgate.grammar.text.charsets import Ranges


class Inexact(Exception):
    """A set of strings that can't be held exactly; `why` is one clause for a person."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class TooLarge(Inexact):
    """A set of strings that could be held, but not in a grammar of reasonable size."""


class Chars(msgspec.Struct, frozen=True):
    """One character out of a set; an empty set matches nothing."""

    ranges: Ranges


class Cat(msgspec.Struct, frozen=True):
    """One after the other; none of them is the empty text."""

    parts: tuple[Node, ...]


class Alt(msgspec.Struct, frozen=True):
    """One of several."""

    parts: tuple[Node, ...]


class Repeat(msgspec.Struct, frozen=True):
    """At least `least` times, at most `most` times (None: without end)."""

    node: Node
    least: int
    most: int | None


class Assertion(msgspec.Struct, frozen=True):
    """A condition on what stands around a place, without characters of its own.

    `holds` is False where the condition must not be met. `node` is what has to stand before or
    after, and None for `start`, `end` and `word` (a word's beginning or end).
    """

    kind: Literal["start", "end", "word", "ahead", "behind"]
    holds: bool = True
    node: Node | None = None


Node = Chars | Cat | Alt | Repeat | Assertion

EMPTY: Final = Cat(())
NEVER: Final = Chars(())
ANYTHING: Final = Repeat(Chars(charsets.ALL), 0, None)


def cat(parts: list[Node]) -> Node:
    """The parts one after the other, flattened."""
    flat: list[Node] = []
    for part in parts:
        if isinstance(part, Cat):
            flat.extend(part.parts)
        elif part == NEVER:
            return NEVER
        else:
            flat.append(part)
    return flat[0] if len(flat) == 1 else Cat(tuple(flat))


def alt(parts: Iterable[Node]) -> Node:
    """Any of the parts; single characters become one set."""
    sets: list[Ranges] = []
    others: dict[Node, None] = {}
    for part in parts:
        for one in part.parts if isinstance(part, Alt) else (part,):
            if isinstance(one, Chars):
                sets.append(one.ranges)
            else:
                others[one] = None
    ways: list[Node] = list(others)
    ranges = charsets.union(sets)
    if ranges:
        ways.insert(0, Chars(ranges))
    if not ways:
        return NEVER
    return ways[0] if len(ways) == 1 else Alt(tuple(ways))


def repeat(node: Node, least: int, most: int | None) -> Node:
    """The node repeated, without what changes nothing."""
    if most == 0 or node == EMPTY:
        return EMPTY
    if node == NEVER:
        return NEVER if least else EMPTY
    if (least, most) == (1, 1):
        return node
    if isinstance(node, Assertion):
        return node if least else EMPTY
    if isinstance(node, Repeat):
        low, high = node.least, node.most
        # One count in place of two, where together they leave no number out: from `first` times
        # on, the most of k times reaches the least of k + 1 times. None at all is its own case.
        first = max(least, 1)
        closed = high is None or most == first or high * first + 1 >= low * (first + 1)
        if closed and (least or low <= 1):
            total = None if high is None or most is None else high * most
            return Repeat(node.node, low * least, total)
    return Repeat(node, least, most)
