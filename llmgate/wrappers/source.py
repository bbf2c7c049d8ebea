"""Text that comes in pieces, and the steps in which its parts are read.

A step is a generator: it yields an event for what is certain, and None where it needs more
text. Nothing unbounded stays in the buffer, so no character is looked at again and again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Sequence
from typing import Literal, TypeAlias, TypeVar

import msgspec

from llmgate.wrappers.marks import MORE, Mark, search

T = TypeVar("T")
Kind = Literal["thoughts", "name", "arguments", "end"]
# The longest name or key: what is only passed on whole has to be bounded.
MAX_WORD = 256
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
_WORD = re.compile(r"[^\s,\]}]*")
_ESCAPE_LENGTH, _PAIR_LENGTH = 6, 12


class Unreadable(Exception):
    """The text is not a call of the expected shape; the message says where it stops being one."""


class Event(msgspec.Struct, frozen=True):
    """A piece of a call. `thoughts` is decoded text, `arguments` raw JSON, `name` whole."""

    kind: Kind
    text: str = ""


# None asks for more text, anything else is an event.
Steps: TypeAlias = Generator[Event | None, None, T]


class Source:
    """What has come of a text and was not read yet: `text` from `at` on."""

    __slots__ = ("at", "text")

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.at = 0

    def feed(self, text: str) -> None:
        """Add what came next."""
        self.text = self.text[self.at :] + text
        self.at = 0

    def take(self, end: int) -> str:
        """The text up to `end`, which counts as read."""
        taken = self.text[self.at : end]
        self.at = end
        return taken

    def startswith(self, text: str) -> bool:
        return self.text.startswith(text, self.at)

    def skip_space(self) -> Steps[None]:
        """Pass over white space, to the next character."""
        while True:
            self.at = end_of(_SPACE, self.text, self.at)
            if self.at < len(self.text):
                return
            yield None

    def peek(self, allowed: str = "", what: str = "") -> Steps[str]:
        """The next character that is not white space, which must be one of `allowed`."""
        self.at = end_of(_SPACE, self.text, self.at)
        if self.at == len(self.text):
            yield from self.skip_space()
        found = self.text[self.at]
        if allowed and found not in allowed:
            wanted = what or " or ".join(repr(c) for c in allowed)
            raise Unreadable(f"expected {wanted}, found {found!r}")
        return found

    def expect(self, allowed: str, what: str = "") -> Steps[str]:
        """As `peek`, and the character counts as read."""
        found = yield from self.peek(allowed, what)
        self.at += 1
        return found

    def one_of(
        self, marks: Sequence[Mark], *, space: bool = True
    ) -> Steps[tuple[int, dict[str, str]] | None]:
        """Read one of `marks`: which, and the values in it; None if none of them stands here.

        White space before it is passed over, if `space`. Of several that fit, the longest is
        read.
        """
        if space:
            yield from self.skip_space()
        while True:
            best, end, more = None, -1, False
            for index, mark in enumerate(marks):
                found = mark.read(self.text, self.at, apart=True)
                if found is MORE:
                    more = True
                elif isinstance(found, tuple) and found[0] > end:
                    best, end = (index, found[1]), found[0]
            if not more:
                break
            yield None
        if best is not None:
            self.at = end
        return best

    def mark(self, marks: Sequence[Mark]) -> Steps[tuple[int, dict[str, str]]]:
        """As `one_of`. Raises `Unreadable` if none of the marks stands here."""
        found = yield from self.one_of(marks)
        if found is None:
            wanted = " or ".join(repr(mark.core) for mark in marks)
            # Only the first character: how much more has come must not change what is said.
            raise Unreadable(f"expected {wanted}, found {self.text[self.at]!r}")
        return found

    def until(self, mark: Mark, what: str) -> Steps[tuple[str, dict[str, str]]]:
        """A short text up to a mark, which is read too, and the values in the mark."""
        while True:
            start, end = search((mark,), self.text, self.at)
            if start - self.at > MAX_WORD:
                raise Unreadable(f"{what} is longer than {MAX_WORD} characters")
            if end is not None:
                break
            yield None
        found = mark.read(self.text, start)
        assert isinstance(found, tuple)
        text = self.take(start)
        self.at = end
        return text, found[1]

    # JSON.

    def string(self, what: str) -> Steps[str]:
        """A short JSON string, decoded."""
        yield from self.expect('"', what)
        while True:
            end = end_of(_RAW_STRING, self.text, self.at)
            if end - self.at > MAX_WORD * _PAIR_LENGTH:
                raise Unreadable(f"{what} is longer than {MAX_WORD} characters")
            if self.text.startswith('"', end):
                raw = self.take(end)
                self.at += 1
                return decoded(raw)
            yield None

    def thoughts(self) -> Steps[None]:
        """Pass a JSON string's value on as `thoughts`, decoded as far as that is certain."""
        yield from self.expect('"')
        while True:
            if raw := self.take(end_of(_WHOLE_STRING, self.text, self.at)):
                yield Event("thoughts", decoded(raw))
            if self.startswith('"'):
                self.at += 1
                return
            if self._starts_lone_surrogate():
                self.at += _ESCAPE_LENGTH
                yield Event("thoughts", "\N{REPLACEMENT CHARACTER}")
            elif len(self.text) - self.at >= _ESCAPE_LENGTH and not self._starts_high():
                raise Unreadable(f"not an escape: {self.text[self.at : self.at + 6]!r}")
            else:
                yield None

    def raw(self, head: str = "", *, opening: str = "") -> Steps[None]:
        """Pass an object on as `arguments` to its end; `head` is what of it was read before."""
        if not head:
            yield from self.peek("{", opening)
        depth, in_string = (1, False) if head else (0, False)
        while True:
            end, depth, in_string = follow(self.text, self.at, depth, in_string)
            if piece := head + self.take(end):
                yield Event("arguments", piece)
            if depth == 0:
                return
            head = ""
            yield None

    def skipped(self) -> Steps[str]:
        """The text of a JSON value, whatever it is."""
        first = yield from self.peek()
        pieces: list[str] = []
        depth, in_string = 0, False
        if first == '"':
            self.at += 1
            pieces.append(first)
            in_string = True
        elif first not in "{[":
            while (end := end_of(_WORD, self.text, self.at)) == len(self.text):
                pieces.append(self.take(end))
                yield None
            return "".join((*pieces, self.take(end)))
        while True:
            end, depth, in_string = follow(self.text, self.at, depth, in_string)
            pieces.append(self.take(end))
            if depth == 0 and not in_string:
                return "".join(pieces)
            yield None

    def _starts_high(self) -> bool:
        return _LONE_HIGH.match(self.text, self.at) is not None

    def _starts_lone_surrogate(self) -> bool:
        """Whether half of a pair stands here whose other half can't come any more."""
        following = self.text[self.at + _ESCAPE_LENGTH : self.at + _ESCAPE_LENGTH + 2]
        can_follow = "\\u".startswith(following)
        complete = len(self.text) - self.at >= _PAIR_LENGTH
        return self._starts_high() and (not can_follow or complete)


def follow(text: str, at: int, depth: int, in_string: bool) -> tuple[int, int, bool]:
    """Follow a JSON value's nesting to where it ends, or as far as `text` tells.

    Returns that place, and the depth and whether it is inside a string there.
    """
    while at < len(text):
        if in_string:
            at = end_of(_RAW_STRING, text, at)
            if not text.startswith('"', at):
                break
            in_string = False
            at += 1
            if depth == 0:
                break
            continue
        at = end_of(_BETWEEN, text, at)
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


def ends_in_string(text: str) -> bool:
    """Whether an object in `text` is cut off in the middle of a string."""
    at = text.find("{")
    while at >= 0:
        at, depth, in_string = follow(text, at, 0, False)
        if depth or in_string:
            return in_string
        at = text.find("{", at)
    return False


def end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Where a match of a pattern that always matches ends."""
    found = pattern.match(text, start)
    return found.end() if found else start


def decoded(raw: str) -> str:
    """The value of a JSON string from the text between its quotes."""
    if raw.isascii() and "\\" not in raw and '"' not in raw:
        return raw
    try:
        text: str = json.loads(f'"{raw}"', strict=False)
    except ValueError as error:
        raise Unreadable(f"not a JSON string: {raw[:40]!r}") from error
    # A lone surrogate has no UTF-8 form: it could be neither stored nor sent.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def escaped(text: str) -> str:
    """`text` as it stands between the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
