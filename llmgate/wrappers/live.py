"""Calls that a complete grammar holds: passed on while they are written, checked at their end."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from functools import lru_cache
from typing import Any

from llmgate.errors import OutputError
from llmgate.types import CallDelta, Delta, Finish, Note
from llmgate.wrappers.answers import Task, new_call_id
from llmgate.wrappers.scanner import StyleScanner, Unreadable
from llmgate.wrappers.source import MAX_WORD


class LiveCalls:
    """Reads one call after the other."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._index = -1
        self._scanner: StyleScanner | None = None
        self._name = ""
        self._arguments: list[str] = []
        self._after = ""

    @property
    def named(self) -> bool:
        """Whether the call that is being read has its function's name already."""
        return bool(self._name)

    def feed(self, text: str) -> Iterator[Delta]:
        while text:
            if self._scanner is None:
                text = (self._after + text).lstrip()
                more_allowed = self._index < 0 or self._task.parallel
                if not more_allowed or not text.startswith("{"):
                    self._after = text
                    return
                if (whole := self._at_once(text)) is not None:
                    yield from self._passed(*whole)
                    return
                self._begin()
            text = yield from self._scan(text)

    def finish(self, reason: Finish) -> Iterator[Delta]:
        if self._scanner is not None:
            if reason != "length":
                written = "".join(self._arguments)
                raise OutputError("the call ends in the middle.", text=written)
            yield Delta(note=Note("truncated", "the call is cut off by the token limit"))
        if self._after.strip():
            yield Delta(note=Note("dropped", f"text after the call: {self._after.strip()[:80]!r}"))
        yield Delta(finish="tool_calls" if reason == "stop" else reason)

    def _at_once(self, text: str) -> tuple[str, str, Any] | None:
        """Name, arguments and their value, where `text` is one call from end to end.

        That is how it comes from a server that is faster than we are; then nothing has to be
        taken apart. None where there is any doubt.
        """
        task = self._task
        if task.thoughts != "off" or task.style.end:
            return None
        pattern = _whole(task.style.function_key, task.style.arguments_key, tuple(task.schemas))
        if (found := pattern.fullmatch(text)) is None:
            return None
        try:
            return found[1], found[2], json.loads(found[2])
        except (ValueError, RecursionError):
            return None

    def _passed(self, name: str, arguments: str, value: Any) -> Iterator[Delta]:
        self._index += 1
        self._name, self._after = name, ""
        yield Delta(call=CallDelta(self._index, id=new_call_id(), name=name))
        yield Delta(call=CallDelta(self._index, arguments))
        self._task.check_value(name, value, arguments)

    def _begin(self) -> None:
        self._index += 1
        self._scanner = self._task.scanner()
        self._name, self._arguments, self._after = "", [], ""

    def _scan(self, text: str) -> Generator[Delta, None, str]:
        """Pass a call's pieces on; returns the text behind it, empty while it goes on."""
        assert self._scanner is not None
        try:
            for event in self._scanner.feed(text):
                if event.kind == "thoughts":
                    yield Delta(text=event.text)
                elif event.kind == "name":
                    self._name = event.text
                    opening = CallDelta(self._index, id=new_call_id(), name=event.text)
                    yield Delta(call=opening)
                elif event.kind == "arguments":
                    self._arguments.append(event.text)
                    yield Delta(call=CallDelta(self._index, event.text))
        except Unreadable as error:
            raise OutputError(f"the call can't be read: {error}.", text=text) from error
        if not self._scanner.done:
            return ""
        self._task.check_call(self._name, "".join(self._arguments))
        rest, self._scanner = self._scanner.rest, None
        return rest


@lru_cache(maxsize=256)
def _whole(function_key: str, arguments_key: str, names: tuple[str, ...]) -> re.Pattern[str]:
    """A call of one of these functions, its name first, written as nearly all models do.

    What stands where the arguments should be may be more than an object: that is for JSON to say.
    """
    plain = [name for name in names if len(name) <= MAX_WORD and json.dumps(name) == f'"{name}"']
    named = "|".join(map(re.escape, plain)) or "(?!)"
    parts = [r"\{", f'"{re.escape(function_key)}"', ":", f'"({named})"', ","]
    parts += [f'"{re.escape(arguments_key)}"', ":", r"(\{.*\})", r"\}", ""]
    return re.compile(r"[ \t\r\n]*".join(parts), re.DOTALL)
