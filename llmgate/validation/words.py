"""Validation errors in short sentences that a model can act on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError

_PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$-]*\Z")
_MOST_CHARS = 60
_MOST_LISTED = 20


def rendered(path: Iterable[str | int]) -> str:
    """A path as one would write it: `params.days`, `items[0]`, `a["x y"]`; empty for the whole."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.match(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


def shortened(value: Any) -> str:
    """A value as JSON, in one line of at most about sixty characters."""
    if isinstance(value, str):
        value = value if len(value) <= _MOST_CHARS else value[:_MOST_CHARS] + "…"
    elif isinstance(value, dict | list) and len(value) > _MOST_CHARS:
        return f"an {'object' if isinstance(value, dict) else 'array'} of {len(value)} values"
    try:
        text = json.dumps(value, ensure_ascii=False, default=lambda v: type(v).__name__)
    except (ValueError, TypeError, RecursionError):
        text = f"a {type(value).__name__}"
    if isinstance(value, str) or len(text) <= _MOST_CHARS:
        return text
    return text[:_MOST_CHARS] + "…"


def clipped(message: str) -> str:
    """A message without its middle if it is long: its reason stands at the end."""
    return message if len(message) <= 240 else f"{message[:80]} … {message[-140:]}"


def listed(values: Sequence[Any]) -> str:
    """`"a", "b" or 5`."""
    shown = [shortened(value) for value in values[:_MOST_LISTED]]
    if len(values) > _MOST_LISTED:
        shown.append(f"{len(values) - _MOST_LISTED} others")
    return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def problem(error: ValidationError) -> str:
    """One error: its path and what is wrong there."""
    where = rendered(error.instance_path) or "the value"
    found = shortened(error.instance)
    kind = error.kind.as_dict()
    match error.kind.name:
        case "required":
            return f"{rendered([*error.instance_path, kind['property']])}: is required but missing"
        case "type":
            return f"{where}: {found} is not of type {listed(kind['types'])}"
        case "enum":
            return f"{where}: {found} is not one of {listed(kind['options'])}"
        case "const":
            return f"{where}: {found} is not {shortened(kind['expected_value'])}"
        case "additionalProperties" | "unevaluatedProperties":
            return f"{where}: {listed(kind['unexpected'])} is not a known property"
        case "anyOf" | "oneOf" if kind.get("context"):
            return _alternatives(where, found, error, kind["context"])
        case "falseSchema":
            return f"{where}: nothing may stand here, but {found} does"
        case "propertyNames":
            return f"{where}: a property has a bad name: {clipped(error.message)}"
    return f"{where}: {clipped(error.message)}"


def _alternatives(
    where: str, found: str, error: ValidationError, branches: list[list[ValidationError]]
) -> str:
    """What is wrong with the alternative that comes closest."""
    types: list[str] = []
    close: list[list[ValidationError]] = []
    for branch in branches:
        here = [e for e in branch if e.instance_path == error.instance_path]
        wrong = next((e for e in here if e.kind.name == "type"), None)
        if wrong is None:
            close.append(branch)
        else:
            types += [t for t in wrong.kind.as_dict()["types"] if t not in types]
    if error.kind.name == "oneOf" and any(not branch for branch in branches):
        return f"{where}: {found} fits more than one of the alternatives, but may fit only one"
    if not close:
        return f"{where}: {found} is not of type {listed(types)}"
    best = min(close, key=len)
    return f"{where}: fits none of the alternatives; in the closest, {problem(best[0])}"
