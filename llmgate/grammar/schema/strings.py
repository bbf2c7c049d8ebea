"""GBNF for JSON strings and fixed values: what limits them, and how they are written."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from llmgate.errors import GrammarError
from llmgate.grammar.builder import MOST_REPETITIONS, Builder, json_text, quote
from llmgate.grammar.calls.raw import raw_string, single_quoted
from llmgate.grammar.dialect import BARE_KEY, JSON, Dialect
from llmgate.grammar.schema.facts import Facts
from llmgate.grammar.text.language import Language
from llmgate.grammar.text.regex import Inexact, TooLarge
from llmgate.grammar.text.words import any_of

# Values from this many on share their beginnings, so that an engine follows few of them at once.
_MANY: Final = 16
# What is given up first where not everything can be held at once.
_LENGTHS: Final = ("maxLength", "minLength")


def allowed(facts: Facts) -> Language:
    """The strings that the facts allow.

    Raises `Inexact` if some format or expression can't be held.
    """
    return Language.common(part for _, _, part in _parts(facts))


def string(builder: Builder, facts: Facts, hint: str) -> str | None:
    """A rule for the strings that the facts allow; None if there are none."""
    try:
        parts = _parts(facts)
    except Inexact as error:
        facts.relax("format", error.why)
        parts = _parts(facts, formats=False)
    if len(facts.formats) == 1 and len(parts) == 1 and parts[0][0] == "format":
        hint = facts.formats[0]
    if builder.dialect.raw:
        return raw_string(builder, facts, parts, hint)
    while True:
        language = Language.common(part for _, _, part in parts)
        try:
            found = language.json(builder, hint)
            if not builder.dialect.single or found is None or not parts:
                return found
            single = single_quoted(builder, language, hint)
            return found if single is None else builder.rule(hint, f"{found} | {single}")
        except TooLarge as error:
            left_out = next(
                (part for keyword in _LENGTHS for part in parts if part[0] == keyword), parts[-1]
            )
            parts.remove(left_out)
            builder.hasty = True
            facts.relax(left_out[0], error.why, left_out[1])


def _parts(facts: Facts, formats: bool = True) -> list[tuple[str, str | None, Language]]:
    """What limits a string: keyword, place, and the strings that are left."""
    parts: list[tuple[str, str | None, Language]] = []
    for keyword, path, language in facts.texts:
        # The same expression is the same object.
        if not any(language.part is other.part for _, _, other in parts):
            parts.append((keyword, path, language))
    least, most = facts.least.get("Length", 0), facts.most.get("Length")
    for name in dict.fromkeys(facts.formats if formats else ()):
        known = Language.of_format(name, most)
        if known is not None:
            parts.append(("format", None, known))
    if least:
        parts.append(("minLength", None, Language.lengths(least, None)))
    if most is not None:
        # A string longer than that is not written by anyone, so that it may as well be refused.
        parts.append(("maxLength", None, Language.lengths(0, min(most, MOST_REPETITIONS))))
    return parts


def key(text: str, dialect: Dialect = JSON) -> str:
    """An expression for a key with its colon."""
    if dialect.bare and BARE_KEY.fullmatch(text):
        return quote(f"{text}:")
    return _either([quote(f"{form}:") for form in forms(text, dialect) or json_text(text)])


def forms(text: str, dialect: Dialect) -> tuple[str, ...]:
    """The ways in which a string is written; none if it can't be."""
    if dialect.marks is None:
        single = dialect.single and not any(map(_lone, text))
        return (*json_text(text), repr(text)) if single else json_text(text)
    before, behind = dialect.marks
    if dialect.end in text + behind[:-1] or any(char == "\0" or _lone(char) for char in text):
        return ()
    return (before + text + behind,)


def constant(builder: Builder, value: Any) -> str | None:
    """An expression for one value, in all the ways that it is written; None if it can't be."""
    dialect = builder.dialect
    if isinstance(value, str):
        found = forms(value, dialect)
        return _either([quote(form) for form in found]) if found else None
    if isinstance(value, dict):
        if not value:
            return quote("{}")
        ws, sp = builder.use("ws"), builder.use("sp")
        pairs = []
        for name, one in value.items():
            body = constant(builder, one)
            if body is None:
                return None
            pairs.append(f"{key(str(name), dialect)} {sp} {body}")
        return f'"{{" {ws} ' + f' "," {ws} '.join(pairs) + f' {ws} "}}"'
    if isinstance(value, list):
        if not value:
            return quote("[]")
        ws = builder.use("ws")
        items = [constant(builder, one) for one in value]
        known = [item for item in items if item is not None]
        if len(known) < len(items):
            return None
        return f'"[" {ws} ' + f' "," {ws} '.join(known) + f' {ws} "]"'
    if isinstance(value, float) and not math.isfinite(value):
        raise GrammarError(f"{value!r} is no JSON value, so no answer can be equal to it.")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"({quote(json.dumps(value))} | {quote(str(int(value)))})"
    true, false, null = dialect.words
    if value is None or isinstance(value, bool):
        return quote(null if value is None else true if value else false)
    return quote(json.dumps(value))


def enumeration(builder: Builder, values: list[Any], hint: str) -> str | None:
    """A rule for a choice between fixed values; None if none of them can be written."""
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < _MANY:
        found = [constant(builder, value) for value in values]
    else:
        found = [any_of([form for text in texts for form in forms(text, builder.dialect)])]
        found += [constant(builder, value) for value in values if not isinstance(value, str)]
    bodies = list(dict.fromkeys(body for body in found if body is not None))
    if not bodies:
        return None
    if len(bodies) == 1 and not isinstance(values[0], dict | list):
        return bodies[0]
    return builder.rule(hint, " | ".join(bodies))


def _lone(char: str) -> bool:
    """Whether it is half of a surrogate pair, which has no UTF-8 form."""
    return "\ud800" <= char <= "\udfff"


def _either(ways: list[str]) -> str:
    return ways[0] if len(ways) == 1 else f"({' | '.join(ways)})"
