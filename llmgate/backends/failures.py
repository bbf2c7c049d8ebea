"""What an HTTP server says when it fails → our errors. One place for every envelope seen."""

from __future__ import annotations

from typing import Any

import msgspec

from llmgate.errors import (
    BackendBusy,
    BackendError,
    BackendRejected,
    BackendUnreachable,
    ContextOverflow,
    LlmgateError,
)

_SHOWN = 300
_OVERFLOW = (
    "exceeds the available context size",
    "exceed context window",
    "maximum context length",
    "longer than the model's context length",
    "context size has been exceeded",
    "trying to keep the first",
)


class Failure(msgspec.Struct, frozen=True):
    """What could be read from a body: a message, and the server's own type and status."""

    message: str
    type: str = ""
    status: int | None = None


def read(body: str) -> Failure | None:
    """The failure that a body reports, None if it is JSON that reports none.

    A body that is not JSON counts as the message itself.
    """
    value = decoded(body)
    return Failure(_short(body)) if value is None else find(value)


def decoded(text: str) -> Any:
    """The value of a JSON text, None if it is not JSON that can be used."""
    try:
        return msgspec.json.decode(text)
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
    code = value.get("code")
    return Failure(
        _short(str(message)), str(value.get("type") or ""), code if type(code) is int else None
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
    if status in (401, 403):
        return BackendRejected(said, hint="Check `api_key` in the model's settings.")
    if status == 404:
        return BackendRejected(said, hint=f"Check `url` (it should be a {kind}) and `model`.")
    if status == 429:
        return BackendBusy(said, retry_after=_seconds(retry_after))
    if status == 503 and "busy" in failure.message.lower():
        return BackendBusy(said, retry_after=_seconds(retry_after))
    if status == 503:
        return BackendUnreachable(said, hint="It may still be loading its model: try again.")
    if 300 <= status < 400:
        return BackendRejected(said, hint="Put the address that it redirects to into `url`.")
    if 400 <= status < 500 or status == 501:
        return BackendRejected(said)
    return BackendError(said)


def _overflows(failure: Failure) -> bool:
    if failure.type == "exceed_context_size_error":
        return True
    message = failure.message.lower()
    return any(text in message for text in _OVERFLOW)


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.0, float(retry_after or 1.0))
    except ValueError:
        return 1.0


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
