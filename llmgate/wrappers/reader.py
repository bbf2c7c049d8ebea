"""Reads an answer as it comes: text is passed on at once, calls as soon as they are certain.

`Segments` takes it apart. Where calls are bare JSON, the first characters behind the thoughts
decide how the rest is read: `LiveCalls` where a complete grammar holds the backend, `Held` where
an answer has to be whole before it can be judged, `Words` for text, which becomes `Held` where a
call begins in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmgate.errors import OutputError
from llmgate.grammar import Closer
from llmgate.styles import Style
from llmgate.types import Delta, Finish, Note
from llmgate.wrappers.answers import Task
from llmgate.wrappers.held import Held
from llmgate.wrappers.live import LiveCalls
from llmgate.wrappers.mode import Mode
from llmgate.wrappers.segments import Segments

_FENCE = "```"


class Reader:
    """The reader of one answer. White space before it is no part of it.

    `grammar` is the one that was made for the answer, if it holds the backend. A forced call
    that comes to the token limit is then ended in the shortest way that the grammar allows, since
    whoever forces a call wants a valid one; its finish says `length`, a note what was added.
    Other answers are cut where they are.
    """

    def __init__(self, task: Task, grammar: str | None = None) -> None:
        self._task = task
        self._grammar = grammar
        self._prefill = ""
        self._begun: list[Delta] = []
        self._written: list[str] = []
        self._segments = Segments(task, (lambda: Bare(task)) if task.style.bare else None)

    def begin(self, prefill: str) -> None:
        """Read what the prompt wrote of the answer; what is told of it comes with the rest."""
        self._prefill = prefill
        self._begun = list(self._segments.feed(prefill))

    def feed(self, text: str) -> Iterator[Delta]:
        """What `text` adds to the answer. Raises `OutputError` if it can't be one."""
        self._written.append(text)
        try:
            if self._begun:
                yield from self._early()
            yield from self._segments.feed(text)
        except OutputError as error:
            self._tell(error)
            raise

    def finish(self, reason: Finish) -> Iterator[Delta]:
        """The rest of the answer and its finish; `reason` is why the backend stopped.

        Raises `OutputError` if the answer is not what the request needs.
        """
        try:
            yield from self._early()
            if reason == "length" and (ending := self._ending()):
                yield from self._segments.feed(ending)
                yield Delta(note=Note("closed", f"{ending!r} was added at the token limit"))
            yield from self._segments.finish(reason)
        except OutputError as error:
            self._tell(error)
            raise

    def _early(self) -> list[Delta]:
        """What the prompt's beginning of the answer told, once."""
        begun, self._begun = self._begun, []
        return begun

    def _tell(self, error: OutputError) -> None:
        """Give an error the whole answer: the model is shown it on a retry."""
        error.text = self._prefill + "".join(self._written)

    def _ending(self) -> str:
        """What completes a forced call that was cut; which function to call is never made up.

        Raises `OutputError` for one that its grammar does not allow as far as it goes.
        """
        if self._grammar is None or not self._task.must_call:
            return ""
        if not self._segments.named and not self._task.one_function:
            return ""
        closer = Closer(self._grammar)
        closer.feed("".join(self._written))
        ending = closer.ending
        if ending is None:
            raise OutputError("the function call is cut off, and can't be completed.")
        return ending


class Bare:
    """What follows the thoughts where calls are bare: the first characters decide what it is."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._pending = ""
        self._mode: Mode | None = None

    @property
    def named(self) -> bool:
        """Whether a call is being read that has its function's name already."""
        return isinstance(self._mode, LiveCalls | Held) and self._mode.named

    def feed(self, text: str) -> Iterator[Delta]:
        if self._mode is None:
            text = self._pending = (self._pending + text).lstrip()
            self._mode = self._choose(text) if text else None
        if self._mode is not None:
            yield from self._mode.feed(text)

    def finish(self, reason: Finish) -> Iterator[Delta]:
        if self._mode is None:  # nothing came, or no more than the beginning of a fence
            self._mode = Held(self._task)
            yield from self._mode.feed(self._pending)
        yield from self._mode.finish(reason)

    def _choose(self, start: str) -> Mode | None:
        """How to read an answer that begins so; None if that can't be told yet."""
        task = self._task
        if task.tools is None and task.checker is None:
            return Words(task)
        if task.live and task.tools is None:
            return Words(task)
        if task.live and task.checker is None and start[0] == "{":
            return LiveCalls(task)
        if task.must_call or task.checker is not None or start[0] == "{":
            return Held(task)
        if start[0] == "[":  # some models write their calls as a list
            following = start[1:].lstrip()[:1]
            return None if not following else Held(task) if following == "{" else Words(task)
        if start.startswith(_FENCE):
            return Words(task)
        return None if _FENCE.startswith(start) else Words(task)


class Words:
    """Text, passed on as it comes, but for what may be the beginning of a call on a new line."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._said: list[str] = []
        self._pending = ""
        self._call_start = None if task.tools is None else CallStart(task.style, task.thoughts_key)
        self._held: Held | None = None

    def feed(self, text: str) -> Iterator[Delta]:
        if self._held is not None:
            yield from self._held.feed(text)
            return
        self._pending += text
        certain, is_call = len(self._pending), False
        if self._call_start is not None:
            certain, is_call = self._call_start.find(self._pending, at_start=not self._said)
        if certain:
            self._said.append(self._pending[:certain])
            yield Delta(text=self._said[-1])
            self._pending = self._pending[certain:]
        if is_call:
            self._held = Held(self._task, after_text=bool(self._said))
            yield from self._held.feed(self._pending)

    def finish(self, reason: Finish) -> Iterator[Delta]:
        if self._held is not None:
            yield from self._held.finish(reason)
            return
        if self._pending:
            self._said.append(self._pending)
            yield Delta(text=self._pending)
        if self._task.checker is not None and reason == "stop":
            self._task.check_text("".join(self._said))
        yield Delta(finish=reason)


class CallStart:
    """Finds where a call begins on a line of its own, perhaps inside a fence."""

    def __init__(self, style: Style, thoughts_key: str) -> None:
        keys = (style.function_key, thoughts_key)
        key = "|".join(re.escape(key) for key in keys)
        key_so_far = rf'(?:"[^"\s]{{0,{max(map(len, keys))}}}"?\s{{0,8}})?'
        # White space is bounded, so that no text makes the reader hold back without end.
        fence = r"(?:```(?:json)?[ \t]{0,8}\n[ \t]{0,20})"
        fence_so_far = r"(?:`{0,3}|```(?:j|js|jso|json)[ \t]{0,8})"
        begun = rf'[ \t]{{0,20}}{fence}?\{{\s{{0,40}}"(?:{key})"\s{{0,8}}:'
        so_far = rf"[ \t]{{0,20}}(?:{fence_so_far}|{fence}|{fence}?\{{\s{{0,40}}{key_so_far})\Z"
        self._line = (re.compile(rf"\n{begun}"), re.compile(rf"\n{so_far}"))
        self._first_line = (
            re.compile(rf"(?:\n|\A){begun}"),
            re.compile(rf"(?:\n|\A){so_far}"),
        )

    def find(self, text: str, *, at_start: bool) -> tuple[int, bool]:
        """How much of `text` is certainly words, and whether a call begins behind it.

        `at_start` says whether `text` begins the answer. A line break counts to the line that
        it begins, so what is certain never ends in one.
        """
        begun, so_far = self._first_line if at_start else self._line
        if found := begun.search(text):
            return found.start(), True
        if found := so_far.search(text):
            return found.start(), False
        return len(text), False
