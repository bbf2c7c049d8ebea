"""JSON to the letter, and what is true of values however they were read."""

from __future__ import annotations

import json
from typing import Any

from llmgate.errors import OutputError

# What those who come after can take: json.dumps and the validator recurse.
MAX_DEPTH = 250


def _finite(token: str) -> float:
    number = float(token)
    if number - number != 0:
        raise ValueError(f"{token} is out of range")
    return number


def _refuse(token: str) -> Any:
    raise ValueError(f"{token} is not JSON")


STRICT = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def too_deep(value: Any, limit: int) -> bool:
    """Whether a value has more than `limit` levels of objects and arrays."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(limit):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return bool(level)


def deep_error(limit: int, text: str) -> OutputError:
    """The error for a text whose values are nested too deep for its reader."""
    return OutputError(f"The model's JSON is nested deeper than {limit} levels.", text=text)


def restarted(root: Any) -> dict[str, Any] | None:
    """The inner object, if a model began again inside its prefix, else None.

    `{"function": {"function": "x", "params": {…}}`: a prefix that the model was given, and its
    whole answer behind it. Only for a text that ends behind the inner object.
    """
    if not isinstance(root, dict) or len(root) != 1:
        return None
    ((key, inner),) = root.items()
    if not isinstance(inner, dict) or len(inner) < 2 or not isinstance(inner.get(key), str):
        return None
    return inner if next(iter(inner)) == key else None
