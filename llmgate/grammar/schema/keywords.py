"""Reads the keywords of JSON Schema, one function each, into the record of facts."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from llmgate.errors import GrammarError, suggestion
from llmgate.grammar.schema.facts import TYPES, Contained, Facts, Located, Member, same, shown

# Words of propertyNames and strings that only an exact translation may loosen.
_UNTRANSLATED: Final = "the expression {!r} can't be held exactly: {}"
# Most schemas name a single type.
_ONE_TYPE: Final = {name: frozenset((name,)) for name in TYPES}


class Atom(Enum):
    """Keywords that schemas made by `negation` have beside those of JSON Schema."""

    UNEQUAL = "unequal"
    FRACTIONAL = "fractional"
    INDIVISIBLE = "indivisible"
    UNLIKE = "unlike"
    OTHER_FORMAT = "other format"
    ABSENT = "absent"
    MEMBER = "member"
    CONTAINED = "contained"
    PROPERTY = "property"

    # They are looked for in every schema, and an enumeration's own hash takes its time.
    __hash__ = object.__hash__


def _type(facts: Facts, keyword: str, value: Any, path: str) -> None:
    one = _ONE_TYPE.get(value) if isinstance(value, str) else None
    if one is not None:
        facts.restrict(one)
        return
    named = value if isinstance(value, list) else [value]
    for name in named:
        if not isinstance(name, str) or name not in TYPES:
            hint = suggestion(name, TYPES) if isinstance(name, str) else None
            raise GrammarError(f"{path}: {shown(name)} is not a type of JSON Schema.", hint=hint)
    if not named:
        raise GrammarError(f"{path}: must name at least one type.")
    facts.restrict(frozenset(named))


def _enum(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if keyword == "enum" and not isinstance(value, list):
        raise GrammarError(f"{path}: must be a list of values, not {shown(value)}.")
    allowed = value if keyword == "enum" else [value]
    before = facts.values
    facts.values = [
        one for one in allowed if before is None or any(same(one, other) for other in before)
    ]


def _required(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if isinstance(value, bool):
        # Draft 3: a flag of the property itself, which no later draft reads.
        return
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise GrammarError(f"{path}: must be a list of property names, not {shown(value)}.")
    facts.required.update(dict.fromkeys(value))


def count(value: Any, path: str) -> int:
    """A number of things; raises `GrammarError` for what is none."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or value < 0:
        raise GrammarError(f"{path}: must be a whole number from 0 on, not {shown(value)}.")
    return int(value)


def _count(facts: Facts, keyword: str, value: Any, path: str) -> None:
    stem, number = keyword[3:], count(value, path)
    if keyword.startswith("min"):
        facts.least[stem] = max(number, facts.least.get(stem, 0))
    else:
        facts.most[stem] = min(number, facts.most.get(stem, number))


def number(value: Any, path: str) -> float:
    """A bound; raises `GrammarError` for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise GrammarError(f"{path}: must be a number, not {shown(value)}.")
    return value


def bound_below(facts: Facts, value: float, excluded: bool) -> None:
    """Allow only numbers from `value` on, or above it."""
    new = (value, excluded)
    facts.low = new if facts.low is None or new > facts.low else facts.low


def bound_above(facts: Facts, value: float, excluded: bool) -> None:
    """Allow only numbers up to `value`, or below it."""
    old = facts.high
    if old is None or (value, not excluded) < (old[0], not old[1]):
        facts.high = (value, excluded)


def _bound(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if isinstance(value, bool) and keyword.startswith("exclusive"):
        # Draft 4: a flag beside `minimum` or `maximum`, read with it.
        return
    limit, excluded = number(value, path), keyword.startswith("exclusive")
    if keyword.lower().endswith("minimum"):
        bound_below(facts, limit, excluded)
    else:
        bound_above(facts, limit, excluded)


def divisor(value: Any, path: str) -> float:
    """A `multipleOf`; raises `GrammarError` for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise GrammarError(f"{path}: must be a number above 0, not {shown(value)}.")
    return value


def _multiple(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if divisor(value, path) != 1:
        facts.multiples.append(value)
    if float(value).is_integer():
        facts.integral = True


def _format(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if not isinstance(value, str):
        raise GrammarError(f"{path}: must be a string, not {shown(value)}.")
    facts.formats.append(value)


def _pattern(facts: Facts, keyword: str, value: Any, path: str) -> None:
    from llmgate.grammar.text.language import Language
    from llmgate.grammar.text.regex import Inexact

    if not isinstance(value, str):
        raise GrammarError(f"{path}: must be a string, not {shown(value)}.")
    try:
        facts.texts.append((keyword, path, Language.pattern(value)))
    except Inexact as error:
        facts.relax(keyword, _UNTRANSLATED.format(value, error), path)


def no_schema(schema: object, path: str) -> GrammarError:
    """The error for what stands where a schema should."""
    return GrammarError(f"{path}: a schema must be an object, true or false, not {shown(schema)}.")


def branches(value: object, path: str) -> list[Located]:
    """The schemas of an `anyOf`, `oneOf` or `allOf`."""
    if not isinstance(value, list) or not value:
        raise GrammarError(f"{path}: must be a list of at least one schema, not {shown(value)}.")
    return [(branch, f"{path}/{number}") for number, branch in enumerate(value)]


def schemas(value: object, path: str) -> dict[str, Located]:
    """The schemas of `properties` and the like."""
    if not isinstance(value, dict):
        raise GrammarError(f"{path}: must be an object of schemas, not {shown(value)}.")
    return {name: (schema, f"{path}/{name}") for name, schema in value.items()}


def needs(value: object, path: str) -> dict[str, list[str] | Located]:
    """What each property of `dependencies` and the like needs: others, or a schema."""
    out: dict[str, list[str] | Located] = {}
    for name, (one, place) in schemas(value, path).items():
        if not isinstance(one, list):
            out[name] = (one, place)
        elif all(isinstance(other, str) for other in one):
            out[name] = one
        else:
            raise GrammarError(f"{place}: must be a list of property names, not {shown(one)}.")
    return out


def _unique(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if value is True:
        facts.unique = path


def _unequal(facts: Facts, keyword: str, value: Any, path: str) -> None:
    from llmgate.grammar.text.language import Language

    texts = [one for one in value if isinstance(one, str)]
    if texts:
        facts.texts.append(("not", path, ~Language.literals(texts)))
    facts.unequal += [one for one in value if not isinstance(one, str)]


def _fractional(facts: Facts, keyword: str, value: Any, path: str) -> None:
    facts.fractional = True


def _indivisible(facts: Facts, keyword: str, value: Any, path: str) -> None:
    facts.indivisible.append(value)


def _unlike(facts: Facts, keyword: str, value: Any, path: str) -> None:
    facts.texts.append(("not", path, value))


def _absent(facts: Facts, keyword: str, value: Any, path: str) -> None:
    facts.absent.update(dict.fromkeys(value))


def _member(facts: Facts, keyword: str, value: Any, path: str) -> None:
    facts.members.append(Member(*value))


def _contained(facts: Facts, keyword: str, value: Any, path: str) -> None:
    schema, least, most, start = value
    facts.contained.append(Contained(schema, least, most, start, path))


READ: Final[dict[Any, Callable[[Facts, str, Any, str], None]]] = {
    "type": _type,
    "enum": _enum,
    "const": _enum,
    "required": _required,
    "format": _format,
    "pattern": _pattern,
    "multipleOf": _multiple,
    "uniqueItems": _unique,
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        _count,
    ),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _bound),
    Atom.UNEQUAL: _unequal,
    Atom.FRACTIONAL: _fractional,
    Atom.INDIVISIBLE: _indivisible,
    Atom.UNLIKE: _unlike,
    Atom.OTHER_FORMAT: _unlike,
    Atom.ABSENT: _absent,
    Atom.MEMBER: _member,
    Atom.CONTAINED: _contained,
}  # fmt: skip
