"""Takes an answer apart as it comes: thoughts, words, calls, in whatever style they are written.

A *boundary* is the answer's beginning and the place behind thoughts or a frame: there the marks
of the next part are looked for. Words are searched for the mark that begins calls. Where the
style has bare calls, words and calls are left to another mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TypeAlias

from llmgate.errors import OutputError
from llmgate.styles import REASONING, Pair
from llmgate.types import Delta, Finish, Note
from llmgate.wrappers.answers import Task, dropped
from llmgate.wrappers.held import Held
from llmgate.wrappers.lenient import read_calls
from llmgate.wrappers.marked import MarkedCall, whole
from llmgate.wrappers.marks import Mark, More, firsts, mark, search
from llmgate.wrappers.mode import Mode
from llmgate.wrappers.openers import openers
from llmgate.wrappers.scanner import Unreadable

_SHOWN = 80
_CUT = Note("truncated", "the answer is cut off by the token limit")

# How a part of an answer is read.
State: TypeAlias = "Callable[[Segments], Iterator[Delta]]"


class Segments:
    """Reads one answer. `plain` makes the mode for what follows the thoughts, in bare styles."""

    def __init__(self, task: Task, plain: Callable[[], Mode] | None = None) -> None:
        style = task.style
        self._task = task
        self._plain = plain
        self._mode: Mode | None = None
        # Functions, not methods: a reader that holds itself is cleared away late.
        self._state: State = Segments._boundary
        self._text = ""  # what is not certain yet
        self._openings, self._skip, self._firsts = _openings(
            (*task.reasoning, *(style.reasoning or REASONING)),
            style.frames,
            # A bare call may have a mark before it that says no more than the call itself.
            (*style.skip, *(style.opens if style.bare else ())),
        )
        self._close: Mark | None = None  # of the thoughts or the frame that is being read
        self._openers = openers(style, None if task.tools is None else tuple(task.schemas))
        self._thought = self._spoken = False  # whether these thoughts, these words have begun
        self._said: list[str] = []
        self._index = -1
        self._call: MarkedCall | None = None
        self._opener = ""
        self._broken: list[str] | None = None  # a call that is not written as it should be
        self._after: list[str] = []

    @property
    def named(self) -> bool:
        """Whether the call that is being read has its function's name already."""
        if self._mode is not None:
            return bool(getattr(self._mode, "named", False))
        return self._call is not None and self._call.named

    def feed(self, text: str) -> Iterator[Delta]:
        self._text += text
        before = None
        while self._text and before != (len(self._text), self._state):
            before = (len(self._text), self._state)
            yield from self._state(self)

    def finish(self, reason: Finish) -> Iterator[Delta]:
        if self._plain is not None and self._state == Segments._boundary:
            yield from self._delegate()
        if self._mode is not None:
            yield from self._mode.finish(reason)
            return
        if self._state == Segments._thinking:
            yield from self._think(self._text.rstrip())
        elif self._state in (Segments._words, Segments._boundary):
            if reason == "length" and self._begins_mark(self._text.lstrip()):
                yield Delta(note=_CUT)
            else:
                yield from self._say(self._text)
        elif self._state == Segments._calling:
            yield from self._end_in_call(reason)
        yield from self._end(reason)

    def _boundary(self) -> Iterator[Delta]:
        self._text = self._text.lstrip()
        if not self._text:
            return
        undecided = self._undecided = False
        if self._firsts is None or self._text[0] in self._firsts:
            for opening, close, state in self._openings:
                end = opening.match(self._text)
                if isinstance(end, More):
                    undecided = True
                elif end is not None:
                    self._text = self._text[end:]
                    self._close, self._state = close, state
                    self._thought = self._spoken = False
                    return
            if self._pass_over(self._skip):
                return
        opener = self._openers.here(self._text)
        if isinstance(opener, int):
            self._begin_calls(0, opener)
        elif self._undecided or undecided or opener is not None:
            return
        elif self._plain is not None:
            yield from self._delegate()
        elif self._text[0] == "{" and self._task.tools is not None:
            # Perhaps a call without its marks: models forget them.
            self._plain = lambda: Held(self._task)
            yield from self._delegate()
        else:
            self._close, self._state, self._spoken = None, Segments._words, False

    _undecided = False

    def _pass_over(self, marks: Sequence[Mark]) -> bool:
        """Take one of `marks` off the text's start; `_undecided` says whether one may come."""
        self._undecided = False
        for one in marks:
            end = one.match(self._text)
            if isinstance(end, More):
                self._undecided = True
            elif end is not None:
                self._text = self._text[end:]
                return True
        return False

    def _begins_mark(self, text: str) -> bool:
        marks = [*(opening for opening, _, _ in self._openings), *self._skip]
        found = [one.match(text) for one in marks] + [self._openers.here(text)]
        return bool(text) and any(isinstance(end, More) for end in found)

    def _thinking(self) -> Iterator[Delta]:
        assert self._close is not None
        certain, end = search((self._close,), self._text)
        kept = self._text[:certain].rstrip()  # white space before the mark is no thought
        yield from self._think(kept)
        self._text = self._text[len(kept) if end is None else end :]
        if end is not None:
            self._close, self._state = None, Segments._boundary

    def _think(self, text: str) -> Iterator[Delta]:
        text = text if self._thought else text.lstrip()
        if text:
            self._thought = True
            yield Delta(reasoning=text)

    def _words(self) -> Iterator[Delta]:
        if not self._spoken:
            self._text = self._text.lstrip()
        closes = self._skip if self._close is None else [self._close, *self._skip]
        before = self._said[-1][-1] if self._said else ""
        certain, end = search(closes, self._text, before=before if self._spoken else "")
        at, opener = self._openers.find(self._text, before, begins=not self._spoken)
        if opener is not None and at <= certain:
            yield from self._say(self._text[:at].rstrip())
            self._begin_calls(at, opener)
            return
        if end is not None and certain <= at:
            yield from self._say(self._text[:certain])
            self._text = self._text[end:]
            self._close, self._state = None, Segments._boundary
            return
        kept = self._text[: min(at, certain)].rstrip()  # what stands before a call is no part of it
        yield from self._say(kept)
        self._text = self._text[len(kept) :]

    def _say(self, text: str) -> Iterator[Delta]:
        if text:
            self._spoken = True
            self._said.append(text)
            if self._task.checker is None or self._task.live:
                yield Delta(text=text)

    def _delegate(self) -> Iterator[Delta]:
        assert self._plain is not None
        self._mode = self._plain()
        self._state = Segments._elsewhere
        yield from self._elsewhere()

    def _elsewhere(self) -> Iterator[Delta]:
        assert self._mode is not None
        text, self._text = self._text, ""
        yield from self._mode.feed(text)

    def _begin_calls(self, at: int, taken: int) -> None:
        """Calls begin at `at`, with a mark around them of which `taken` characters are read."""
        self._opener = self._text[at : at + taken]
        self._text = self._text[at + taken :]
        self._begin_call()

    def _begin_call(self) -> None:
        self._index += 1
        self._call = MarkedCall(self._task, self._index)
        self._state = Segments._calling

    def _calling(self) -> Iterator[Delta]:
        text, self._text = self._text, ""
        if self._broken is not None:
            self._broken.append(text)
            return
        assert self._call is not None
        try:
            yield from self._call.feed(text)
        except Unreadable as error:
            if self._task.live:
                raise OutputError(f"the call can't be read: {error}.", text=text) from error
            self._broken = [self._opener, self._call.written]
            return
        if self._call.done:
            self._text, self._call = self._call.rest, None
            self._state = Segments._between

    def _between(self) -> Iterator[Delta]:
        """Behind a call: the next one, the end of the calls, or what is not wanted."""
        yield from ()
        self._text = self._text.lstrip()
        if not self._text:
            return
        another = self._openers.next(self._text)
        if isinstance(another, int) and self._task.parallel:
            self._text = self._text[another:]
            self._begin_call()
            return
        over = self._openers.over(self._text)
        if isinstance(over, int):
            self._text = self._text[over:]
            return
        if self._pass_over(self._skip):
            return
        if not (self._undecided or isinstance(another, More) or isinstance(over, More)):
            self._state = Segments._rest

    def _rest(self) -> Iterator[Delta]:
        yield from ()
        self._after.append(self._text)
        self._text = ""

    def _end_in_call(self, reason: Finish) -> Iterator[Delta]:
        assert self._call is not None
        if self._broken is None and self._call.whole:
            try:
                yield from self._call.judged()
            except Unreadable:
                yield from self._mend(self._opener + self._call.written)
            else:
                self._after.append(self._call.rest)
        elif self._broken is None and reason == "length":
            yield from self._call.so_far()
            yield Delta(note=_CUT)
        elif self._task.live:
            raise OutputError("the call ends in the middle.", text=self._call.written)
        else:
            yield from self._mend("".join(self._broken or (self._opener, self._call.written)))

    def _mend(self, written: str) -> Iterator[Delta]:
        """The calls in a text that is not written as it should be."""
        task = self._task
        notes: list[Note] = []
        found = read_calls(
            written, task.style, task.schemas, place=task.thoughts, thoughts_key=task.thoughts_key
        )
        if not found:
            raise OutputError("the function call can't be read.", text=written)
        if not task.parallel and len(found) > 1:
            notes.append(dropped(len(found) - 1))
            found = found[:1]
        for number, rough in enumerate(found, self._index):
            if rough.cut == "string":
                raise OutputError("the function call is cut off.", text=written)
            notes += rough.notes
            yield from whole(
                number,
                task.judge(rough.name, dict(rough.arguments), rough.thoughts, written, notes),
            )
        for note in notes:
            yield Delta(note=note)

    def _end(self, reason: Finish) -> Iterator[Delta]:
        task, said, called = self._task, "".join(self._said), self._index >= 0
        if task.must_call and not called:
            raise OutputError("the answer is not a function call.", text=said)
        if task.checker is not None:
            if called:
                yield from () if task.live or not said else (Delta(text=said),)
            elif task.live and reason == "stop":
                task.check_text(said)
            elif not task.live:
                yield from self._mended(said, reason)
        rest = "".join(self._after).strip()
        if rest:
            yield Delta(note=Note("dropped", f"text after the function call: {rest[:_SHOWN]!r}"))
        yield Delta(finish="tool_calls" if called and reason == "stop" else reason)

    def _mended(self, said: str, reason: Finish) -> Iterator[Delta]:
        """A text answer that had to be whole to be judged."""
        if reason == "length":
            yield Delta(text=said)
            yield Delta(note=_CUT)
            return
        text, notes = self._task.mend_text(said)
        yield Delta(text=text)
        for note in notes:
            yield Delta(note=note)


@lru_cache(maxsize=256)
def _openings(
    thoughts: tuple[Pair, ...], frames: tuple[Pair, ...], skip: tuple[str, ...]
) -> tuple[tuple[tuple[Mark, Mark | None, State], ...], tuple[Mark, ...], frozenset[str] | None]:
    """What begins a part of an answer: the mark, the one that ends the part, how that is read.

    Beside it the marks that are passed over, and the characters that any of these begin with.
    """
    openings: list[tuple[Mark, Mark | None, State]] = [
        (mark(a), mark(b), Segments._thinking) for a, b in dict.fromkeys(thoughts)
    ]
    openings += [(mark(a), mark(b) if b else None, Segments._words) for a, b in frames]
    skipped = tuple(mark(text) for text in skip)
    return tuple(openings), skipped, firsts([*(one for one, _, _ in openings), *skipped])
