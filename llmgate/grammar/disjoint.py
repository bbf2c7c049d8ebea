"""Proves that no value can satisfy two schemas at once, as far as that is easy to see."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from llmgate.errors import RequestError
from llmgate.grammar.facts import KIND, Located, same
from llmgate.grammar.refs import References

_DEEPEST = 4


def disjoint(branches: list[Located], references: References, alone: bool) -> bool:
    """Whether every value that the grammar admits for one branch is refused by all others.

    `alone` says that nothing else holds for the value, so that a branch's grammar has no
    properties but the branch's own.
    """
    parts = [_parts(branch, references) for branch in branches]
    return all(
        _apart(left, right, references, 0)
        or (alone and _needs_unwritten(left, right) and _needs_unwritten(right, left))
        for left, right in combinations(parts, 2)
    )


def _parts(located: Located, references: References) -> list[Located]:
    """The schema and those that hold with it: what it refers to, and the members of `allOf`."""
    out: list[Located] = []
    todo = [located]
    seen: set[int] = set()
    while todo:
        schema, path = todo.pop()
        if not isinstance(schema, dict) or id(schema) in seen:
            continue
        seen.add(id(schema))
        out.append((schema, path))
        if "$ref" in schema:
            try:
                todo.append(references.resolve(schema["$ref"], path))
            except RequestError:
                # Compiling the branch reports it.
                continue
        members = schema.get("allOf")
        if isinstance(members, list):
            todo += [(member, path) for member in members]
    return out


def _apart(left: list[Located], right: list[Located], references: References, depth: int) -> bool:
    if depth > _DEEPEST:
        return False
    if any(_types_apart(one, other) for one, _ in left for other, _ in right):
        return True
    if not (_surely_object(left) or _surely_object(right)):
        return False
    for name in _required(left) | _required(right):
        mine, theirs = _property(left, name), _property(right, name)
        for one in mine:
            for other in theirs:
                first, second = _parts(one, references), _parts(other, references)
                if _apart(first, second, references, depth + 1):
                    return True
        if (not mine and _closed(left)) or (not theirs and _closed(right)):
            return True
    return False


def _types_apart(left: dict[str, Any], right: dict[str, Any]) -> bool:
    values, others = _values(left), _values(right)
    if values is not None and others is not None:
        return not any(same(value, other) for value in values for other in others)
    types, kinds = _types(left), _types(right)
    return types is not None and kinds is not None and types.isdisjoint(kinds)


def _values(schema: dict[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


def _types(schema: dict[str, Any]) -> set[str] | None:
    values = _values(schema)
    if values is not None:
        return {_type_of(value) for value in values}
    named = schema.get("type")
    if named is None:
        return None
    names = named if isinstance(named, list) else [named]
    return {"number" if name == "integer" else str(name) for name in names}


def _type_of(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _surely_object(parts: list[Located]) -> bool:
    """Whether the grammar for these schemas admits objects only."""
    for schema, _ in parts:
        types = _types(schema)
        if types is not None:
            if types == {"object"}:
                return True
        elif {KIND.get(keyword) for keyword in schema} - {None} == {"object"} and len(parts) == 1:
            return not any(keyword in schema for keyword in ("anyOf", "oneOf", "enum", "const"))
    return False


def _required(parts: list[Located]) -> set[str]:
    out: set[str] = set()
    for schema, _ in parts:
        names = schema.get("required")
        if isinstance(names, list):
            out.update(name for name in names if isinstance(name, str))
    return out


def _property(parts: list[Located], name: str) -> list[Located]:
    out = []
    for schema, path in parts:
        properties = schema.get("properties")
        if isinstance(properties, dict) and name in properties:
            out.append((properties[name], path))
    return out


def _closed(parts: list[Located]) -> bool:
    """Whether some schema refuses keys that none of them lists as a property."""
    return any(
        schema.get("additionalProperties") is False and "patternProperties" not in schema
        for schema, _ in parts
    )


def _needs_unwritten(writer: list[Located], reader: list[Located]) -> bool:
    """Whether `reader` requires a property that the grammar for `writer` never writes."""
    if len(writer) != 1 or not _surely_object(writer):
        return False
    schema = writer[0][0]
    written = schema.get("properties")
    applied = ("anyOf", "oneOf", "patternProperties", "$dynamicRef", "$recursiveRef")
    if not written or not isinstance(written, dict) or any(word in schema for word in applied):
        return False
    if schema.get("additionalProperties") not in (None, False):
        return False
    if "unevaluatedProperties" in schema:
        return False
    return bool(_required(reader) - written.keys() - _required(writer))
