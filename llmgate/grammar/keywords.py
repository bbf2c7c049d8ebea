"""Reads the keywords of JSON Schema, one function each, into the record of facts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from llmgate.errors import GrammarError, suggestion
from llmgate.grammar.facts import TYPES, Facts, same, shown


def _type(facts: Facts, keyword: str, value: Any, path: str) -> None:
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
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise GrammarError(f"{path}: must be a list of property names, not {shown(value)}.")
    facts.required.update(dict.fromkeys(value))


def _count(facts: Facts, keyword: str, value: Any, path: str) -> None:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or value < 0:
        raise GrammarError(f"{path}: must be a whole number from 0 on, not {shown(value)}.")
    stem, number = keyword[3:], int(value)
    if keyword.startswith("min"):
        facts.least[stem] = max(number, facts.least.get(stem, 0))
    else:
        facts.most[stem] = min(number, facts.most.get(stem, number))


def _bound(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if isinstance(value, bool) and keyword.startswith("exclusive"):
        # Draft 4: a flag beside `minimum`, whose bound is then relaxed to the inclusive one.
        if value:
            facts.relax(keyword, "a flag of draft 4", path)
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise GrammarError(f"{path}: must be a number, not {shown(value)}.")
    new = (value, keyword.startswith("exclusive"))
    if keyword.lower().endswith("minimum"):
        old = facts.low
        facts.low = new if old is None or new > old else old
    else:
        old = facts.high
        tighter = old is None or (value, not new[1]) < (old[0], not old[1])
        facts.high = new if tighter else old


def _multiple(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise GrammarError(f"{path}: must be a number above 0, not {shown(value)}.")
    if float(value).is_integer():
        facts.integral = True
    if value != 1:
        facts.relax(keyword, "multiples are not counted", path)


def _format(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if not isinstance(value, str):
        raise GrammarError(f"{path}: must be a string, not {shown(value)}.")
    facts.formats.append(value)


def _pattern(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if not isinstance(value, str):
        raise GrammarError(f"{path}: must be a string, not {shown(value)}.")
    facts.relax(keyword, f"the expression {value!r} is not translated", path)


def _not(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if value is True or value == {}:
        facts.never = True
    elif value is not False:
        facts.relax(keyword, "exclusions are not translated", path)


def _unique(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if value:
        facts.relax(keyword, "equal items are not compared", path)


def _unsupported(why: str) -> Callable[[Facts, str, Any, str], None]:
    return lambda facts, keyword, value, path: facts.relax(keyword, why, path)


def _noted(facts: Facts, keyword: str, value: Any, path: str) -> None:
    """Read later, with its neighbours."""


READ: Final[dict[str, Callable[[Facts, str, Any, str], None]]] = {
    "type": _type,
    "enum": _enum,
    "const": _enum,
    "required": _required,
    "format": _format,
    "pattern": _pattern,
    "multipleOf": _multiple,
    "not": _not,
    "uniqueItems": _unique,
    **dict.fromkeys(
        (
            "properties", "patternProperties", "additionalProperties", "unevaluatedProperties",
            "items", "prefixItems", "additionalItems", "unevaluatedItems",
        ),
        _noted,
    ),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        _count,
    ),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _bound),
    **dict.fromkeys(("then", "else"), _unsupported("conditions are not followed")),
    "contains": _unsupported("what has to be among the items is not checked"),
    "propertyNames": _unsupported("the names of further properties are not limited"),
    **dict.fromkeys(
        ("dependentRequired", "dependentSchemas", "dependencies"),
        _unsupported("what depends on other properties is not followed"),
    ),
}  # fmt: skip
