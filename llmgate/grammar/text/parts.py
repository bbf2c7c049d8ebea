"""Regular sets of strings as they are made of each other: combined without doing the work yet."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from llmgate.grammar.text import shapes
from llmgate.grammar.text.automaton import matches
from llmgate.grammar.text.charsets import ALL
from llmgate.grammar.text.conditions import Conditions
from llmgate.grammar.text.expressions import ANYTHING, NEVER, Chars, Node, Repeat, alt
from llmgate.grammar.text.machines import All, Counter, Machine, Other, Positions, Some, Words
from llmgate.grammar.text.quotients import tied


class Tree(msgspec.Struct, frozen=True):
    """What an expression without assertions matches, from beginning to end."""

    node: Node


class Found(msgspec.Struct, frozen=True):
    """What an expression is found in."""

    node: Node


class Texts(msgspec.Struct, frozen=True):
    """Fixed texts, in the order in which they were given."""

    texts: tuple[str, ...]


class Not(msgspec.Struct, frozen=True):
    """What something is not."""

    part: Part


class And(msgspec.Struct, frozen=True):
    """What several things are at once."""

    parts: tuple[Part, ...]


class Or(msgspec.Struct, frozen=True):
    """What one of several things is."""

    parts: tuple[Part, ...]


Part = Tree | Found | Texts | Not | And | Or

EVERY: Final = Tree(ANYTHING)
NONE: Final = Texts(())


def negated(part: Part) -> Part:
    if isinstance(part, Not):
        return part.part
    if part == EVERY:
        return NONE
    return EVERY if part == NONE else Not(part)


def union(parts: Iterable[Part]) -> Part:
    found: dict[Part, None] = {}
    texts: dict[str, None] = {}
    trees: list[Node] = []
    for part in parts:
        for one in part.parts if isinstance(part, Or) else (part,):
            if one == EVERY:
                return EVERY
            if isinstance(one, Texts):
                texts.update(dict.fromkeys(one.texts))
            elif isinstance(one, Tree):
                trees.append(one.node)
            else:
                found[one] = None
    if trees:
        found[Tree(alt(trees))] = None
    left = tuple(text for text in texts if not any(contains(one, text) for one in found))
    ways = list(found)
    if left or not ways:
        ways.append(Texts(left))
    return ways[0] if len(ways) == 1 else Or(tuple(ways))


def common(parts: Iterable[Part]) -> Part:
    """The parts at once, in the simplest form that is easy to see."""
    texts: Texts | None = None
    trees: list[Node] = []
    names: dict[str, None] = {}
    unwanted: list[Node] = []
    others: dict[Part, None] = {}
    for number, part in enumerate(parts):
        if isinstance(part, And) and not number:
            # What holds together already is not compared once more.
            trees = [one.node for one in part.parts if isinstance(one, Tree)]
        for one in part.parts if isinstance(part, And) else (part,):
            if isinstance(one, Texts):
                texts = one if texts is None else _shared(texts, one)
            elif isinstance(one, Tree):
                if number or not isinstance(part, And):
                    trees = _with(trees, one.node)
            elif isinstance(one, Not) and isinstance(one.part, Texts):
                names.update(dict.fromkeys(one.part.texts))
            elif isinstance(one, Not) and isinstance(one.part, Tree):
                unwanted.append(one.part.node)
            else:
                others[one] = None
    ways: list[Part] = [Tree(node) for node in trees]
    ways += others
    if unwanted:
        # One automaton for all of them takes far fewer steps than one for each.
        ways.append(Not(Tree(alt(unwanted))))
    if NEVER in trees:
        return NONE
    # Only names that would otherwise be in have to be kept out.
    kept_out = tuple(name for name in names if all(contains(one, name) for one in ways))
    if kept_out:
        ways.append(Not(Texts(kept_out)))
    if texts is not None:
        return Texts(
            tuple(text for text in texts.texts if all(contains(one, text) for one in ways))
        )
    if not ways:
        return EVERY
    return ways[0] if len(ways) == 1 else And(tuple(ways))


def _shared(left: Texts, right: Texts) -> Texts:
    members = set(right.texts)
    return Texts(tuple(text for text in left.texts if text in members))


def _with(trees: list[Node], node: Node) -> list[Node]:
    """Trees that hold together, with another one: a plain length goes into its neighbour."""
    if node == ANYTHING or node in trees:
        return trees
    lengths = counts(node)
    out: list[Node] = []
    for number, tree in enumerate(trees):
        own = counts(tree)
        inner = None
        if lengths is not None:
            inner = shapes.limited(tree, *lengths)
        elif own is not None:
            inner = shapes.limited(node, *own)
        else:
            inner = tied(node, tree) or tied(tree, node)
        if inner is not None:
            return _with([*trees[:number], *trees[number + 1 :]], inner)
        out.append(tree)
    return [*out, node]


def counts(node: Node) -> tuple[int, int | None] | None:
    """The counts, where a tree says nothing but how long a text is."""
    if isinstance(node, Repeat) and node.node == Chars(ALL):
        return node.least, node.most
    return (1, 1) if node == Chars(ALL) else None


@lru_cache(maxsize=512)
def machine(part: Part) -> Machine:
    """An automaton for a part of a language, made while it is used."""
    if isinstance(part, Tree):
        lengths = counts(part.node)
        return Positions(part.node) if lengths is None else Counter(*lengths)
    if isinstance(part, Found):
        return Conditions(part.node)
    if isinstance(part, Texts):
        return Words(part.texts)
    if isinstance(part, Not):
        return Other(machine(part.part))
    parts = [machine(one) for one in part.parts]
    return All(parts) if isinstance(part, And) else Some(parts)


def contains(part: Part, text: str) -> bool:
    if isinstance(part, Tree | Found):
        return matches(machine(part), text)
    if isinstance(part, Texts):
        return text in part.texts
    if isinstance(part, Not):
        return not contains(part.part, text)
    if isinstance(part, And):
        return all(contains(one, text) for one in part.parts)
    return any(contains(one, text) for one in part.parts)
