"""The fields of what servers reply, where they are what they should be."""

from __future__ import annotations

from typing import Any

from llmgate.errors import BackendError

# No server counts further: what is more is nonsense.
_MOST = 2**53


def string_in(reply: dict[str, Any], name: str) -> str | None:
    """The value of that name, if it is a string."""
    value = reply.get(name)
    return value if isinstance(value, str) else None


def piece_in(reply: dict[str, Any], name: str) -> str:
    """The piece of the answer of that name, empty where there is none.

    Raises `BackendError` for one that is no text: to leave it out would change the answer.
    """
    value = reply.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BackendError(f"The server sent a piece of its answer that is no text: {value!r:.200}")
    return value


def count_in(reply: dict[str, Any], name: str) -> int | None:
    """The value of that name, if it is a number of things."""
    value = reply.get(name)
    return value if type(value) is int and 0 <= value <= _MOST else None
