"""Regular sets of strings as values: made from patterns, formats, lengths and words, combined."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from llmgate.grammar.builder import Builder, json_text
from llmgate.grammar.dialect import Dialect
from llmgate.grammar.text import shapes
from llmgate.grammar.text.automaton import Automaton, determined, empty, matches
from llmgate.grammar.text.charsets import ALL, complement
from llmgate.grammar.text.conditions import Conditions
from llmgate.grammar.text.emission import of_automaton, of_tree
from llmgate.grammar.text.expressions import (
    ANYTHING,
    NEVER,
    Alt,
    Cat,
    Chars,
    Node,
    Repeat,
    TooLarge,
    alt,
    cat,
    repeat,
)
from llmgate.grammar.text.fitting import fitted
from llmgate.grammar.text.formats import BOUNDED, expression
from llmgate.grammar.text.machines import All, Counter, Machine, Other, Positions, Some, Words
from llmgate.grammar.text.quotients import fixed, tied
from llmgate.grammar.text.regex import parse
from llmgate.grammar.text.spelling import JSON, PLAIN, Spelling
from llmgate.grammar.text.templates import HINT, Scratch, Template
from llmgate.grammar.text.words import any_of, none_of


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

_EVERY: Final = Tree(ANYTHING)
_NONE: Final = Texts(())
# What is no shorter than this is a word, where it has to be one.
_SHORTEST_WORD: Final = 3
# With more words that must not be in a text, one that has to be in it is taken as the whole.
_MOST_UNWANTED: Final = 4
# The engines take U+0000 for the end of a text, and JSON has an escape for it.
_WRITABLE: Final = Tree(repeat(Chars(complement(((0, 0),))), 0, None))


class Language:
    """A regular set of strings of code points; it never changes.

    To combine sets costs nothing: the work is done when a set is asked for its emptiness or
    for its grammar, and only these raise `TooLarge`.
    """

    __slots__ = ("_machine", "part")

    def __init__(self, part: Part) -> None:
        self.part = part
        # Kept, since to look it up by its part takes longer than most texts do.
        self._machine: Machine | None = None

    @classmethod
    def everything(cls) -> Language:
        """All strings."""
        return cls(_EVERY)

    @classmethod
    def literals(cls, texts: Iterable[str]) -> Language:
        """These strings and no others."""
        return cls(Texts(tuple(dict.fromkeys(texts))))

    @classmethod
    def pattern(cls, source: str) -> Language:
        """The strings in which an expression of ECMA-262 is found, as in JSON Schema.

        Raises `Inexact` for what can't be held exactly, and for what is no expression.
        """
        return cls(_pattern(source))

    @classmethod
    def containing(cls, text: str) -> Language:
        """The strings with this text in them."""
        return cls(Tree(cat([ANYTHING, *(Chars(((ord(c), ord(c)),)) for c in text), ANYTHING])))

    @classmethod
    def of_format(cls, name: str, most: int | None = None) -> Language | None:
        """The strings of a format of JSON Schema; None for one that is only an annotation.

        `most` is the greatest length that there will be, which makes some formats simpler.
        """
        source = expression(name, most if name in BOUNDED else None)
        return None if source is None else cls(_pattern(source))

    @classmethod
    def lengths(cls, least: int, most: int | None) -> Language:
        """The strings with so many code points."""
        if most is not None and most < least:
            return cls(_NONE)
        return cls(Tree(repeat(Chars(ALL), max(least, 0), most)))

    def __and__(self, other: Language) -> Language:
        if self.part is _EVERY or other.part is _EVERY:
            return other if self.part is _EVERY else self
        return Language(_and((self.part, other.part)))

    def __or__(self, other: Language) -> Language:
        return Language(_or((self.part, other.part)))

    def __sub__(self, other: Language) -> Language:
        return Language(_and((self.part, _not(other.part))))

    def __invert__(self) -> Language:
        return Language(_not(self.part))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Language) and self.part == other.part

    def __hash__(self) -> int:
        return hash(self.part)

    def __repr__(self) -> str:
        return f"Language({self.part!r})"

    def __contains__(self, text: object) -> bool:
        if not isinstance(text, str):
            return False
        if not isinstance(self.part, Tree):
            return _contains(self.part, text)
        if self._machine is None:
            self._machine = machine(self.part)
        return matches(self._machine, text)

    def is_empty(self) -> bool:
        """Whether it has no string. Raises `TooLarge` if that takes too long to find out."""
        return _is_empty(self.part)

    def json(self, builder: Builder, hint: str) -> str | None:
        """An expression for the JSON strings, with their quotes; None if there are none.

        It is a literal or a rule's name. Raises `TooLarge`.
        """
        if self.part == _EVERY:
            return builder.use("string")
        if isinstance(self.part, Texts):
            found = any_of(form for text in self.part.texts for form in json_text(text))
            return found if found is None or len(found) < 60 else builder.rule(hint, found)
        return self._rule(builder, hint, "json")

    def plain(self, builder: Builder, hint: str) -> str | None:
        """The same for the bare texts, without quotes and escapes."""
        return self._rule(builder, hint, "plain")

    def _rule(self, builder: Builder, hint: str, kind: str) -> str | None:
        template = _template(self.part, kind == "plain", builder.dialect.slash)
        if isinstance(template, str):
            raise TooLarge(template)
        if template is None:
            return None
        key = (f"{kind} {builder.dialect.name}", template)
        name = builder.shared.get(key)
        if name is None:
            name = builder.shared[key] = builder.rule(hint, template.placed(builder, hint))
        return name


@lru_cache(maxsize=2_048)
def _pattern(source: str) -> Part:
    node = parse(source)
    tree = shapes.whole(node)
    if tree is not None:
        return _NONE if shapes.never(tree) else Tree(tree)
    found = Found(node)
    # Now, since it may say that it can't.
    machine(found)
    return found


def _not(part: Part) -> Part:
    if isinstance(part, Not):
        return part.part
    if part == _EVERY:
        return _NONE
    return _EVERY if part == _NONE else Not(part)


def _or(parts: Iterable[Part]) -> Part:
    found: dict[Part, None] = {}
    texts: dict[str, None] = {}
    trees: list[Node] = []
    for part in parts:
        for one in part.parts if isinstance(part, Or) else (part,):
            if one == _EVERY:
                return _EVERY
            if isinstance(one, Texts):
                texts.update(dict.fromkeys(one.texts))
            elif isinstance(one, Tree):
                trees.append(one.node)
            else:
                found[one] = None
    if trees:
        found[Tree(alt(trees))] = None
    left = tuple(text for text in texts if not any(_contains(one, text) for one in found))
    ways = list(found)
    if left or not ways:
        ways.append(Texts(left))
    return ways[0] if len(ways) == 1 else Or(tuple(ways))


def _and(parts: Iterable[Part]) -> Part:
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
                texts = one if texts is None else _common(texts, one)
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
        return _NONE
    # Only names that would otherwise be in have to be kept out.
    kept_out = tuple(name for name in names if all(_contains(one, name) for one in ways))
    if kept_out:
        ways.append(Not(Texts(kept_out)))
    if texts is not None:
        return Texts(
            tuple(text for text in texts.texts if all(_contains(one, text) for one in ways))
        )
    if not ways:
        return _EVERY
    return ways[0] if len(ways) == 1 else And(tuple(ways))


def _common(left: Texts, right: Texts) -> Texts:
    members = set(right.texts)
    return Texts(tuple(text for text in left.texts if text in members))


def _with(trees: list[Node], node: Node) -> list[Node]:
    """Trees that hold together, with another one: a plain length goes into its neighbour."""
    if node == ANYTHING or node in trees:
        return trees
    lengths = _lengths(node)
    out: list[Node] = []
    for number, tree in enumerate(trees):
        own = _lengths(tree)
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


def _lengths(node: Node) -> tuple[int, int | None] | None:
    """The counts, where a tree says nothing but how long a text is."""
    if isinstance(node, Repeat) and node.node == Chars(ALL):
        return node.least, node.most
    return (1, 1) if node == Chars(ALL) else None


@lru_cache(maxsize=512)
def machine(part: Part) -> Machine:
    """An automaton for a part of a language, made while it is used."""
    if isinstance(part, Tree):
        lengths = _lengths(part.node)
        return Positions(part.node) if lengths is None else Counter(*lengths)
    if isinstance(part, Found):
        return Conditions(part.node)
    if isinstance(part, Texts):
        return Words(part.texts)
    if isinstance(part, Not):
        return Other(machine(part.part))
    parts = [machine(one) for one in part.parts]
    return All(parts) if isinstance(part, And) else Some(parts)


def _determined(part: Part) -> Automaton:
    found = _tried(part)
    if isinstance(found, str):
        raise TooLarge(found)
    return found


@lru_cache(maxsize=256)
def _tried(part: Part) -> Automaton | str:
    """The automaton of a part, or why it is too large: that takes longest to find out."""
    try:
        return determined(machine(part))
    except TooLarge as error:
        return error.why


def _contains(part: Part, text: str) -> bool:
    if isinstance(part, Tree | Found):
        return matches(machine(part), text)
    if isinstance(part, Texts):
        return text in part.texts
    if isinstance(part, Not):
        return not _contains(part.part, text)
    if isinstance(part, And):
        return all(_contains(one, text) for one in part.parts)
    return any(_contains(one, text) for one in part.parts)


def _is_empty(part: Part) -> bool:
    found = _emptiness(part)
    if isinstance(found, str):
        raise TooLarge(found)
    return found


@lru_cache(maxsize=1_024)
def _emptiness(part: Part) -> bool | str:
    """Whether a part has no text, or why that takes too long to find out."""
    try:
        return _emptied(part)
    except TooLarge as error:
        return error.why


def _emptied(part: Part) -> bool:
    if isinstance(part, Texts):
        return not part.texts
    if isinstance(part, Tree):
        return shapes.never(part.node)
    if isinstance(part, Or):
        return all(_is_empty(one) for one in part.parts)
    return empty(machine(part))


@lru_cache(maxsize=256)
def _template(part: Part, plain: bool, slash: bool) -> Template | str | None:
    """The rules of a part; None if it has no texts, and else why they are too many."""
    scratch = Scratch(Dialect("", slash=slash))
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
        writable = part if spelling is JSON else _and((part, _WRITABLE))
        return of_automaton(builder, _determined(writable), spelling, HINT)
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
    found = _and(parts)
    return found if isinstance(found, Texts) else None


def _bounded(part: Part) -> tuple[Node, int] | None:
    """The tree and the greatest length, where a part is nothing else."""
    if not isinstance(part, And) or len(part.parts) != 2:
        return None
    nodes = [one.node for one in part.parts if isinstance(one, Tree)]
    for node, other in (nodes, reversed(nodes)) if len(nodes) == 2 else ():
        lengths = _lengths(other)
        if lengths is not None and lengths[1] is not None and lengths[0] <= shapes.span(node)[0]:
            return node, lengths[1]
    return None
