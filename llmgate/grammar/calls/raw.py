"""Strings that are written as they are, up to a mark that they can't have in them."""

from __future__ import annotations

from typing import Final

from llmgate.grammar.builder import Builder, quote
from llmgate.grammar.calls.until import all_but, free, units
from llmgate.grammar.schema.facts import Facts
from llmgate.grammar.text.automaton import THOROUGH
from llmgate.grammar.text.language import Language
from llmgate.grammar.text.regex import TooLarge

# A length is counted exactly where that takes no more states than this; a longer one in steps.
_MOST_STATES: Final = 300
# Beyond, a string's length is left to the validator.
_LONGEST: Final = 4_000

_ESCAPED: Final = r"['\\\x00-\x1f]"
_UNESCAPED: Final = r"^[^'\\\x00-\x1f]*$"

# What limits a string: keyword, place, and the strings that are left.
Part = tuple[str, str | None, Language]


def raw_string(builder: Builder, facts: Facts, parts: list[Part], hint: str) -> str | None:
    """An expression for the strings that are in all parts; None if there are none.

    Where a length is limited, it admits less than that allows: a text in which the end mark
    could begin is shorter than it might be.
    """
    text = _text(builder, facts, parts, hint)
    if text is None:
        return None
    assert builder.dialect.marks is not None
    before, behind = builder.dialect.marks
    if not before:
        return text
    if not parts:
        return builder.use("string")
    return builder.rule(hint, f"{quote(before)} {text} {quote(behind)}")


def single_quoted(builder: Builder, language: Language, hint: str) -> str | None:
    """An expression for strings in Python's single quotes, of those that need no escapes there."""
    try:
        if (language & Language.pattern(_ESCAPED)).is_empty(THOROUGH):
            text = language.plain(builder, hint)
        else:
            text = (language & Language.pattern(_UNESCAPED)).plain(builder, hint)
    except TooLarge:
        return None
    return None if text is None else f'"\'" {text} "\'"'


def _text(builder: Builder, facts: Facts, parts: list[Part], hint: str) -> str | None:
    end = builder.dialect.end
    lengths = [part for part in parts if part[0] in ("minLength", "maxLength")]
    others = [part for part in parts if part not in lengths]
    if not others:
        least, most = facts.least.get("Length", 0), facts.most.get("Length")
        return _bounded(builder, facts, least, most, hint)
    kept = list(parts)
    while kept:
        language = Language.everything()
        for _, _, part in kept:
            language &= part
        try:
            return _without(builder, language, end, hint)
        except TooLarge as error:
            left_out = next((part for part in kept if part in lengths), kept[-1])
            kept.remove(left_out)
            facts.relax(left_out[0], error.why, left_out[1])
    return free(builder, end)


def _without(builder: Builder, language: Language, end: str, hint: str) -> str | None:
    """The texts of a language without the mark in them. Raises `TooLarge`."""
    first = Language.containing(end[0])
    if (language & first).is_empty(THOROUGH):
        return language.plain(builder, hint)
    try:
        return (language - Language.containing(end)).plain(builder, hint)
    except TooLarge:
        return (language - first).plain(builder, hint)


def _bounded(builder: Builder, facts: Facts, least: int, most: int | None, hint: str) -> str | None:
    """Texts of some lengths."""
    end = builder.dialect.end
    if most is not None and most < least:
        return None
    if most is not None and most > _LONGEST:
        facts.relax("maxLength", f"not counted above {_LONGEST} in this style")
        most = None
    if least > _LONGEST:
        facts.relax("minLength", f"counted up to {_LONGEST} in this style")
        least = _LONGEST
    if not least and most is None:
        return free(builder, end)
    if most is not None and most * len(end) <= _MOST_STATES:
        return (Language.lengths(least, most) - Language.containing(end)).plain(builder, hint)
    # A unit is one character, or the beginning of the mark and what can't go on with it.
    unit = builder.rule("unit", units(end))
    if most is None:
        return builder.rule(hint, f"{builder.repeat(unit, least, least)} {free(builder, end)}")
    first = builder.rule("char-but", all_but(end[0]))
    ways = [builder.repeat(first, least, most)]
    if most // len(end) >= max(least, 1):
        ways.append(builder.repeat(unit, least, most // len(end)))
    return builder.rule(hint, " | ".join(ways))
