"""One closing bracket too few or too many: of all places the one that the schema speaks for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from llmgate.repair.shapes import Shapes, own_types

_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|([{}\[\],])', re.DOTALL)
_OPENER = {"}": "{", "]": "["}
_COMBINED = frozenset(
    ("$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "enum", "const")
)
_NAMES: dict[type, tuple[str, ...]] = {
    dict: ("object",),
    list: ("array",),
    str: ("string",),
    bool: ("boolean",),
    int: ("integer", "number"),
    float: ("number",),
    type(None): ("null",),
}
# How many characters may be decoded for all places together.
_MOST = 1_000_000
_LONGEST = 100_000


def read(text: str, shapes: Shapes) -> tuple[Any, list[tuple[int, str]]] | None:
    """The only value that one closing bracket more or less makes of a text and that fits.

    With it the edits; None if there is none or if there are several.
    """
    found: dict[str, tuple[Any, int, str]] = {}
    budget = _MOST
    if len(text) > _LONGEST:
        return None
    for at, rule, other in _readings(text):
        budget -= len(other)
        if budget < 0:
            return None
        try:
            value = msgspec.json.decode(other)
            if fits(value, shapes) and not _repeats(other):
                found.setdefault(json.dumps(value), (value, at, rule))
        except (ValueError, RecursionError):
            continue
    if len(found) != 1:
        return None
    ((value, at, rule),) = found.values()
    opened, end = _bounds(text)
    around = [(0, "around")] if text[:opened].strip() else []
    behind = [(end, "around")] if text[end:].strip() else []
    return value, [*around, (at, rule), *behind]


def _bounds(text: str) -> tuple[int, int]:
    """From the first opening bracket to behind the last closing one."""
    opened = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=0)
    return opened, max(text.rfind("}"), text.rfind("]")) + 1


def _readings(text: str) -> Iterator[tuple[int, str, str]]:
    """Each place for the bracket, what is done there, and the text then."""
    opened, end = _bounds(text)
    tokens = [(found.start(), found[1]) for found in _TOKEN.finditer(text, opened, end) if found[1]]
    chars = [char for _, char in tokens]
    lacking = {closer: chars.count(_OPENER[closer]) - chars.count(closer) for closer in "}]"}
    amounts = sorted(map(abs, lacking.values()))
    if amounts != [0, 1]:
        return
    closer = next(closer for closer, amount in lacking.items() if amount)
    if lacking[closer] > 0:
        for at, char in (*tokens, (end, ",")):
            if char == "," or (char in "}]" and char != closer):
                yield at, "closer", text[opened:at] + closer + text[at:end]
    else:
        for at, char in tokens:
            if char == closer:
                yield at, "extra", text[opened:at] + " " + text[at + 1 : end]


def fits(value: Any, shapes: Shapes) -> bool:
    """Whether nothing that is known of the schema speaks against a value."""
    pending = [(value, shapes.root)]
    while pending:
        value, form = pending.pop()
        if form is None:
            continue
        if form.types is not None and form.types.isdisjoint(_kinds(value)):
            return False
        if isinstance(value, dict):
            if not form.required <= value.keys():
                return False
            for key, child in value.items():
                options = form.known.get(key, form.others if form.sealed else [{}])
                if not options:
                    return False
                # Where one of several says nothing, none of them is certain.
                if not all(isinstance(option, dict) and option for option in options):
                    continue
                if (
                    isinstance(child, (dict, list))
                    or len(options) > 1
                    or _COMBINED & options[0].keys()
                ):
                    pending.append((child, shapes.of(options)))
                else:
                    types = own_types(options[0])
                    if types is not None and types.isdisjoint(_kinds(child)):
                        return False
        elif isinstance(value, list):
            pending += [(child, shapes.item(form, index)) for index, child in enumerate(value)]
        elif isinstance(value, str) and form.texts is not None and value not in form.texts:
            return False
    return True


def _kinds(value: Any) -> tuple[str, ...]:
    """The names of the types that a value has."""
    if isinstance(value, float) and value.is_integer():
        return ("number", "integer")
    return _NAMES[type(value)]


def _repeats(text: str) -> bool:
    """Whether an object in a valid text has a key twice."""
    twice = False

    def check(pairs: list[tuple[str, Any]]) -> None:
        nonlocal twice
        twice = twice or len(pairs) != len(dict(pairs))

    json.loads(text, object_pairs_hook=check)
    return twice
