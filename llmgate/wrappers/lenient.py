"""Reads the calls of a whole text, however damaged: what the scanner refused.

What is certain is kept, what had to be mended is noted, and a call that is cut off says so:
nothing is made up. Other spellings of a style's marks are read too, and other styles.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from llmgate.repair.strict import MAX_DEPTH, too_deep
from llmgate.styles import STYLES, Style
from llmgate.types import Note
from llmgate.wrappers import rough
from llmgate.wrappers.marks import MAX_SPACE, Mark, search
from llmgate.wrappers.objects import MOST_CALLS, ObjectReader, RoughCall, sendable
from llmgate.wrappers.rough import Cut, Found
from llmgate.wrappers.scanner import StyleScanner, Unreadable
from llmgate.wrappers.source import end_of, ends_in_string
from llmgate.wrappers.spec import Thoughts

__all__ = ["RoughCall", "read_calls"]

_NAME = re.compile(r"""[\s"'`]*(?:name\s*=\s*)?["']?([\w./:-]{1,256})["'`]?""")
_FENCE = re.compile(r"\A\s*```\w*")
_TAG = re.compile(r'<([^\s<>="]+)(?:=|\s+name=")\Z')
_SEPARATORS = ",; \t\r\n"
_SPACE = re.compile(r"\s*")
# What stands before the mark of another call, which is no part of a string then.
_BEFORE_CALL = re.compile(r"[}\])>`]\s*\Z|\A\s*\Z|\n[ \t]*\Z")


def read_calls(
    text: str,
    style: Style,
    schemas: Mapping[str, Mapping[str, Any]],
    *,
    place: Thoughts = "off",
    thoughts_key: str = "inner_thoughts",
) -> tuple[RoughCall, ...]:
    """The calls in `text`, which begins with the mark that opens them; none if there is none.

    `schemas`, `place` and `thoughts_key` are as for `StyleScanner`. A name is never guessed: one
    that `schemas` does not know comes back as it is.
    """
    reader = _Reader(style, schemas, place, thoughts_key)
    if calls := reader.read(text):
        return calls
    for other in STYLES.values():
        at = text.find(Mark(other.opener).core) if len(other.opener) > 2 else -1
        if at < 0 or other == style:
            continue
        found = _Reader(other, schemas, place, thoughts_key).exactly(text[at:])[0]
        if found and all(call.name in schemas for call in found):
            note = Note("repaired", f"the call is written in the style {other.name!r}")
            return tuple(_with_note(call, note) for call in found)
    return ()


class _Reader(ObjectReader):
    """Reads the calls of one style from a text."""

    def __init__(
        self, style: Style, schemas: Mapping[str, Mapping[str, Any]], place: Thoughts, key: str
    ) -> None:
        super().__init__(style, schemas, place, key)
        self._begins = _marks((style.begin, *style.begins))
        self._middles = _marks((style.middle, *style.middles))
        self._around = _marks((style.open, *style.opens, style.close, style.between, *style.skip))
        self._loose = _loose(style.begin)
        # Of marks in several pieces the first is enough. Brackets alone end nothing for sure.
        pieces = (end.split()[0] for end in (style.end, *style.ends) if end.strip())
        ends = _marks((style.end, *pieces, *style.ends, style.close, *style.skip))
        self._ends = [mark for mark in ends if len(mark.core) > 2]

    def read(self, text: str) -> tuple[RoughCall, ...]:
        """All calls that are to be found in a text."""
        exact, text = self.exactly(text)
        segments = self._segments(text)
        calls = [
            call
            for number, segment in enumerate(segments, 1)
            for call in self._calls(segment, last=number == len(segments))
        ]
        if exact and not calls:
            exact[-1] = _with_note(exact[-1], self._dropped(text))
        calls = exact + calls
        if len(calls) > MOST_CALLS:
            note = Note("dropped", f"of {len(calls)} calls the first {MOST_CALLS} were read")
            calls = [*calls[: MOST_CALLS - 1], _with_note(calls[MOST_CALLS - 1], note)]
        return tuple(calls)

    def exactly(self, text: str) -> tuple[list[RoughCall], str]:
        """The calls at the beginning of a text that are as they should be, and the rest of it."""
        calls: list[RoughCall] = []
        while len(calls) < MOST_CALLS:
            text = _past(self._around, text).lstrip(_SEPARATORS)
            if not text or (found := self._exact(text)) is None:
                break
            calls.append(found[0])
            text = found[1]
        return calls, text

    def _exact(self, text: str) -> tuple[RoughCall, str] | None:
        """The call at the beginning of `text`, if at most its end mark is missing, and the rest."""
        scanner, parts, _ = self._scan(text)
        arguments = _decoded(parts["arguments"]) if scanner.whole else None
        if arguments is None:
            return None
        schema = self._schemas.get(parts["name"], {})
        if rough.swallowed(arguments, self._style.parameter, schema):
            return None
        notes: list[Note] = []
        if not scanner.done:
            notes.append(Note("repaired", f"the mark {self._style.end.strip()!r} is missing"))
        name = self._function(parts["name"], notes)
        call = RoughCall(name, sendable(arguments), parts["thoughts"], tuple(notes))
        return call, scanner.rest

    def _so_far(self, text: str) -> RoughCall | None:
        """The call at the beginning of `text` if all is right with it but that it is cut."""
        scanner, parts, sound = self._scan(text)
        if not sound or scanner.whole or not parts["name"]:
            return None
        written = parts["arguments"]
        notes: list[Note] = []
        name = self._function(parts["name"], notes)
        schema = self._schemas.get(name, {})
        found = rough.json_object(written, schema, ended=False) if written else None
        cut: Cut = "string" if ends_in_string(written) else "between"
        arguments = {} if found is None else found.arguments
        return self._call(name, arguments, parts["thoughts"], cut, notes)

    def _scan(self, text: str) -> tuple[StyleScanner, dict[str, str], bool]:
        """A scanner that has read `text`, its events' texts, and whether it could."""
        scanner = StyleScanner(
            self._style, self._schemas, place=self._place, thoughts_key=self._thoughts_key
        )
        parts: dict[str, list[str]] = {"name": [], "arguments": [], "thoughts": [], "end": []}
        sound = True
        try:
            for event in scanner.feed(text):
                parts[event.kind].append(event.text)
        except Unreadable:
            sound = False
        return scanner, {kind: "".join(pieces) for kind, pieces in parts.items()}, sound

    def _segments(self, text: str) -> list[str]:
        """The parts of a text that each begin with the mark of a call."""
        if not self._begins and self._style.arguments == "python":
            names = "|".join(map(re.escape, self._schemas)) or "(?!)"
            calls = re.finditer(rf"(?:\A|[\[,(\n])\s{{0,20}}(?=(?:{names})\s{{0,20}}\()", text)
            starts = [call.end() for call in calls][:MOST_CALLS]
        else:
            starts = []
            at, end = search(self._begins, text, final=True)
            while end is not None and len(starts) < MOST_CALLS:
                if _BEFORE_CALL.search(text[max(0, at - MAX_SPACE) : at]):
                    starts.append(at)
                at, end = search(self._begins, text, end, final=True)
        edges = [0, *starts, len(text)]
        parts = [text[start:end] for start, end in itertools.pairwise(edges)]
        return [part for part in parts if part.strip()]

    def _calls(self, segment: str, *, last: bool) -> Iterable[RoughCall]:
        """The calls in a part of the text that has one, or a list of them."""
        if (found := self._exact(segment)) is not None:
            return (_with_note(found[0], self._dropped(found[1])),)
        text = _past((*self._around, *self._begins), segment)
        if self._loose is not None and (begin := self._loose.match(text)):
            text = text[begin.end() :]
        if not text:
            return ()
        return map(self._mended, self._damaged(text, last=last))

    def _damaged(self, text: str, *, last: bool) -> Iterable[RoughCall]:
        """The calls in a part whose beginning was cut off, since it may be anything."""
        begun = self._style.begin + text
        if (found := self._exact(begun) or self._exact(self._closed(begun))) is not None:
            return (_with_note(found[0], self._dropped(found[1])),)
        body, rest = self._body(text)
        ended = body != text
        if last and not ended and (call := self._so_far(begun)) is not None:
            return (call,)
        dropped = self._dropped(rest)
        plain = _FENCE.sub("", body, count=1)
        objects = self._style.head != "named" or plain.lstrip()[:1] in ("{", "[")
        if objects and (calls := self._objects(plain, ended=ended or not last)):
            return (*calls[:-1], _with_note(calls[-1], dropped))
        call = self._named(body, ended=ended or not last)
        return () if call is None else (_with_note(call, dropped),)

    def _mended(self, call: RoughCall) -> RoughCall:
        """A call with at least one note, since it is not written as it should be."""
        note = Note("repaired", f"the call is not written as the style {self._style.name!r} wants")
        return call if call.notes else _with_note(call, note)

    def _closed(self, text: str) -> str:
        """A text whose last bracket is the beginning of the end mark, with all of that mark."""
        end = self._style.end.strip()
        at = text.rfind(end[0]) if len(end) > 2 and end[0] in "})" else -1
        return text[:at] + end if at >= 0 and end.startswith(text[at:].strip()) else ""

    def _body(self, text: str) -> tuple[str, str]:
        """A call's text up to its last end mark, and what follows that."""
        stop, rest = len(text), len(text)
        at, end = search(self._ends, text, final=True)
        while end is not None:
            stop, rest = at, end
            at, end = search(self._ends, text, end, final=True)
        return text[:stop], text[rest:]

    def _dropped(self, text: str) -> Note | None:
        """A note of what stands behind a call and is more than marks."""
        rest = _past((*self._around, *self._ends), text).strip()
        return Note("dropped", f"text after the call: {rest[:80]!r}") if rest else None

    # A name, then the arguments.

    def _named(self, text: str, *, ended: bool) -> RoughCall | None:
        found = _NAME.match(text)
        if found is None:
            return None
        notes: list[Note] = []
        name, rest = found[1], text[found.end() :]
        for mark in self._middles:  # a part of the mark may look like one of the name
            at, end = search((mark,), text, found.start(1), final=True)
            if end is not None and at <= found.end():
                name, rest = text[found.start(1) : at].strip("\"'` \n"), text[end:]
        name = self._function(name, notes)
        arguments = self._arguments(name, rest, ended=ended)
        if arguments is None:
            return None
        if arguments.cut != "no" and not arguments.arguments and name not in self._schemas:
            return None  # the name itself may be cut
        notes += arguments.notes
        return self._call(name, arguments.arguments, "", arguments.cut, notes)

    def _arguments(self, name: str, text: str, *, ended: bool) -> Found | None:
        schema, style = self._schemas.get(name, {}), self._style
        found: Found | None = None
        if style.arguments == "parameters":
            found = rough.parameters(text, style.parameter, schema, ended=ended)
        elif style.arguments == "gemma":
            found = rough.gemma(text, schema, ended=ended)
        elif style.arguments == "python" or text.lstrip().startswith("("):
            found = rough.python(text.lstrip().removeprefix("("), schema)
        if found is None and text.lstrip().startswith('"'):
            found = rough.quoted_object(text.lstrip(), schema)
        if found is None and (start := text.find("{")) >= 0:
            found = rough.json_object(text[start:], schema, ended=ended)
            if found is not None and style.arguments != "json":
                found.note("the arguments are a JSON object")
        if found is None and not text.strip(" \t\r\n>\"'()[]"):
            found = Found(cut="no" if ended else "between")
        return found


def _decoded(arguments: str) -> dict[str, Any] | None:
    """The arguments' value, if the text is that of a JSON object."""
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and not too_deep(value, MAX_DEPTH) else None


def _marks(texts: Iterable[str]) -> list[Mark]:
    return [Mark(text) for text in dict.fromkeys(texts) if text.strip()]


def _loose(begin: str) -> re.Pattern[str] | None:
    """What stands for a mark like `<function=` in other spellings: `<function name="`, say."""
    tag = _TAG.search(begin.strip())
    if tag is None:
        return None
    around = re.escape(begin.strip()[: tag.start()].strip())
    return re.compile(rf"""\s*(?:{around})?\s*<{re.escape(tag[1])}(?:\s+name)?\s*=?\s*["']?""")


def _past(marks: Sequence[Mark], text: str) -> str:
    """`text` without the marks at its beginning."""
    at = 0
    while True:
        at = end_of(_SPACE, text, at)
        ends = [end for mark in marks if isinstance(end := mark.match(text, at), int)]
        if not ends:
            return text[at:]
        at = max(ends)


def _with_note(call: RoughCall, note: Note | None) -> RoughCall:
    return call if note is None else msgspec.structs.replace(call, notes=(*call.notes, note))
