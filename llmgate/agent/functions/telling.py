"""What a model is told of a result or an error: short, without tracebacks and secrets."""

from __future__ import annotations

import dataclasses
import enum
import json
import re
from datetime import date, time
from typing import Any

import msgspec

from llmgate.errors import FunctionError, LlmgateError
from llmgate.validation.words import clipped

_SECRETS = (
    # https://user:password@host
    (re.compile(r"(?<=://)[^\s/@]+@"), "…@"),
    (
        re.compile(r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?(?:\w+\s+)?|bearer\s+)[^\s'\",;]+"),
        r"\1…",
    ),
    (
        re.compile(
            r"(?i)\b(\w*(?:api[_-]?key|apikey|access[_-]?key|token|secret|password|passwd|pwd)"
            r"['\"]?\s*[:=]\s*['\"]?)[^\s'\",;&]+"
        ),
        r"\1…",
    ),
    (
        re.compile(
            r"\b(?:sk|pk|rk)-[\w-]{8,}|\bgh[pousr]_\w{16,}|\bgithub_pat_\w{16,}|\bhf_\w{16,}|"
            r"\bxox[a-z]-[\w-]{8,}|\bAKIA[0-9A-Z]{12,}|\bAIza[\w-]{20,}|"
            r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
        ),
        "…",
    ),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*", re.DOTALL), "…"),
)
_JSON = (dict, list, tuple, set, frozenset, msgspec.Struct, date, time)


def told(error: BaseException) -> str:
    """An exception in one line for a model: what it says, but no traceback and no secrets."""
    # What is meant for the model is told as it is: it may quote the agent's own memory.
    if isinstance(error, FunctionError):
        return str(error)
    kind = "" if isinstance(error, LlmgateError) else type(error).__name__
    try:
        said = str(error)
    # An exception of somebody's own may fail even at that.
    except Exception:  # noqa: BLE001
        return kind
    for secret, mark in _SECRETS:
        said = secret.sub(mark, said)
    said = clipped(" ".join(said.split()))
    return ": ".join(filter(None, (kind, said)))


def returned(value: Any) -> str:
    """What a function returned, as text: JSON for what has parts, else as Python writes it."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, enum.Enum):
        return returned(value.value)
    is_data = dataclasses.is_dataclass(value) and not isinstance(value, type)
    if is_data or isinstance(value, _JSON) or hasattr(value, "model_dump"):
        try:
            plain = msgspec.to_builtins(value, enc_hook=_encoded, str_keys=True)
            return json.dumps(plain, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            return str(value)
    return str(value)


def cut(text: str, limit: int) -> str:
    """The text, or as much of its beginning as fits with a note that gives both lengths."""
    if len(text) <= limit:
        return text
    note = f"… [NOTE: function output was cut: {len(text)} characters, the limit is {limit}]"
    return text[: max(0, limit - len(note))] + note


def _encoded(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else str(value)
