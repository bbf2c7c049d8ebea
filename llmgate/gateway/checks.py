"""Checks the answers of backends that read calls themselves, or whose server does.

Nobody held what the model wrote to anything. So a call is passed on when it is whole: its
arguments mended, coerced and valid by its tool's schema. So is a text that has to satisfy a
schema. Other text and thoughts are passed on as they come; calls that the server has overlooked
in the text are found there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import msgspec

from llmgate.errors import OutputError
from llmgate.styles import style
from llmgate.types import CallDelta, Delta, Finish, Note
from llmgate.wrappers import Reader
from llmgate.wrappers.answers import Call, Task, dropped, new_call_id

CHECKED = Note("constraint", "checked, not constrained")
# Models write calls in many ways, this one most often; all others are read where it is broken.
STYLE = style("hermes")
_CUT = Note("truncated", "the answer is cut off by the token limit")
_TWICE = Note("dropped", "a call that the server had both read and left in the text")
_IN_TEXT = Note("repaired", "a call that stood in the text was read")


class Checks:
    """Checks one answer. Pure: the backend's deltas in, the client's out."""

    def __init__(self, task: Task) -> None:
        self._task = task
        # Whether a call that has to come has come is seen at the end.
        self._reader = Reader(msgspec.structs.replace(task, must_call=False))
        self._said: list[str] = []
        self._passed = 0
        self._thought = False
        self._kept: list[Delta] = []
        self._calls: dict[int, list[CallDelta]] = {}
        self._in_text: list[list[CallDelta]] = []
        self._ids: set[str] = set()
        self._index = -1
        self._finish: Finish | None = None

    @property
    def written(self) -> str:
        """All that the model wrote, as it is shown it on a retry."""
        calls = [
            json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
            for name, arguments, _ in map(_joined, self._pieces())
        ]
        return "\n".join(["".join(self._said), *calls]).strip()

    def feed(self, delta: Delta) -> Iterator[Delta]:
        """What one delta adds to the answer. Raises `OutputError`."""
        if delta.note is not None:
            yield Delta(note=delta.note)
        if delta.reasoning:
            yield Delta(reasoning=delta.reasoning)
        if delta.text:
            self._said.append(delta.text)
            yield from self._found(self._reader.feed(delta.text))
        if delta.call is not None:
            self._calls.setdefault(delta.call.index, []).append(delta.call)
        if delta.usage is not None:
            yield Delta(usage=delta.usage)
        self._finish = delta.finish or self._finish

    def end(self) -> Iterator[Delta]:
        """What is left to say once the backend has ended. Raises `OutputError`."""
        if self._finish is None:
            return  # it broke its promise: whoever reads on sees that nothing has ended
        cut = self._finish == "length"
        rest = list(self._rest("length" if cut else "stop"))
        judged = list(self._judge_all(cut))
        promised = self._finish == "tool_calls" and self._task.tools is not None
        if self._index < 0 and (self._task.must_call or promised):
            raise OutputError("the answer is not a function call.", text=self.written)
        yield from self._kept
        yield from rest
        yield from judged
        if self._task.tools is not None or self._task.checker is not None:
            yield Delta(note=CHECKED)
        yield Delta(finish="length" if cut else "tool_calls" if self._index >= 0 else "stop")

    def _rest(self, reason: Finish) -> Iterator[Delta]:
        """What was kept back of the text."""
        real = self._calls and self._task.tools is not None
        if real and self._task.checker is not None:
            # Words beside a call need not satisfy the schema of an answer in words.
            if text := "".join(self._said):
                yield Delta(text)
        elif self._said or not real:
            try:
                yield from self._found(self._reader.finish(reason))
            except OutputError:
                rest = "".join(self._said).lstrip()[self._passed :]
                if not self._only_words(rest):
                    raise
                # What looked like the beginning of a call was none.
                yield from self._words(Delta(rest))

    def _found(self, deltas: Iterator[Delta]) -> Iterator[Delta]:
        """What the reader finds in the text."""
        for delta in deltas:
            if delta.call is not None:
                if delta.call.name is not None:
                    self._index += 1
                    self._in_text.append([])
                    yield Delta(note=_IN_TEXT)
                self._in_text[-1].append(delta.call)
                yield Delta(call=msgspec.structs.replace(delta.call, index=self._index))
            elif delta.finish is None:
                yield from self._words(delta)

    def _only_words(self, rest: str) -> bool:
        """Whether what the reader can't read names no function, and may be anything."""
        task = self._task
        if task.tools is None or task.checker is not None or self._index >= 0 or self._thought:
            return False
        return not any(name in rest for name in task.tools.by_name)

    def _words(self, delta: Delta) -> Iterator[Delta]:
        """Words, which wait for the call where there has to be one."""
        self._passed += len(delta.text)
        self._thought = self._thought or bool(delta.reasoning)
        if self._task.must_call and not delta.reasoning:
            self._kept.append(delta)
        else:
            yield delta

    def _judge_all(self, cut: bool) -> Iterator[Delta]:
        """The calls that the server has read."""
        calls = self._pieces()
        if calls and self._task.tools is None:
            if not self._said:
                raise OutputError("no function may be called here.", text=self.written)
            yield Delta(note=Note("dropped", f"{len(calls)} calls that nobody may make"))
            return
        wanted = len(calls) if self._task.parallel else max(0, -self._index)
        if surplus := len(calls[wanted:]):
            yield Delta(note=dropped(surplus))
        for number, pieces in enumerate(calls[:wanted], 1):
            yield from self._judge(pieces, cut and number == len(calls))

    def _judge(self, pieces: Sequence[CallDelta], cut: bool) -> Iterator[Delta]:
        """A call, once it is valid; one that the token limit `cut` as far as it goes."""
        name, arguments, id_ = _joined(pieces)
        notes: list[Note] = []
        call: Call | None = None
        if cut and not _whole(arguments):
            notes.append(_CUT)
            if self._task.tools is not None and name in self._task.tools.by_name:
                call = Call(name, arguments)
        else:
            try:
                call = self._task.judge_written(name, arguments.strip() or "{}", "", notes)
            except OutputError as error:
                error.text = self.written
                raise
        if call is not None and self._told(call):
            yield Delta(note=_TWICE)
        elif call is not None:
            self._index += 1
            id_ = new_call_id() if not id_ or id_ in self._ids else id_
            self._ids.add(id_)
            yield Delta(call=CallDelta(self._index, call.arguments, id=id_, name=call.name))
        for note in notes:
            yield Delta(note=note)

    def _told(self, call: Call) -> bool:
        """Whether it is one that was found in the text, where some servers leave it."""
        for number, pieces in enumerate(self._in_text):
            name, arguments, _ = _joined(pieces)
            if name == call.name and _same(arguments, call.arguments):
                del self._in_text[number]
                return True
        return False

    def _pieces(self) -> list[list[CallDelta]]:
        return [pieces for _, pieces in sorted(self._calls.items())]


def _joined(pieces: Sequence[CallDelta]) -> tuple[str, str, str]:
    """A call's name, arguments and id, the latter two empty where nobody gave them."""
    name = next((piece.name for piece in pieces if piece.name), "")
    id_ = next((piece.id for piece in pieces if piece.id), "")
    return name, "".join(piece.arguments for piece in pieces), id_


def _same(one: str, other: str) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def _whole(arguments: str) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        return False
