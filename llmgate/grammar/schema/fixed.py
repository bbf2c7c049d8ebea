"""Fixed values: which of them satisfy schemas, and which must not be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmgate.grammar.builder import Builder
from llmgate.grammar.schema.collect import collect
from llmgate.grammar.schema.evaluate import holds
from llmgate.grammar.schema.facts import Facts, Located, type_of
from llmgate.grammar.schema.strings import enumeration
from llmgate.grammar.text.regex import Inexact
from llmgate.grammar.values import Relaxed

if TYPE_CHECKING:
    from llmgate.grammar.schema.document import Document


def kept(facts: Facts, document: Document) -> tuple[list[Any], list[Relaxed]]:
    """The fixed values of the facts that satisfy all schemas, and what they are not held to."""
    assert facts.values is not None
    found: list[Any] = []
    left: list[Relaxed] = []
    for value in facts.values:
        try:
            if all(holds(value, part, document) for part in facts.parts):
                found.append(value)
        except Inexact as error:
            found.append(value)
            left.append(Relaxed(facts.path, "enum", f"not all is held: {error}"))
    return found, left


def typed(facts: Facts) -> list[Any]:
    """The fixed values that have the right types, where nothing else is said of them."""
    assert facts.values is not None
    types = facts.types
    if types is None:
        return facts.values
    return [
        value
        for value in facts.values
        if type_of(value) in types
        or ("integer" in types and isinstance(value, float) and value.is_integer())
        or ("integer" in types and type(value) is int)
    ]


def constants(builder: Builder, facts: Facts, name: str, hint: str) -> str | None:
    """A rule for null or the booleans, without those that must not be; None if none is left."""
    unequal = [one for one in facts.unequal if one is None or isinstance(one, bool)]
    values: list[bool | None] = [None] if name == "null" else [True, False]
    left = [value for value in values if not any(value is one for one in unequal)]
    if len(left) == len(values):
        return builder.use(name)
    return enumeration(builder, left, hint) if left else None


def finite(parts: tuple[Located, ...], document: Document) -> list[object] | None:
    """The values that satisfy all of `parts`, where they are few and known."""
    facts = Facts(parts[0][1], parts)
    for part in parts:
        collect(facts, part, document)
    values = facts.values
    if values is None and facts.types is not None and facts.types <= {"boolean", "null"}:
        values = [False, True] if "boolean" in facts.types else []
        values += [None] if "null" in facts.types else []
    if values is None:
        return None
    try:
        return [one for one in values if all(holds(one, part, document) for part in parts)]
    except Inexact:
        return None


def leave_out(facts: Facts, name: str) -> None:
    """Leave empty arrays or objects out; others can't be told from their neighbours."""
    empty: object = {} if name == "object" else []
    stem = "Properties" if name == "object" else "Items"
    for one in facts.unequal:
        if one == empty and type(one) is type(empty):
            facts.least[stem] = max(1, facts.least.get(stem, 0))
        elif isinstance(one, type(empty)):
            facts.relax("not", "a fixed array or object is not kept out")
