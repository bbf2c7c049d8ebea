"""JSON Schemas in the strict subset that OpenAI holds answers to.

There every object lists all of its properties as required and allows no others. A property that
may be left out becomes one that may be null: what comes back is checked against the client's own
schema, and a null that this does not allow is dropped there.

Source: OpenAI's guide "Structured model outputs", section "Supported schemas".
"""

from __future__ import annotations

from typing import Any

from llmgate.types import JSONSchema

_MAX_DEPTH = 10
_MAX_PROPERTIES = 5000
_KNOWN = frozenset(
    {
        "type",
        "enum",
        "const",
        "anyOf",
        "$ref",
        "$defs",
        "definitions",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "description",
        "title",
        "pattern",
        "format",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minItems",
        "maxItems",
    }
)
# These say nothing that the answer is held to.
_DROPPED = frozenset({"$schema", "$id", "$comment", "default", "examples", "deprecated"})
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
)


def strict(schema: JSONSchema) -> dict[str, Any] | None:
    """A schema of the subset that allows nothing but what this one allows, null aside.

    None where there is none: maps with any keys, `oneOf`, `allOf`, conditions, …
    """
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return None
    try:
        narrowed = _narrowed(schema, 0)
    except _Beyond:
        return None
    return narrowed if _properties(narrowed) <= _MAX_PROPERTIES else None


class _Beyond(Exception):
    """Something that the subset has no words for."""


def _narrowed(schema: Any, depth: int) -> dict[str, Any]:
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        raise _Beyond
    said = {key: value for key, value in schema.items() if key not in _DROPPED}
    if said.keys() - _KNOWN or not said:
        raise _Beyond
    if "format" in said and said["format"] not in _FORMATS:
        raise _Beyond
    kinds = said.get("type")
    objects = kinds == "object" or (isinstance(kinds, list) and "object" in kinds)
    if objects or "properties" in said:
        if not objects:
            raise _Beyond
        said |= _object(said, depth)
    elif kinds == "array" and "items" not in said:
        raise _Beyond
    if "items" in said:
        said["items"] = _narrowed(said["items"], depth + 1)
    if "anyOf" in said:
        said["anyOf"] = [_narrowed(branch, depth + 1) for branch in said["anyOf"]]
    for key in ("$defs", "definitions"):
        if key in said:
            said[key] = {name: _narrowed(part, depth + 1) for name, part in said[key].items()}
    return said


def _object(schema: dict[str, Any], depth: int) -> dict[str, Any]:
    """What an object has to say in the subset."""
    properties = schema.get("properties") or {}
    required = schema.get("required") or []
    if schema.get("additionalProperties") not in (None, False):
        raise _Beyond  # also `true`: whoever writes it wants a map
    if not properties or set(required) - properties.keys():
        raise _Beyond
    narrowed = {name: _narrowed(part, depth + 1) for name, part in properties.items()}
    return {
        "properties": {
            name: part if name in required else _or_null(part) for name, part in narrowed.items()
        },
        "required": list(properties),
        "additionalProperties": False,
    }


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, or null in its place."""
    return {"anyOf": [schema, {"type": "null"}]}


def _properties(schema: Any) -> int:
    """How many properties there are in all."""
    if isinstance(schema, list):
        return sum(map(_properties, schema))
    if not isinstance(schema, dict):
        return 0
    own = schema.get("properties")
    return (len(own) if isinstance(own, dict) else 0) + sum(map(_properties, schema.values()))
