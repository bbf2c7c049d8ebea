"""Proves that no value satisfies two schemas at once, as far as that is easy to see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from llmgate.grammar.schema.collect import choose, collect
from llmgate.grammar.schema.evaluate import holds
from llmgate.grammar.schema.facts import TYPES, Facts, Group, Located
from llmgate.grammar.text.regex import Inexact

if TYPE_CHECKING:
    from llmgate.grammar.schema.document import Document

_DEEPEST: Final = 4
_DEEPEST_CHOICE: Final = 2
_MOST_BRANCHES: Final = 16
_ALL: Final = frozenset(TYPES)


def apart(left: Facts, right: Facts, document: Document, depth: int = 0) -> bool:
    """Whether nothing that the grammar for one admits satisfies the other, in both directions.

    What is still to be chosen on either side is left out of account.
    """
    if left.never or right.never:
        return True
    for one, other in ((left, right), (right, left)):
        if one.values is not None and _none_holds(one, other, document):
            return True
    types = _emitted(left) & _meant(right) | _meant(left) & _emitted(right)
    if all(_apart_as(kind, left, right, document, depth) for kind in types):
        return True
    return any(
        _apart_in_all(one, other, document, depth) for one, other in ((left, right), (right, left))
    )


def _apart_in_all(one: Facts, other: Facts, document: Document, depth: int) -> bool:
    """Whether one side is apart from the other in each branch of its first choice."""
    if depth >= _DEEPEST_CHOICE or not one.groups:
        return False
    group = one.groups[0]
    if len(group.branches) > _MOST_BRANCHES:
        return False
    for number, branch in enumerate(group.branches):
        if number == len(one.branched):
            one.branched.append(chosen_from(one, group, branch, document))
        if not apart(one.branched[number], other, document, depth + 1):
            return False
    return True


def chosen_from(facts: Facts, group: Group, branch: Located, document: Document) -> Facts:
    """The facts with a branch merged in, and the branch noted as one that holds."""
    merged = choose(facts, group, branch, document)
    merged.chosen = (branch,)
    return merged


def _facts(parts: tuple[Located, ...], document: Document) -> Facts:
    def make() -> Facts:
        facts = Facts(parts[0][1], parts)
        for part in parts:
            collect(facts, part, document)
        return facts

    how = ("facts", document.plainly, *(id(one) for one, _ in parts[1:]))
    found: Facts = document.derived(parts[0], how, make)
    return found


def _none_holds(one: Facts, other: Facts, document: Document) -> bool:
    """Whether none of one side's fixed values satisfies the other side's own schemas."""
    assert one.values is not None
    # What both sides are branches of says nothing about one of them.
    own = other.chosen or other.parts
    try:
        return not any(all(holds(value, part, document) for part in own) for value in one.values)
    except Inexact:
        return False


def _emitted(facts: Facts) -> frozenset[str]:
    """The types that the grammar for the facts admits, "number" standing for all numbers."""
    if facts.types is not None:
        return _numbers(facts.types)
    if facts.hints and facts.implied and not (facts.groups or facts.widened):
        return frozenset(facts.hints)
    return _numbers(_ALL)


def _meant(facts: Facts) -> frozenset[str]:
    return _numbers(_ALL if facts.types is None else facts.types)


def _numbers(types: frozenset[str]) -> frozenset[str]:
    return (types - {"integer"}) | {"number"} if "integer" in types else types


def _apart_as(kind: str, left: Facts, right: Facts, document: Document, depth: int) -> bool:
    if kind == "number":
        return _apart_numbers(left, right)
    if kind == "string":
        return _apart_sizes("Length", left, right) or _apart_strings(left, right)
    if kind == "array":
        return _apart_sizes("Items", left, right) or _apart_arrays(left, right, document, depth)
    if kind == "object":
        return _apart_sizes("Properties", left, right) or _apart_objects(
            left, right, document, depth
        )
    if kind == "boolean":
        return any(
            one is False for one in (*left.unequal, *right.unequal) if isinstance(one, bool)
        ) and any(one is True for one in (*left.unequal, *right.unequal))
    return any(one is None for one in (*left.unequal, *right.unequal))


def _apart_sizes(stem: str, left: Facts, right: Facts) -> bool:
    return any(
        stem in one.least and stem in other.most and one.least[stem] > other.most[stem]
        for one, other in ((left, right), (right, left))
    )


def _apart_numbers(left: Facts, right: Facts) -> bool:
    for one, other in ((left, right), (right, left)):
        if one.high is not None and other.low is not None:
            (high, below), (low, above) = one.high, other.low
            if high < low or (high == low and (above or below)):
                return True
        whole = one.integral or (one.types is not None and "number" not in one.types)
        if whole and other.fractional:
            return True
    return False


def _apart_strings(left: Facts, right: Facts) -> bool:
    if not all(one.texts or one.formats for one in (left, right)):
        return False
    from llmgate.grammar.schema.strings import allowed

    try:
        return (allowed(left) & allowed(right)).is_empty()
    except Inexact:
        return False


def _apart_arrays(left: Facts, right: Facts, document: Document, depth: int) -> bool:
    if depth >= _DEEPEST or not (left.arrays and right.arrays):
        return False
    certain = max(left.least.get("Items", 0), right.least.get("Items", 0))
    return any(
        apart_parts(left.item_at(number), right.item_at(number), document, depth)
        for number in range(min(certain, 4))
    )


def _apart_objects(left: Facts, right: Facts, document: Document, depth: int) -> bool:
    required = {**left.required, **right.required}
    if any(name in required for one in (left, right) for name in one.absent):
        return True
    if depth >= _DEEPEST or not (left.objects and right.objects):
        return False
    if any(part.patterns for one in (left, right) for part in one.objects):
        return _apart_listed(required, left, right, document, depth)
    return any(
        apart_parts(left.value_of(name, {}), right.value_of(name, {}), document, depth)
        for name in required
    )


def _apart_listed(
    required: dict[str, None], left: Facts, right: Facts, document: Document, depth: int
) -> bool:
    """The same, where patterns may say more about a property than its own schema."""
    for name in required:
        mine, theirs = (
            tuple(part.properties[name] for part in one.objects if name in part.properties)
            for one in (left, right)
        )
        if mine and theirs and apart_parts(mine, theirs, document, depth):
            return True
    return False


def apart_parts(
    left: tuple[Located, ...], right: tuple[Located, ...], document: Document, depth: int = 0
) -> bool:
    """Whether nothing that the grammar for one side admits satisfies the other."""
    if any(schema is False for schema, _ in (*left, *right)):
        return True
    if any(schema is True for schema, _ in (left[0], right[0])):
        return False
    return apart(_facts(left, document), _facts(right, document), document, depth + 1)
