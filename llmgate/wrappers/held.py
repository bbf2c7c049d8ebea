"""Answers that are kept back until they are whole, since repair can't take back what was sent."""

from __future__ import annotations

import json
from collections.abc import Iterator

from llmgate.errors import OutputError
from llmgate.types import CallDelta, Delta, Finish, Note
from llmgate.wrappers.answers import Call, Task, new_call_id
from llmgate.wrappers.scanner import Unreadable


class Held:
    """Keeps an answer (or its part from where a call begins, `after_text`) to its end."""

    def __init__(self, task: Task, *, after_text: bool = False) -> None:
        self._task = task
        self._after_text = after_text
        self._pieces: list[str] = []

    def feed(self, text: str) -> Iterator[Delta]:
        self._pieces.append(text)
        yield from ()

    def finish(self, reason: Finish) -> Iterator[Delta]:
        text = "".join(self._pieces)
        if reason == "length" and not self._complete(text):
            yield from self._cut(text)
        else:
            yield from self._whole(text, reason)

    @property
    def named(self) -> bool:
        """Whether the text is a call that has its function's name already."""
        try:
            events = list(self._task.scanner().feed("".join(self._pieces)))
        except Unreadable:
            return False
        return any(event.kind == "name" for event in events)

    def _complete(self, text: str) -> bool:
        """Whether the limit came just behind the answer's last brace."""
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return False
        return True

    def _whole(self, text: str, reason: Finish) -> Iterator[Delta]:
        calls: tuple[Call, ...] = ()
        notes: tuple[Note, ...] = ()
        if self._task.tools is not None:
            calls, notes = self._task.read_calls(text)
        if self._task.must_call and not calls:
            raise OutputError("the answer is not a function call.", text=text)
        if not calls:
            thoughts = None if self._task.tools is None else self._task.only_thoughts(text)
            if thoughts is not None:
                text = thoughts
            elif self._task.checker is not None and not self._after_text:
                text, notes = self._task.mend_text(text)
            if text:
                yield Delta(text=text)
        for index, call in enumerate(calls):
            if call.thoughts:
                yield Delta(text=call.thoughts)
            yield Delta(call=CallDelta(index, id=new_call_id(), name=call.name))
            yield Delta(call=CallDelta(index, call.arguments))
        for note in notes:
            yield Delta(note=note)
        yield Delta(finish="tool_calls" if calls and reason == "stop" else reason)

    def _cut(self, text: str) -> Iterator[Delta]:
        """An answer that the token limit cut: what there is, as it is, never closed by us."""
        tools = self._task.tools
        scanner = self._task.scanner()
        deltas: list[Delta] = []
        named = False
        try:
            for event in scanner.feed(text):
                if event.kind == "thoughts":
                    deltas.append(Delta(text=event.text))
                elif event.kind == "name":
                    named = tools is not None and event.text in tools.by_name
                    deltas.append(Delta(call=CallDelta(0, id=new_call_id(), name=event.text)))
                elif event.kind == "arguments":
                    deltas.append(Delta(call=CallDelta(0, event.text)))
        except Unreadable:
            named = False
        if named:
            yield from deltas
        elif text:
            yield Delta(text=text)
        yield Delta(note=Note("truncated", "the answer is cut off by the token limit"))
        yield Delta(finish="length")
