"""What has to be true of every answer, however its server fails."""

from __future__ import annotations

import json
from typing import Any

from fault import Fault
from visits import Answer

_SLACK = 2  # seconds by which a date may have come nearer


class Violation(Exception):
    """A law that does not hold."""


def judged(fault: Fault, backend: str, answer: Answer, *, streamed: bool) -> str:
    """What became of it: `error` or `answer`. Raises `Violation`."""
    events = streamed and answer.status == 200
    outcome = _stream(fault, answer) if events else _whole(fault, answer)
    expected = fault.expected(backend)
    if expected not in ("either", outcome):
        raise Violation(f"expected an {expected}, got {_shown(answer)}")
    return outcome


def _whole(fault: Fault, answer: Answer) -> str:
    """One that came at once."""
    try:
        body = answer.json
    except ValueError:
        raise Violation(f"not JSON: {_shown(answer)}") from None
    if answer.status == 200:
        choice = body["choices"][0]
        _said(fault, choice["message"]["content"])
        _ended(choice["finish_reason"])
        _counted(body["usage"])
        return "answer"
    _error(fault, body)
    _status(fault, answer)
    return "error"


def _stream(fault: Fault, answer: Answer) -> str:
    """Events: an answer to its end, or as far as it came and then an error."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        raise Violation(f"not events: {_shown(answer)}")
    *events, last = answer.events() or [""]
    text, finish = "", None
    for event in events:
        chunk = json.loads(event)
        if "error" in chunk:
            raise Violation(f"more behind an error: {_shown(answer)}")
        if finish is not None and chunk["choices"]:
            raise Violation(f"more behind the finish: {_shown(answer)}")
        for choice in chunk["choices"]:
            text += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
        if chunk.get("usage"):
            _counted(chunk["usage"])
    if last == "[DONE]":
        _said(fault, text)
        _ended(finish)
        return "answer"
    try:
        body = json.loads(last)
    except ValueError:
        raise Violation(f"neither [DONE] nor an error at the end: {_shown(answer)}") from None
    if finish is not None:
        raise Violation(f"an error behind the finish: {_shown(answer)}")
    if fault.says and not any(said.startswith(text) for said in fault.says):
        raise Violation(f"said {text!r} before the error")
    _error(fault, body)
    return "error"


def _said(fault: Fault, text: str | None) -> None:
    if fault.says and text not in fault.says:
        raise Violation(f"said {(text or '')[:200]!r}")


def _ended(finish: str | None) -> None:
    if finish not in ("stop", "length"):
        raise Violation(f"finished by {finish!r}")


def _counted(usage: dict[str, Any]) -> None:
    told = [usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")]
    told.append(usage.get("prompt_tokens_details", {}).get("cached_tokens", 0))
    if not all(type(count) is int and 0 <= count < 10**9 for count in told):
        raise Violation(f"the usage is {usage}")


def _error(fault: Fault, body: Any) -> None:
    """A body as OpenAI's clients know it."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict) or error.keys() != {"message", "type", "param", "code"}:
        raise Violation(f"no error of the known shape: {body}")
    message = error["message"]
    if not isinstance(message, str) or not message.strip() or len(message) > 2000:
        raise Violation(f"the message is {message!r}")
    if not isinstance(error["type"], str) or not isinstance(error["code"], str):
        raise Violation(f"type and code are {error}")
    if "Traceback" in message or "inside llmgate" in message:
        raise Violation(f"it failed inside: {message}")
    if fault.words not in message:
        raise Violation(f"{fault.words!r} is not in {message!r}")


def _status(fault: Fault, answer: Answer) -> None:
    if answer.status not in fault.status:
        raise Violation(f"the status is not in {fault.status}: {_shown(answer)}")
    if fault.retry_after is not None:
        wait = int(answer.headers.get("retry-after", "0"))
        if not max(1, fault.retry_after - _SLACK) <= wait <= fault.retry_after:
            raise Violation(f"retry-after is {wait}, not {fault.retry_after}")


def _shown(answer: Answer) -> str:
    return f"{answer.status} {answer.body[-400:].decode('utf-8', 'replace')}"
