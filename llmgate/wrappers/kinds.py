"""The JSON types that a schema allows for one parameter, to tell a string from other values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Kinds = frozenset[str]

ALL: Kinds = frozenset({"string", "number", "integer", "boolean", "null", "array", "object"})
STRING: Kinds = frozenset({"string"})
# Longer chains of references are no more than loops.
_MAX_STEPS = 32
_MAX_PARTS = 200


def kinds_of(schema: Mapping[str, Any], key: str) -> Kinds:
    """What the parameter `key` of the object that `schema` describes may be.

    Everything, if the schema does not say: for an unknown parameter, say, or behind a reference
    to another document. More is allowed than the schema means where it can't be told in a few
    steps (`not`, `if`, patterns of names).
    """
    found = _Schemas(schema).of_property(schema, key)
    return ALL if found is None else found


def type_of(value: Any) -> str:
    """The JSON type of a value; whole floats are integers, as JSON Schema has it."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    named = {str: "string", float: "number", type(None): "null", list: "array", dict: "object"}
    return named[type(value)]


def allows(kinds: Kinds, value: Any) -> bool:
    """Whether a value has one of the types."""
    kind = type_of(value)
    return kind in kinds or (kind == "integer" and "number" in kinds)


def resolved(schema: Any, root: Mapping[str, Any]) -> Any:
    """What a schema's `$ref` leads to inside `root`; the schema itself if it has none."""
    for _ in range(_MAX_STEPS):
        reference = schema.get("$ref") if isinstance(schema, Mapping) else None
        if not isinstance(reference, str):
            return schema
        if not reference.startswith("#"):
            return True
        target: Any = root
        for step in reference[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and step in target:
                target = target[step]
            elif isinstance(target, list) and step.isdigit() and int(step) < len(target):
                target = target[int(step)]
            else:
                return True
        schema = target
    return True


class _Schemas:
    """Looks through the parts of one schema, of which there may be endlessly many."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._left = _MAX_PARTS

    def of_property(self, schema: Any, key: str) -> Kinds | None:
        """The kinds of a property; None if the schema does not know it."""
        self._left -= 1
        schema = resolved(schema, self._root)
        if not isinstance(schema, Mapping) or self._left < 0:
            return None
        found: Kinds | None = None
        properties = schema.get("properties")
        if isinstance(properties, Mapping) and key in properties:
            found = self.of(properties[key])
        for part in _list(schema, "allOf"):
            found = _both(found, self.of_property(part, key))
        for name in ("anyOf", "oneOf"):
            choices = [self.of_property(part, key) for part in _list(schema, name)]
            if known := [kinds for kinds in choices if kinds is not None]:
                found = _both(found, frozenset().union(*known))
        if found is None and isinstance(more := schema.get("additionalProperties"), Mapping):
            found = self.of(more)
        return found

    def of(self, schema: Any) -> Kinds:
        """The kinds of the values that a schema allows."""
        self._left -= 1
        schema = resolved(schema, self._root)
        if not isinstance(schema, Mapping) or self._left < 0:
            return ALL
        kinds = _named(schema.get("type"))
        values = [schema["const"]] if "const" in schema else _list(schema, "enum")
        if values:
            kinds = _narrowed(kinds, frozenset(map(type_of, values)))
        for part in _list(schema, "allOf"):
            kinds = _narrowed(kinds, self.of(part))
        for name in ("anyOf", "oneOf"):
            if choices := [self.of(part) for part in _list(schema, name)]:
                kinds = _narrowed(kinds, frozenset().union(*choices))
        return kinds


def _named(types: Any) -> Kinds:
    names = types if isinstance(types, list) else [types]
    return frozenset(name for name in names if isinstance(name, str) and name in ALL) or ALL


def _both(one: Kinds | None, other: Kinds | None) -> Kinds | None:
    if one is None or other is None:
        return one if other is None else other
    return _narrowed(one, other)


def _narrowed(one: Kinds, other: Kinds) -> Kinds:
    """The types in both; whole numbers are numbers. What allows nothing is taken for no help."""
    common = one & other
    if _numbers(one) and _numbers(other):
        common |= {"integer"}
    return common or one


def _numbers(kinds: Kinds) -> bool:
    return "number" in kinds or "integer" in kinds


def _list(schema: Mapping[str, Any], name: str) -> list[Any]:
    found = schema.get(name)
    return found if isinstance(found, list) else []
