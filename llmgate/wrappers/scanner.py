"""Reads a call `{"function": NAME, "params": {…}}` as it comes, piece by piece.

What it passes on is exactly what the model wrote: argument text is never decoded and encoded
again. Each character is looked at a bounded number of times, however the text is cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Generator, Iterator
from typing import Literal, TypeAlias, TypeVar

import msgspec

from llmgate.wrappers.spec import Spec, Thoughts

T = TypeVar("T")
Kind = Literal["thoughts", "name", "arguments", "end"]
_SPACE = re.compile(r"[ \t\r\n]*")
_BETWEEN = re.compile(r'[^"{}\[\]]*')
_RAW_STRING = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_HIGH = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# As much of a string's inside as can be decoded now: no cut escape, no half of a surrogate pair.
_WHOLE_STRING = re.compile(
    rf'[^"\\]*(?:(?:{_HIGH}{_LOW}|\\u(?![dD][89abAB])[0-9a-fA-F]{{4}}|\\["\\/bfnrt])[^"\\]*)*'
)
_LONE_HIGH = re.compile(_HIGH)
_ESCAPE_LENGTH, _PAIR_LENGTH = 6, 12


class Unreadable(Exception):
    """The text is not a call of the expected shape; the message says where it stops being one."""


class Event(msgspec.Struct, frozen=True):
    """A piece of a call. `thoughts` is decoded text, `arguments` raw JSON, `name` whole."""

    kind: Kind
    text: str = ""


# None asks for more text, anything else is an event.
Steps: TypeAlias = Generator[Event | None, None, T]


class CallScanner:
    """Reads one call. After its `end` event, `rest` holds what followed the closing brace."""

    def __init__(self, spec: Spec, thoughts: Thoughts, keep: Container[str] = ()) -> None:
        """`keep`: functions whose own parameter has the key of the thoughts."""
        self._spec = spec
        self._thoughts = thoughts
        self._keep = keep
        self._buffer = ""
        self._at = 0
        self._steps = self._call()
        self.done = False

    @property
    def rest(self) -> str:
        """Text after the call."""
        return self._buffer[self._at :] if self.done else ""

    def feed(self, text: str) -> Iterator[Event]:
        """Events that `text` makes certain. Raises `Unreadable`."""
        self._buffer = self._buffer[self._at :] + text
        self._at = 0
        while not self.done:
            event = next(self._steps)
            if event is None:
                return
            self.done = event.kind == "end"
            yield event

    def _call(self) -> Steps[None]:
        name: str | None = None
        yield from self._expect("{")
        while True:
            key = yield from self._string("a key")
            yield from self._expect(":")
            if key == self._spec.function_key:
                name = yield from self._string("the function's name")
                yield Event("name", name)
            elif key == self._spec.thoughts_key and self._thoughts == "beside":
                yield from self._decoded()
            elif key == self._spec.arguments_key and name is not None:
                yield from self._arguments(name)
            else:
                raise Unreadable(f"the key {key!r} was not expected here")
            if (yield from self._one_of(",}")) == "}":
                break
        yield Event("end")

    def _arguments(self, name: str) -> Steps[None]:
        """The arguments' object, raw, without the thoughts if they are its first key."""
        if self._thoughts != "inside" or name in self._keep:
            yield from self._raw_object("")
            return
        yield from self._expect("{")
        if (yield from self._peek()) == "}":
            yield from self._raw_object("{")
            return
        key = yield from self._string("a key")
        if key != self._spec.thoughts_key:
            yield from self._raw_object("{" + json.dumps(key, ensure_ascii=False))
            return
        yield from self._expect(":")
        yield from self._decoded()
        if (yield from self._peek()) == ",":
            yield from self._expect(",")
            yield from self._skip_space()
        yield from self._raw_object("{")

    def _raw_object(self, head: str) -> Steps[None]:
        """Pass an object on to its end; `head` is what of it was consumed before."""
        if not head:
            yield from self._peek("{")
        depth, in_string = (1, False) if head else (0, False)
        while True:
            end, depth, in_string = _follow(self._buffer, self._at, depth, in_string)
            if piece := head + self._take(end):
                yield Event("arguments", piece)
            if depth == 0:
                return
            head = ""
            yield None

    def _decoded(self) -> Steps[None]:
        """Pass a string's value on as `thoughts`, decoded as far as that is certain."""
        yield from self._expect('"')
        while True:
            if raw := self._take(_end(_WHOLE_STRING, self._buffer, self._at)):
                yield Event("thoughts", _decode(raw))
            if self._buffer.startswith('"', self._at):
                self._at += 1
                return
            if self._starts_lone_surrogate():
                self._at += _ESCAPE_LENGTH
                yield Event("thoughts", "\N{REPLACEMENT CHARACTER}")
            elif len(self._buffer) - self._at >= _ESCAPE_LENGTH and not self._starts_high():
                raise Unreadable(f"not an escape: {self._buffer[self._at : self._at + 6]!r}")
            else:
                yield None

    def _starts_high(self) -> bool:
        return _LONE_HIGH.match(self._buffer, self._at) is not None

    def _starts_lone_surrogate(self) -> bool:
        """Whether half of a pair stands here whose other half can't come any more."""
        following = self._buffer[self._at + _ESCAPE_LENGTH : self._at + _ESCAPE_LENGTH + 2]
        can_follow = "\\u".startswith(following)
        complete = len(self._buffer) - self._at >= _PAIR_LENGTH
        return self._starts_high() and (not can_follow or complete)

    def _string(self, what: str) -> Steps[str]:
        """A whole string, decoded."""
        yield from self._expect('"', what)
        while True:
            end = _end(_RAW_STRING, self._buffer, self._at)
            if self._buffer.startswith('"', end):
                raw = self._take(end)
                self._at += 1
                return _decode(raw)
            yield None

    def _expect(self, character: str, what: str = "") -> Steps[None]:
        yield from self._peek(character, what)
        self._at += 1

    def _one_of(self, characters: str) -> Steps[str]:
        found = yield from self._peek(characters)
        self._at += 1
        return found

    def _peek(self, allowed: str = "", what: str = "") -> Steps[str]:
        """The next character that is not white space, which must be one of `allowed`."""
        yield from self._skip_space()
        found = self._buffer[self._at]
        if allowed and found not in allowed:
            wanted = what or " or ".join(repr(c) for c in allowed)
            raise Unreadable(f"expected {wanted}, found {found!r}")
        return found

    def _skip_space(self) -> Steps[None]:
        while True:
            self._at = _end(_SPACE, self._buffer, self._at)
            if self._at < len(self._buffer):
                return
            yield None

    def _take(self, end: int) -> str:
        """The text up to `end`, which counts as read."""
        taken = self._buffer[self._at : end]
        self._at = end
        return taken


def ends_in_string(text: str) -> bool:
    """Whether the first object in `text` is cut off in the middle of a string."""
    start = text.find("{")
    return start >= 0 and _follow(text, start, 0, False)[2]


def _follow(text: str, at: int, depth: int, in_string: bool) -> tuple[int, int, bool]:
    """Follow an object's nesting to where it ends, or as far as `text` tells.

    Returns that place, and the depth and whether it is inside a string there.
    """
    while at < len(text):
        if in_string:
            at = _end(_RAW_STRING, text, at)
            if not text.startswith('"', at):
                break
            in_string = False
            at += 1
            continue
        at = _end(_BETWEEN, text, at)
        if at == len(text):
            break
        character = text[at]
        at += 1
        if character == '"':
            in_string = True
        elif character in "{[":
            depth += 1
        else:
            depth -= 1
            if depth == 0:
                break
    return at, depth, in_string


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Where a match of a pattern that always matches ends."""
    found = pattern.match(text, start)
    return found.end() if found else start


def _decode(raw: str) -> str:
    try:
        text: str = json.loads(f'"{raw}"', strict=False)
    except ValueError as error:
        raise Unreadable(f"not a JSON string: {raw[:40]!r}") from error
    # A lone surrogate has no UTF-8 form: it could be neither stored nor sent.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
