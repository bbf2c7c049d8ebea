"""What is left of a tree where a text's beginning or end is known."""

from __future__ import annotations

from typing import Final

from llmgate.grammar.text import charsets
from llmgate.grammar.text.expressions import (
    ANYTHING,
    EMPTY,
    NEVER,
    Alt,
    Assertion,
    Cat,
    Chars,
    Node,
    Repeat,
    alt,
    cat,
    repeat,
)
from llmgate.grammar.text.shapes import nullable

_MOST_TEXTS: Final = 16
_MOST_CHARACTERS: Final = 200
# A rest with more alternatives than this is no simpler than an automaton.
_MOST_WAYS: Final = 40


def tied(node: Node, tree: Node) -> Node | None:
    """The texts of `tree` that begin, or end, as `node` says; None if `node` says more.

    It has to be a choice between fixed texts with anything after them, or before them.
    """
    if not isinstance(node, Cat) or node.parts[:1] == node.parts[-1:]:
        return None
    for first in (True, False):
        texts = _texts(node, first)
        if texts is None:
            continue
        ways: list[Node] = []
        for text in texts:
            rest = tree
            for char in text if first else reversed(text):
                rest = _without(rest, ord(char), first)
                if isinstance(rest, Alt) and len(rest.parts) > _MOST_WAYS:
                    return None
            literal: list[Node] = [Chars(((ord(char), ord(char)),)) for char in text]
            ways.append(cat([*literal, rest] if first else [rest, *literal]))
        return alt(ways)
    return None


def _texts(node: Node, first: bool) -> list[str] | None:
    """The fixed texts that a tree begins or ends with, where that is all that it says."""
    if not isinstance(node, Cat) or node.parts[-1 if first else 0 :][:1] != (ANYTHING,):
        return None
    texts = [""]
    for part in node.parts[:-1] if first else node.parts[1:]:
        ways = fixed(part)
        if ways is None or len(texts) * len(ways) > _MOST_TEXTS:
            return None
        texts = [text + way for text in texts for way in ways]
        if sum(map(len, texts)) > _MOST_CHARACTERS:
            return None
    return texts


def fixed(node: Node) -> list[str] | None:
    """All texts of a tree that has only a few; none is there twice."""
    if isinstance(node, Chars):
        if len(node.ranges) != 1 or node.ranges[0][0] != node.ranges[0][1]:
            return None
        return [chr(node.ranges[0][0])]
    found: list[str] = []
    if isinstance(node, Cat):
        found = [""]
        for part in node.parts:
            ways = fixed(part)
            if ways is None or len(found) * len(ways) > _MOST_TEXTS:
                return None
            found = [text + way for text in found for way in ways]
    elif isinstance(node, Alt):
        for part in node.parts:
            ways = fixed(part)
            if ways is None:
                return None
            found += ways
    elif isinstance(node, Repeat) and (node.least, node.most) == (0, 1):
        ways = fixed(node.node)
        if ways is None:
            return None
        found = ["", *ways]
    else:
        return None
    return list(dict.fromkeys(found))


def _without(node: Node, code: int, first: bool) -> Node:
    """What is left of the texts that begin or end with a character, without it."""
    if isinstance(node, Chars):
        return EMPTY if charsets.has(node.ranges, code) else NEVER
    if isinstance(node, Alt):
        return alt([_without(part, code, first) for part in node.parts])
    if isinstance(node, Repeat):
        if node.most == 0:
            return NEVER
        edge = _without(node.node, code, first)
        most = None if node.most is None else node.most - 1
        rest = repeat(node.node, max(node.least - 1, 0), most)
        return cat([edge, rest] if first else [rest, edge])
    assert not isinstance(node, Assertion)
    ways: list[Node] = []
    parts = list(node.parts)
    while parts:
        edge = _without(parts[0 if first else -1], code, first)
        others = parts[1:] if first else parts[:-1]
        ways.append(cat([edge, *others] if first else [*others, edge]))
        if not nullable(parts[0 if first else -1]):
            break
        parts = others
    return alt(ways)
