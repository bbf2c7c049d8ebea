"""Writes regular sets of strings as rules: exactly, or where that is too large, nearly so."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from llmgate.grammar.builder import Builder
from llmgate.grammar.dialect import Dialect
from llmgate.grammar.text import shapes
from llmgate.grammar.text.automaton import (
    HASTY,
    QUICK,
    THOROUGH,
    Automaton,
    Limits,
    determined,
)
from llmgate.grammar.text.charsets import complement
from llmgate.grammar.text.emission import of_automaton, of_tree
from llmgate.grammar.text.expressions import ANYTHING, Alt, Cat, Chars, Node, TooLarge, cat, repeat
from llmgate.grammar.text.fitting import fitted
from llmgate.grammar.text.parts import And, Not, Or, Part, Texts, Tree, common, counts, machine
from llmgate.grammar.text.quotients import fixed
from llmgate.grammar.text.spelling import JSON, PLAIN, Spelling
from llmgate.grammar.text.templates import HINT, Scratch, Template
from llmgate.grammar.text.words import any_of, none_of

# What is no shorter than this is a word, where it has to be one.
_SHORTEST_WORD: Final = 3
# With more words that must not be in a text, one that has to be in it is taken as the whole.
_MOST_UNWANTED: Final = 4
# The engines take U+0000 for the end of a text, and JSON has an escape for it.
_WRITABLE: Final = Tree(repeat(Chars(complement(((0, 0),))), 0, None))


@lru_cache(maxsize=256)
def template(part: Part, plain: bool, slash: bool, hasty: bool) -> Template | str | None:
    """The rules of a part; None if it has no texts, and else why they are too many."""
    scratch = Scratch(Dialect("", slash=slash))
    scratch.hasty = hasty
    try:
        found = _expression(part, scratch, PLAIN if plain else JSON)
    except TooLarge as error:
        return error.why
    if found is None:
        return None
    return scratch.template(found if plain else f'"\\"" {found} "\\""')


def _expression(part: Part, builder: Builder, spelling: Spelling) -> str | None:
    """An expression that can stand between others."""
    if isinstance(part, Tree):
        return of_tree(builder, part.node, spelling, HINT)
    if isinstance(part, Texts):
        return any_of(form for text in part.texts for form in spelling.forms(text))
    if isinstance(part, Or):
        ways = [_expression(one, builder, spelling) for one in part.parts]
        written = [way for way in ways if way is not None]
        return f"({' | '.join(written)})" if written else None
    if _crowded(part):
        # Exact, it would take much of a grammar's room.
        known = _anchored(part)
        if isinstance(known, Texts) and known.texts:
            return _expression(known, builder, spelling)
    before = builder.snapshot()
    try:
        if isinstance(part, Not) and isinstance(part.part, Texts):
            return none_of(builder, part.part.texts, spelling)
        writable = part if spelling is JSON else common((part, _WRITABLE))
        limits = HASTY if builder.hasty else QUICK if spelling is JSON else THOROUGH
        return of_automaton(builder, _determined(writable, limits), spelling, HINT)
    except TooLarge:
        builder.restore(before)
        # Nearly all of it is good enough where only the greatest length is in the way.
        long = _bounded(part)
        whole = None if long is not None else _anchored(part)
        if long is None and whole is None:
            raise
    try:
        if long is not None:
            return fitted(builder, *long, spelling, HINT)
        assert whole is not None
        found = _expression(whole, builder, spelling)
    except TooLarge:
        builder.restore(before)
        raise
    if found is None:
        raise TooLarge("too many combinations of expressions would have to be told apart")
    return found


def _crowded(part: Part) -> bool:
    """Whether there are many words that must not be in a text."""
    if not isinstance(part, And):
        return False
    unwanted = 0
    for one in part.parts:
        node = one.part.node if isinstance(one, Not) and isinstance(one.part, Tree) else None
        if isinstance(node, Alt):
            unwanted += len(node.parts)
    return unwanted > _MOST_UNWANTED


def _anchored(part: Part) -> Part | None:
    """The same with a word that is found somewhere in a text being the whole text.

    That is what a word without anchors is nearly always meant to say, and it is never more.
    """
    if not isinstance(part, And):
        return None
    parts: list[Part] = []
    for one in part.parts:
        node = one.node if isinstance(one, Tree) else None
        if isinstance(node, Cat) and node.parts[:1] == (ANYTHING,) == node.parts[-1:]:
            texts = fixed(cat(list(node.parts[1:-1])))
            if texts is not None and all(len(text) >= _SHORTEST_WORD for text in texts):
                one = Texts(tuple(texts))
        parts.append(one)
    found = common(parts)
    return found if isinstance(found, Texts) else None


def _bounded(part: Part) -> tuple[Node, int] | None:
    """The tree and the greatest length, where a part is nothing else."""
    if not isinstance(part, And) or len(part.parts) != 2:
        return None
    nodes = [one.node for one in part.parts if isinstance(one, Tree)]
    for node, other in (nodes, reversed(nodes)) if len(nodes) == 2 else ():
        lengths = counts(other)
        if lengths is not None and lengths[1] is not None and lengths[0] <= shapes.span(node)[0]:
            return node, lengths[1]
    return None


def _determined(part: Part, limits: Limits) -> Automaton:
    found = _tried(part, limits)
    if isinstance(found, str):
        raise TooLarge(found)
    return found


@lru_cache(maxsize=256)
def _tried(part: Part, limits: Limits) -> Automaton | str:
    """The automaton of a part, or why it is too large: that takes longest to find out."""
    try:
        return determined(machine(part), limits)
    except TooLarge as error:
        return error.why
