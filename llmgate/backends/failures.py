"""What an HTTP server says when it fails → our errors. One place for every envelope seen."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from llmgate.errors import (
    BackendBusy,
    BackendError,
    BackendRejected,
    BackendTimeout,
    BackendUnreachable,
    ContentFiltered,
    ContextOverflow,
    LlmgateError,
    NotYet,
    RefusedRequest,
)

_SHOWN = 300
# llama-cpp-python says so with status 500.
_INVALID = "validation error"
_OVERFLOW = (
    "exceeds the available context size",
    "exceed context window",
    "exceeds the context length",
    "maximum context length",
    "longer than the model's context length",
    "context size has been exceeded",
    "trying to keep the first",
)


class Failure(msgspec.Struct, frozen=True):
    """What could be read from a body: a message, and the server's own type and status.

    `word` is a code that is no number, `param` the field at fault.
    """

    message: str
    type: str = ""
    status: int | None = None
    word: str = ""
    param: str | None = None


def read(body: str) -> Failure | None:
    """The failure that a body reports, None if it is JSON that reports none.

    A body that is not JSON counts as the message itself.
    """
    value = decoded(body)
    return Failure(_short(body)) if value is None else find(value)


def decoded(text: str) -> Any:
    """The value of a JSON text, None if it is not JSON that can be used."""
    try:
        return msgspec.json.decode(text.removeprefix("\ufeff"))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def find(value: Any) -> Failure | None:
    """The failure in a decoded body: `{"error": …}`, `{"object": "error"}`, `{"detail": …}`."""
    if not isinstance(value, dict):
        return None
    if value.get("error"):
        return inner(value["error"])
    if value.get("object") == "error":
        return inner(value)
    if value.get("detail"):
        return inner(value["detail"])
    return None


def inner(value: Any) -> Failure:
    """The failure in the value of an `error` or `detail` field."""
    if isinstance(value, str):
        nested = decoded(value)
        return inner(nested) if isinstance(nested, dict) else Failure(_short(value))
    if isinstance(value, list):
        return Failure(_short("; ".join(inner(item).message for item in value)))
    if not isinstance(value, dict):
        return Failure(_short(str(value)))
    for key in ("error", "detail"):
        if value.get(key) and not value.get("message"):
            return inner(value[key])
    message = value.get("message") or value.get("msg") or msgspec.json.encode(value).decode()
    code, param = value.get("code"), value.get("param")
    return Failure(
        _short(str(message)),
        str(value.get("type") or ""),
        code if type(code) is int else None,
        code if isinstance(code, str) else "",
        param if isinstance(param, str) and param else None,
    )


def classify(
    failure: Failure,
    status: int,
    where: str,
    retry_after: str | None,
    kind: str = "llama-server",
) -> LlmgateError:
    """The error to raise for an answer with that HTTP status from the server at `where`.

    `kind` is what kind of server should be there.
    """
    if failure.status is not None and status < 400:
        status = failure.status
    said = f"The server at {where} says: {failure.message or 'nothing'} (status {status})"
    if _overflows(failure):
        return ContextOverflow(said)
    if failure.word == "content_filter":
        return ContentFiltered(said, hint="Its rules refuse these messages: change them.")
    if status in (401, 403):
        return BackendRejected(said, hint="Check `api_key` in the model's settings.")
    if status == 404:
        return BackendRejected(said, hint=f"Check `url` (it should be a {kind}) and `model`.")
    if failure.word == "insufficient_quota":
        return BackendRejected(said, hint="The account behind `api_key` has nothing left to spend.")
    if status == 429:
        return BackendBusy(said, retry_after=_seconds(retry_after))
    if status == 503 and any(word in failure.message.lower() for word in ("busy", "too quickly")):
        return BackendBusy(said, retry_after=_seconds(retry_after))
    if status == 503:
        hint = "It may still be loading its model: try again."
        if retry_after:
            return NotYet(said, hint=hint, retry_after=_seconds(retry_after))
        return BackendUnreachable(said, hint=hint)
    if status in (408, 504):
        return BackendTimeout(said)
    if 300 <= status < 400:
        return BackendRejected(said, hint="Put the address that it redirects to into `url`.")
    if status in (400, 413, 422):
        return RefusedRequest(said, param=failure.param)
    if 400 <= status < 500 or status == 501 or _INVALID in failure.message.lower():
        return BackendRejected(said)
    return BackendError(said)


def wait(seconds: str | None, milliseconds: str | None) -> str | None:
    """What two headers say of when to come back: as `retry-after` would say it."""
    try:
        return str(float(milliseconds or "") / 1000)
    except ValueError:
        return seconds or None


def _overflows(failure: Failure) -> bool:
    if failure.type == "exceed_context_size_error" or failure.word == "context_length_exceeded":
        return True
    message = failure.message.lower()
    return any(text in message for text in _OVERFLOW)


def _seconds(retry_after: str | None) -> float:
    """What a `retry-after` header says: seconds, or a date."""
    if not retry_after:
        return 1.0
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            date = parsedate_to_datetime(retry_after)
        except ValueError:
            return 1.0
        zoned = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = (zoned - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else 1.0


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
