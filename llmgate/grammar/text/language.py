"""Regular sets of strings as values: made from patterns, formats, lengths and words, combined."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from llmgate.grammar.builder import Builder, json_text
from llmgate.grammar.text import shapes
from llmgate.grammar.text.automaton import QUICK, Limits, empty, matches
from llmgate.grammar.text.charsets import ALL
from llmgate.grammar.text.expressions import ANYTHING, Chars, TooLarge, cat, repeat
from llmgate.grammar.text.formats import BOUNDED, expression
from llmgate.grammar.text.machines import Machine
from llmgate.grammar.text.parts import (
    EVERY,
    NONE,
    Found,
    Or,
    Part,
    Texts,
    Tree,
    common,
    contains,
    machine,
    negated,
    union,
)
from llmgate.grammar.text.regex import parse
from llmgate.grammar.text.words import any_of
from llmgate.grammar.text.writing import template


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
        return cls(EVERY)

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
            return cls(NONE)
        return cls(Tree(repeat(Chars(ALL), max(least, 0), most)))

    @classmethod
    def common(cls, languages: Iterable[Language]) -> Language:
        """The strings that are in all of them."""
        parts = [language.part for language in languages if language.part is not EVERY]
        return cls(common(parts) if len(parts) > 1 else parts[0] if parts else EVERY)

    def __and__(self, other: Language) -> Language:
        if self.part is EVERY or other.part is EVERY:
            return other if self.part is EVERY else self
        return Language(common((self.part, other.part)))

    def __or__(self, other: Language) -> Language:
        return Language(union((self.part, other.part)))

    def __sub__(self, other: Language) -> Language:
        return Language(common((self.part, negated(other.part))))

    def __invert__(self) -> Language:
        return Language(negated(self.part))

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
            return contains(self.part, text)
        if self._machine is None:
            self._machine = machine(self.part)
        return matches(self._machine, text)

    def is_empty(self, limits: Limits = QUICK) -> bool:
        """Whether it has no string. Raises `TooLarge` if that takes too long to find out."""
        return _is_empty(self.part, limits)

    def json(self, builder: Builder, hint: str) -> str | None:
        """An expression for the JSON strings, with their quotes; None if there are none.

        It is a literal or a rule's name. Raises `TooLarge`.
        """
        if self.part == EVERY:
            return builder.use("string")
        if isinstance(self.part, Texts):
            found = any_of(form for text in self.part.texts for form in json_text(text))
            return found if found is None or len(found) < 60 else builder.rule(hint, found)
        return self._rule(builder, hint, "json")

    def plain(self, builder: Builder, hint: str) -> str | None:
        """The same for the bare texts, without quotes and escapes."""
        return self._rule(builder, hint, "plain")

    def _rule(self, builder: Builder, hint: str, kind: str) -> str | None:
        found = template(self.part, kind == "plain", builder.dialect.slash, builder.hasty)
        if isinstance(found, str):
            raise TooLarge(found)
        if found is None:
            return None
        key = (f"{kind} {builder.dialect.name}", found)
        name = builder.shared.get(key)
        if name is None:
            name = builder.shared[key] = builder.rule(hint, found.placed(builder, hint))
        return name


@lru_cache(maxsize=2_048)
def _pattern(source: str) -> Part:
    node = parse(source)
    tree = shapes.whole(node)
    if tree is not None:
        return NONE if shapes.never(tree) else Tree(tree)
    found = Found(node)
    # Now, since it may say that it can't.
    machine(found)
    return found


def _is_empty(part: Part, limits: Limits) -> bool:
    found = _emptiness(part, limits)
    if isinstance(found, str):
        raise TooLarge(found)
    return found


@lru_cache(maxsize=1_024)
def _emptiness(part: Part, limits: Limits) -> bool | str:
    """Whether a part has no text, or why that takes too long to find out."""
    try:
        return _emptied(part, limits)
    except TooLarge as error:
        return error.why


def _emptied(part: Part, limits: Limits) -> bool:
    if isinstance(part, Texts):
        return not part.texts
    if isinstance(part, Tree):
        return shapes.never(part.node)
    if isinstance(part, Or):
        return all(_is_empty(one, limits) for one in part.parts)
    return empty(machine(part), limits)
