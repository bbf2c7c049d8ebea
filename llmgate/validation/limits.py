"""What would crash or stall the validator, found before it sees a schema or a value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

# jsonschema-rs refuses more than 255 levels, and overflows the stack on values that are much
# deeper (measured: ended by signal 11 at 100,000).
MAX_DEPTH = 250
_MAX_SCHEMA_NODES = 100_000
# Alternatives multiply: 25 definitions that each name the next one twice ran for minutes.
_MAX_ALTERNATIVES = 10_000


def fault(value: Any, *, schema: bool = False) -> str | None:
    """Why a value is not JSON that can be checked, None if it can."""
    pending = [(value, 1)]
    nodes = 0
    while pending:
        item, depth = pending.pop()
        nodes += 1
        if schema and nodes > _MAX_SCHEMA_NODES:
            return f"it has more than {_MAX_SCHEMA_NODES} parts"
        if isinstance(item, dict | list):
            if depth > MAX_DEPTH:
                return f"it is nested deeper than {MAX_DEPTH} levels"
            if isinstance(item, dict):
                for key, child in item.items():
                    if not isinstance(key, str):
                        return f"its key {key!r} is not a string"
                    pending.append((key, depth))
                    pending.append((child, depth + 1))
            else:
                pending += [(child, depth + 1) for child in item]
        elif isinstance(item, str):
            if not item.isascii() and any("\ud800" <= char <= "\udfff" for char in item):
                return "it contains half of a surrogate pair"
        elif isinstance(item, float):
            if not math.isfinite(item):
                return f"it contains {item}, which is not JSON"
        elif item is not None and not isinstance(item, int):
            return f"it contains a {type(item).__name__}, which is not JSON"
    return None


def explosion(schema: Any) -> str | None:
    """Why checking one value against a schema might never end, None if it will end.

    It counts the subschemas that apply to the same value, through references, each as often
    as it is reached. Recursion that goes down into the value is not counted.
    """
    counts: dict[int, int] = {}
    for start in _objects(schema):
        pending = [start]
        while pending:
            node = pending[-1]
            children = list(_in_place(node, schema))
            if id(node) not in counts:
                counts[id(node)] = 0  # a reference back to here adds nothing
                pending += [child for child in children if id(child) not in counts]
                continue
            pending.pop()
            counts[id(node)] = 1 + sum(counts[id(child)] for child in children)
            if counts[id(node)] > _MAX_ALTERNATIVES:
                return f"more than {_MAX_ALTERNATIVES} subschemas apply to one value"
    return None


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    pending = [schema]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield item
            pending += item.values()
        elif isinstance(item, list):
            pending += item


def _in_place(node: dict[str, Any], root: Any) -> Iterator[dict[str, Any]]:
    """The subschemas that apply to the same value as `node`."""
    children = [node.get(keyword) for keyword in ("not", "if", "then", "else")]
    for keyword in ("allOf", "anyOf", "oneOf"):
        listed = node.get(keyword)
        children += listed if isinstance(listed, list) else []
    dependent = node.get("dependentSchemas")
    children += dependent.values() if isinstance(dependent, dict) else []
    children += [resolved(node.get(key), root) for key in ("$ref", "$dynamicRef", "$recursiveRef")]
    for child in children:
        if isinstance(child, dict):
            yield child


def resolved(reference: Any, root: Any) -> Any:
    """What a local reference (`#`, `#/$defs/x`) names, None if it is another kind or wrong."""
    if not isinstance(reference, str) or "#" not in reference:
        return None
    fragment = unquote(reference.partition("#")[2])
    if fragment and not fragment.startswith("/"):
        return None
    steps = [step.replace("~1", "/").replace("~0", "~") for step in fragment.split("/")[1:]]
    return at(root, steps)


def at(root: Any, steps: list[str] | list[str | int]) -> Any:
    """What stands in a schema under a path, None if nothing does."""
    node = root
    for step in steps:
        if isinstance(node, dict) and step in node:
            node = node[step]
        elif isinstance(node, list) and str(step).isdecimal() and int(step) < len(node):
            node = node[int(step)]
        else:
            return None
    return node


def fetch_nothing(uri: str) -> Any:
    """The retriever for the validator: it refuses."""
    raise LookupError("schemas are never fetched, so put it under $defs")
