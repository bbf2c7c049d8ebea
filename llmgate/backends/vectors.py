"""Embeddings over HTTP: what is sent, and what comes back in the shapes that servers use."""

from __future__ import annotations

import base64
import binascii
import math
import sys
from array import array
from collections.abc import Sequence
from typing import Any

from llmgate.errors import BackendError
from llmgate.types import Embeddings, Usage


def read(reply: dict[str, Any], texts: Sequence[str]) -> Embeddings:
    """The vectors in OpenAI's shape (`data`) or Ollama's (`embeddings`).

    Raises `BackendError` unless there is one for each text, all of one size.
    """
    if isinstance(reply.get("data"), list):
        entries = [entry for entry in reply["data"] if isinstance(entry, dict)]
        # Nobody promises that they come in their order.
        entries.sort(key=lambda entry: _number(entry.get("index")))
        vectors = [_vector(entry.get("embedding")) for entry in entries]
    else:
        listed = reply.get("embeddings")
        vectors = [_vector(entry) for entry in listed] if isinstance(listed, list) else []
    if len(vectors) != len(texts):
        raise BackendError(f"The server sent {len(vectors)} vectors for {len(texts)} texts.")
    if len(sizes := {len(vector) for vector in vectors}) > 1 or 0 in sizes:
        raise BackendError(f"The server sent vectors of the sizes {sorted(sizes)}.")
    usage = reply.get("usage")
    told = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return Embeddings(
        tuple(vectors), Usage(prompt=_number(told) or _number(reply.get("prompt_eval_count")))
    )


def _vector(value: Any) -> tuple[float, ...]:
    """One vector, of numbers or packed. Raises `BackendError`."""
    if isinstance(value, str):
        try:
            numbers = array("f", base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError) as error:
            raise BackendError(f"The server sent a vector that can't be read: {error}.") from error
        return tuple(_little(numbers))
    # One vector in a list of its own: llama-server's, where it does not pool.
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    if not isinstance(value, list) or not all(_finite(number) for number in value):
        raise BackendError(f"The server sent a vector that can't be read: {str(value)[:100]}.")
    return tuple(float(number) for number in value)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


def _little(numbers: array[float]) -> array[float]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
