"""The messages of an old agent as ours: calls with their results, events with their kinds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from llmgate import repair
from llmgate.agent.events import Alert, UserMessage, package_result
from llmgate.agent.importing.times import time_of
from llmgate.errors import LlmgateError
from llmgate.types import Message, ToolCall

_RESULTS = ("function", "tool")
_EVENTS = ("user_message", "heartbeat", "login", "system_alert")
# A thought that is said, what came of it, and the login.
_BOOT = 3
_LOST = "What came of this call was not saved."


class Converted(msgspec.Struct, frozen=True):
    """Messages, each with its kind and time; those from `window` on are what the model sees.

    `problems` say what of them could not be taken as it was.
    """

    messages: tuple[tuple[str, datetime, Message], ...]
    window: int
    problems: tuple[str, ...]


def converted(messages: Sequence[Any], window: int, fallback: datetime) -> Converted:
    """The messages of a history as ours, the first `window` of which the model does not see.

    Times that nobody knows are those of the messages around, or `fallback`.
    """
    reader = _Reader(_times(messages, fallback), _boot(messages))
    start = 0
    for number, message in enumerate(messages):
        if number == window:
            start = reader.begin(message)
        reader.read(number, message)
    reader.settle()
    if window >= len(messages):
        start = len(reader.found)
    return Converted(tuple(reader.found), start, tuple(reader.problems))


class _Reader:
    """Reads one message after the other: a call waits for its result."""

    def __init__(self, times: list[datetime], boot: int) -> None:
        self.found: list[tuple[str, datetime, Message]] = []
        self.problems: list[str] = []
        self._times = times
        self._open: list[tuple[str | None, ToolCall]] = []
        self._calls = 0
        self._asked = 0
        self._boot = boot

    def read(self, number: int, message: Any) -> None:
        """Add what a message becomes."""
        at = self._times[number]
        role = _role(message)
        if role in _RESULTS:
            self._result(number, message, at)
            return
        self.settle(at)
        if role == "user":
            self._user(message, at)
        elif role == "assistant":
            self._assistant(number, message, at)
        elif role == "system":
            self._add("event:system_alert", at, _user(Alert(_content(message)).packaged(at)))
        else:
            self.problems.append(f"message {number + 1} has no role that is known: left out")

    def begin(self, message: Any) -> int:
        """The place where a window begins that begins with this: at its call if it is a result."""
        if self._open and _role(message) in _RESULTS:
            return self._asked
        self.settle()
        return len(self.found)

    def settle(self, at: datetime | None = None) -> None:
        """Give the calls that wait in vain a result that says so."""
        for _, call in self._open:
            at = at or self.found[-1][1]
            self._answer(call, package_result(False, _LOST, at), at)
            self.problems.append(f"the result of a call of {call.name} was not saved")
        self._open = []

    def _user(self, message: dict[str, Any], at: datetime) -> None:
        content = _content(message)
        kind = _packaged(content).get("type")
        name = message.get("name")
        if kind not in _EVENTS:
            content, kind = UserMessage(content).packaged(at), "user_message"
        self._add(
            f"event:{kind}", at, Message("user", content, name=name if _is_text(name) else None)
        )

    def _assistant(self, number: int, message: dict[str, Any], at: datetime) -> None:
        content = message.get("content")
        thoughts = None if content is None else _content(message)
        calls = []
        for id_, called in _calls(message):
            name = called.get("name")
            if not _is_text(name) or not name:
                self.problems.append(f"message {number + 1} has a call without a name: left out")
                continue
            arguments, mended = _arguments(called.get("arguments"))
            if mended:
                self.problems.append(f"the arguments of a call of {name} were mended")
            self._calls += 1
            call = ToolCall(f"old{self._calls:06}", name, arguments)
            calls.append(call)
            self._open.append((id_, call))
        self._asked = len(self.found)
        kind = "boot" if number < self._boot else "assistant"
        self._add(kind, at, Message("assistant", thoughts, tuple(calls)))

    def _result(self, number: int, message: dict[str, Any], at: datetime) -> None:
        wanted, name = message.get("tool_call_id"), message.get("name")
        for place, (id_, call) in enumerate(self._open):
            if (wanted is not None and id_ == wanted) or (
                (wanted is None or id_ is None) and (name in (None, call.name))
            ):
                del self._open[place]
                kind = "boot" if number < self._boot else "result"
                self._answer(call, _content(message), at, kind)
                return
        self.settle(at)
        said = f"The result of an earlier call of {name or 'a function'}: {_content(message)}"
        self._add("event:system_alert", at, _user(Alert(said).packaged(at)))
        self.problems.append(f"message {number + 1} is a result whose call was not saved")

    def _answer(self, call: ToolCall, content: str, at: datetime, kind: str = "result") -> None:
        self._add(kind, at, Message("tool", content, tool_call_id=call.id, name=call.name))

    def _add(self, kind: str, at: datetime, message: Message) -> None:
        self.found.append((kind, at, message))


def _boot(messages: Sequence[Any]) -> int:
    """How many messages came with the agent: those before its first login. Nobody has said them."""
    for number, message in enumerate(messages[:_BOOT]):
        if isinstance(message, dict) and message.get("role") == "user":
            return number if _packaged(_content(message)).get("type") == "login" else 0
    return 0


def _times(messages: Sequence[Any], fallback: datetime) -> list[datetime]:
    """When each message was: as packaged in it, else as the one before it, else the next one."""
    known = [_time(message) for message in messages]
    at = next((time for time in known if time is not None), fallback)
    times = []
    for time in known:
        at = time or at
        times.append(at)
    return times


def _time(message: Any) -> datetime | None:
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, str) or message.get("role") == "assistant":
        return None
    time = _packaged(content).get("time")
    return time_of(time) if isinstance(time, str) else None


def _packaged(content: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _calls(message: dict[str, Any]) -> list[tuple[str | None, dict[str, Any]]]:
    """The calls of a message, in today's form or that of 2023, and their ids if they have any."""
    if isinstance(called := message.get("function_call"), dict):
        return [(None, called)]
    found = []
    listed = message.get("tool_calls")
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict) and isinstance(called := each.get("function"), dict):
            id_ = each.get("id")
            found.append((id_ if _is_text(id_) else None, called))
    return found


def _arguments(value: Any) -> tuple[str, bool]:
    """Arguments as JSON text of an object, and whether they had to be mended."""
    if value is None or value == "":
        return "{}", False
    if isinstance(value, dict):
        return _json(value), False
    if not isinstance(value, str):
        return _json({"value": value}), True
    try:
        if isinstance(msgspec.json.decode(value), dict):
            return value, False
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        read = repair.loads(value).value
    except LlmgateError:
        read = value
    mended = read if isinstance(read, dict) else {"value": value}
    return _json(mended), True


def _content(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "" if content is None else _json(content)


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _user(content: str) -> Message:
    return Message("user", content)


def _json(value: Any) -> str:
    # Not msgspec: it refuses the halves of characters that are mended when they are stored.
    return json.dumps(value, ensure_ascii=False)
