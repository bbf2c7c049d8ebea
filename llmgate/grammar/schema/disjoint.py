"""Proves that no value satisfies two schemas at once, as far as that is easy to see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from llmgate.grammar.schema.collect import choose, collect
from llmgate.grammar.schema.evaluate import holds
from llmgate.grammar.schema.facts import TYPES, Facts, Group, Located
from llmgate.grammar.schema.keywords import Atom
from llmgate.grammar.text.regex import Inexact

if TYPE_CHECKING:
    from llmgate.grammar.schema.document import Document

_DEEPEST: Final = 4
_DEEPEST_CHOICE: Final = 2
_MOST_BRANCHES: Final = 16
_OBJECTS: Final = frozenset(("object",))
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
    return all(
        apart(chosen_from(one, group, branch, document), other, document, depth + 1)
        for branch in group.branches
    )


def chosen_from(facts: Facts, group: Group, branch: Located, document: Document) -> Facts:
    """The facts with a branch merged in, and the branch noted as one that holds."""
    merged = choose(facts, group, branch, document)
    merged.chosen = (branch,)
    return merged


def hopeless(facts: Facts, document: Document) -> bool:
    """Whether it is easy to see that nothing satisfies the facts."""
    if facts.never or facts.types == frozenset():
        return True
    if facts.types != _OBJECTS:
        return False
    if facts.absent and not facts.required.keys().isdisjoint(facts.absent):
        return True
    if any(part.patterns for part in facts.objects):
        return False
    return any(_valueless(facts, name, document) for name in facts.required)


def _valueless(facts: Facts, name: str, document: Document) -> bool:
    """Whether a property has no value; what was seen before is remembered in the facts."""
    done, values, types = facts.narrowed.get(name, (0, None, None))
    for number in range(done, len(facts.objects)):
        for one in facts.objects[number].about(name, {}):
            schema = one[0]
            if schema is False:
                return True
            if not isinstance(schema, dict):
                continue
            if len(schema) == 1 and "$ref" in schema:
                one = document.resolve(schema, "$ref", one[1])
                schema = one[0] if isinstance(one[0], dict) else {}
            named = schema.get("type")
            if named is not None:
                own = frozenset((named,)) if isinstance(named, str) else frozenset(named)
                types = own if types is None else _both(types, own)
            if values is not None:
                values = _kept(values, (one,), document)
            elif "const" in schema or isinstance(schema.get("enum"), list):
                values = [schema["const"]] if "const" in schema else schema["enum"]
                before = facts.objects[: number + 1]
                parts = tuple(part for each in before for part in each.about(name, {}))
                values = _kept(values, parts, document)
    facts.narrowed[name] = (len(facts.objects), values, types)
    return values == [] or types == frozenset()


def clashes(facts: Facts, located: Located, document: Document, depth: int = 0) -> bool:
    """Whether it is easy to see, without merging it in, that a schema can't hold too."""
    schema, path = located
    if isinstance(schema, bool):
        return not schema
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return False
    if "$ref" in schema and len(schema) == 1:
        return clashes(facts, document.resolve(schema, "$ref", path), document, depth + 1)
    types = schema.get("type")
    if types is not None and facts.types is not None:
        named = frozenset((types,)) if isinstance(types, str) else frozenset(types)
        if not _both(named, facts.types):
            return True
    if facts.types != _OBJECTS:
        return False
    absent = schema.get(Atom.ABSENT, ())
    if any(name in facts.required for name in absent):
        return True
    if facts.absent and any(name in facts.absent for name in schema.get("required", ())):
        return True
    properties = schema.get("properties") or {}
    if properties and isinstance(properties, dict):
        for name, (_, values, _) in facts.narrowed.items():
            if name in properties and values is not None:
                one = (properties[name], path)
                if isinstance(one[0], (bool, dict)) and not _kept(values, (one,), document):
                    return True
    for name, one in schema.get(Atom.PROPERTY, {}).items():
        known = facts.narrowed.get(name)
        if known and known[1] is not None and not _kept(known[1], (one,), document):
            return True
    if isinstance(schema.get("allOf"), list) and any(
        clashes(facts, (one, path), document, depth + 1) for one in schema["allOf"]
    ):
        return True
    if "not" in schema:
        ways = document.alternatives((schema["not"], path))
        return ways is not None and all(clashes(facts, way, document, depth + 1) for way in ways)
    return False


def _both(left: frozenset[str], right: frozenset[str]) -> frozenset[str]:
    both = left & right
    if ("integer" in left and "number" in right) or ("integer" in right and "number" in left):
        both |= {"integer"}
    return both


def _kept(values: list[Any], parts: tuple[Located, ...], document: Document) -> list[Any]:
    """The values that satisfy all schemas, or all values where that can't be told."""
    for one in parts:
        key = (*values, id(one[0])) if _texts(values) else None
        known = document.kept.get(key) if key is not None else None
        if known is None:
            try:
                left = _listed(values, one[0])
                if left is None:
                    left = [value for value in values if holds(value, one, document)]
            except Inexact:
                left = values
            known = (left, one[0])
            if key is not None:
                document.kept[key] = known
        values = known[0]
    return values


def _texts(values: list[Any]) -> bool:
    return {*map(type, values)} <= {str}


def _listed(values: list[Any], schema: Any) -> list[Any] | None:
    """The texts that a plain list of texts has, or has not; None where that isn't all there is."""
    wanted = True
    while isinstance(schema, dict) and len(schema) == 1 and "not" in schema:
        schema, wanted = schema["not"], not wanted
    if not isinstance(schema, dict) or len(schema) != 1:
        return None
    listed = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(listed, list) or not _texts(values):
        return None
    return [value for value in values if (value in listed) == wanted]


def _facts(parts: tuple[Located, ...], document: Document) -> Facts:
    def make() -> Facts:
        facts = Facts(parts[0][1], parts)
        for part in parts:
            collect(facts, part, document)
        return facts

    found: Facts = document.derived(parts[0], ("facts", *(id(one) for one, _ in parts[1:])), make)
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
