"""JSON to the letter: what the standard library's decoder lets pass beyond it is refused."""

from __future__ import annotations

import json
from typing import Any

from llmgate.errors import OutputError

# Deeper values break those who come after: json.dumps and the validator recurse.
MAX_DEPTH = 250


def too_deep(value: Any, text: str | None = None) -> bool:
    """Whether a value is nested deeper than `MAX_DEPTH`; its `text`, if known, makes it cheap."""
    if text is not None and text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True


def _finite(token: str) -> float:
    number = float(token)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{token} is out of range")
    return number


def _refuse(token: str) -> Any:
    raise ValueError(f"{token} is not JSON")


STRICT = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def deep_error(text: str) -> OutputError:
    return OutputError(f"The model's JSON is nested deeper than {MAX_DEPTH} levels.", text=text)
