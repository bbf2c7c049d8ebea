"""A conversation as a person would write it down: who said what, what was called and found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llmgate.memory.conversation import Logged
from llmgate.types import ToolCall

_TIME = "%Y-%m-%d %H:%M"
# Characters of what was said, thought, called and found that a transcript keeps.
_SAID = 2_000
_THOUGHT = 300
_CALLED = 200
_FOUND = 400


def lines_of(logged: Sequence[Logged]) -> list[str]:
    """A line for each thing that happened; heartbeats and empty results are left out."""
    lines: list[str] = []
    names: dict[str, str] = {}
    for entry in logged:
        names.update((call.id, call.name) for call in entry.message.tool_calls)
        at = entry.at.astimezone().strftime(_TIME)
        lines.extend(f"[{at}] {_line(text)}" for text in _told(entry, names))
    return lines


def _told(entry: Logged, names: dict[str, str]) -> list[str]:
    message = entry.message
    content = (message.content or "").strip()
    if message.role == "assistant":
        told = []
        if content:
            who = "Assistant thought" if message.tool_calls else "Assistant"
            told.append(f"{who}: {_cut(content, _THOUGHT if message.tool_calls else _SAID)}")
        return told + [_called(call) for call in message.tool_calls]
    if message.role == "tool":
        return _found(content, names.get(message.tool_call_id or "", message.name or "a function"))
    return _event(content, message.name)


def _called(call: ToolCall) -> str:
    values = _decoded(call.arguments)
    if call.name == "send_message" and isinstance(said := values.get("message"), str):
        return f"Assistant: {_cut(said.strip(), _SAID)}"
    written = ", ".join(f"{key}={_cut(_text(value), _CALLED)}" for key, value in values.items())
    return f"Assistant called {call.name}({_cut(written, 2 * _CALLED)})"


def _found(content: str, name: str) -> list[str]:
    values = _decoded(content)
    if not {"status", "message"} <= values.keys():
        return [f"{name} returned: {_cut(content, _FOUND)}"] if content else []
    text = _text(values["message"]).strip()
    if values["status"] == "OK":
        empty = name == "send_message" or text in ("", "None")
        return [] if empty else [f"{name} returned: {_cut(text, _FOUND)}"]
    return [f"{name} failed: {_cut(text, _FOUND)}"]


def _event(content: str, name: str | None) -> list[str]:
    values = _decoded(content)
    kind = values.get("type")
    if kind == "heartbeat":
        return []
    if kind == "login":
        return ["The person came back."]
    if kind == "system_alert":
        return [f"System: {_cut(_text(values.get('message', '')), _FOUND)}"]
    if kind == "user_message":
        name = values.get("name") or name
        content = _text(values.get("message", ""))
    return [f"{_text(name) if name else 'User'}: {_cut(content.strip(), _SAID)}"] if content else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _decoded(text: str) -> dict[str, Any]:
    """The object that a text is the JSON of, an empty one if it is not."""
    if not text.lstrip().startswith("{"):
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _line(text: str) -> str:
    """The text on one line: lines begin with their time, whatever a text says."""
    return " ".join(text.split())


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    begin = most * 2 // 3
    return f"{text[:begin]} […] {text[begin - most :]}"
