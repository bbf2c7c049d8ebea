"""One call among marks while it is read: passed on at once, or when it has been judged."""

from __future__ import annotations

import json
from collections.abc import Iterator

from llmgate.types import CallDelta, Delta, Note
from llmgate.wrappers.answers import Call, Task, new_call_id
from llmgate.wrappers.rough import swallowed
from llmgate.wrappers.scanner import Event, Unreadable


class MarkedCall:
    """Where a complete grammar holds the backend, pieces are passed on as they come."""

    def __init__(self, task: Task, index: int) -> None:
        self._task = task
        self._index = index
        self._scanner = task.scanner()
        self._read: list[str] = []
        self._events: list[Event] = []

    @property
    def named(self) -> bool:
        """Whether its function's name has been read."""
        return any(event.kind == "name" for event in self._events)

    @property
    def done(self) -> bool:
        """Whether it has been read to its end."""
        return self._scanner.done

    @property
    def rest(self) -> str:
        """The text behind it."""
        return self._scanner.rest

    @property
    def written(self) -> str:
        """Its text so far."""
        return "".join(self._read)

    def feed(self, text: str) -> Iterator[Delta]:
        """Raises `Unreadable`, and `OutputError` for a call that is not valid."""
        self._read.append(text)
        for event in self._scanner.feed(text):
            self._events.append(event)
            if self._task.live:
                yield from self._delta(event)
        if self._scanner.done:
            yield from self.judged()

    @property
    def whole(self) -> bool:
        """Whether nothing is missing but the mark at its end, which a backend may not show."""
        return self._scanner.whole

    def judged(self) -> Iterator[Delta]:
        """What a whole call still has to say.

        Raises `OutputError` if it is not valid, and `Unreadable` if an end mark seems to be
        missing in it.
        """
        name, arguments = self._part("name"), self._part("arguments")
        if self._task.live:
            self._task.check_call(name, arguments)
            return
        if self._swallowed(name, arguments):
            raise Unreadable("the end mark of a parameter is missing")
        notes: list[Note] = []
        call = self._task.judge_written(name, arguments, self._part("thoughts"), notes)
        yield from whole(self._index, call)
        for note in notes:
            yield Delta(note=note)

    def _swallowed(self, name: str, arguments: str) -> bool:
        marks = self._task.style.parameter
        if not marks[0] or name not in self._task.schemas:
            return False
        return swallowed(json.loads(arguments), marks, self._task.schemas[name])

    def so_far(self) -> Iterator[Delta]:
        """What there is of it that was not passed on, if it names a function that there is."""
        if not self._task.live and self._part("name") in self._task.schemas:
            for event in self._events:
                yield from self._delta(event)

    def _part(self, kind: str) -> str:
        return "".join(event.text for event in self._events if event.kind == kind)

    def _delta(self, event: Event) -> Iterator[Delta]:
        if event.kind == "thoughts":
            yield Delta(text=event.text)
        elif event.kind == "name":
            yield Delta(call=CallDelta(self._index, id=new_call_id(), name=event.text))
        elif event.kind == "arguments":
            yield Delta(call=CallDelta(self._index, event.text))


def whole(index: int, call: Call) -> Iterator[Delta]:
    """The deltas of a call that has been judged."""
    if call.thoughts:
        yield Delta(text=call.thoughts)
    yield Delta(call=CallDelta(index, id=new_call_id(), name=call.name))
    yield Delta(call=CallDelta(index, call.arguments))
