"""How deep JSON is nested: what is near the interpreter's limit can be read, but not written."""

from __future__ import annotations

from typing import Any

DEEPEST = 200


def too_deep(raw: bytes, value: Any) -> bool:
    """Whether a decoded value is nested deeper than `DEEPEST`; `raw` is the text it stood in."""
    if raw.count(b"[") + raw.count(b"{") <= DEEPEST:
        return False
    open_values = [(value, 1)]
    while open_values:
        inner, depth = open_values.pop()
        if isinstance(inner, (dict, list)):
            if depth > DEEPEST:
                return True
            within = inner.values() if isinstance(inner, dict) else inner
            open_values.extend((each, depth + 1) for each in within)
    return False
