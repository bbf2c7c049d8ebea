"""The arguments of a call as they come, passed on as one JSON object.

JSON is passed on to the letter, all else is written as JSON: each piece is final, so what has
been passed on is always a prefix of the whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmgate.repair.strict import MAX_DEPTH, STRICT, too_deep
from llmgate.styles import Style
from llmgate.wrappers.kinds import ALL, STRING, Kinds, allows, kinds_of
from llmgate.wrappers.literals import Python, json_key
from llmgate.wrappers.marks import MORE, Mark, search
from llmgate.wrappers.source import Event, Kind, Source, Steps, Unreadable, escaped

NO_STRING = ALL - STRING
_QUOTED_OR_QUOTE = re.compile(r'\\(?:.|\Z)|"', re.DOTALL)
CDATA, CDATA_END = Mark("<![CDATA["), Mark("]]>")


def json_arguments(source: Source, inner: str | None) -> Steps[None]:
    """An object, raw, without the thoughts if its first key is `inner`."""
    if inner is None:
        yield from source.raw()
        return
    yield from source.expect("{")
    if (yield from source.peek()) == "}":
        yield from source.raw("{")
        return
    key = yield from source.string("a key")
    if key != inner:
        yield from source.raw("{" + json.dumps(key, ensure_ascii=False))
        return
    yield from source.expect(":")
    yield from source.thoughts()
    if (yield from source.peek()) == ",":
        source.at += 1
        yield from source.skip_space()
    yield from source.raw("{")


class Parameters:
    """Reads arguments that are one marked text each; what is a string is told by the schema."""

    def __init__(self, source: Source, style: Style, schema: Mapping[str, Any]) -> None:
        self._source = source
        self._schema = schema
        self._begin, self._middle, self._end = (Mark(text) for text in style.parameter)
        self._own_lines = style.parameter[1].endswith("\n"), style.parameter[2].startswith("\n")
        self._cdata = style.cdata

    def arguments(self, ends: Sequence[Mark], inner: str | None = None) -> Steps[None]:
        """All arguments and one of the marks that end them; `inner` is the key of the thoughts."""
        source, seen, written = self._source, set[str](), False
        yield Event("arguments", "{")
        while (yield from source.mark((self._begin, *ends)))[0] == 0:
            key, said = yield from source.until(self._middle, "a parameter's name")
            key = key.strip()
            if key in seen:
                raise Unreadable(f"the parameter {key!r} is there twice")
            seen.add(key)
            if key == inner:
                yield from self._text("thoughts")
                continue
            yield Event("arguments", f"{', ' if written else ''}{json_key(key)}: ")
            written = True
            kinds = self._kinds(key, said)
            if kinds == STRING or ("string" in kinds and (yield from self._at_section())):
                yield Event("arguments", '"')
                yield from self._text("arguments")
                yield Event("arguments", '"')
            else:
                text = yield from self._whole(quotes="string" not in kinds)
                yield Event("arguments", as_json(text, kinds, self._end))
        yield Event("arguments", "}")

    def _kinds(self, key: str, said: Mapping[str, str]) -> Kinds:
        """What the value may be: the marks' word counts more than the schema's."""
        if "string" in said:
            return STRING if said["string"] == "true" else NO_STRING
        if "type" in said:
            return STRING if said["type"] == "string" else NO_STRING
        return kinds_of(self._schema, key)

    def _text(self, kind: Kind) -> Steps[None]:
        """Pass a raw string on to its end mark, without the line breaks that belong to marks."""
        source = self._source
        yield from self._first_line_break()
        if self._cdata and (yield from self._sections(kind)):
            return
        while True:
            certain, end = search((self._end,), source.text, source.at)
            value_end = certain
            if self._own_lines[1] and source.text[source.at : certain].endswith("\n"):
                value_end -= 1  # perhaps the mark's
            if piece := source.take(value_end):
                yield Event(kind, piece if kind == "thoughts" else escaped(piece))
            if end is not None:
                source.at = end
                return
            yield None

    def _at_section(self) -> Steps[bool]:
        """Whether a CDATA section begins here, which makes a string of any value."""
        source = self._source
        while self._cdata and CDATA.match(source.text, source.at) is MORE:
            yield None
        return self._cdata and CDATA.match(source.text, source.at) is not None

    def _sections(self, kind: Kind) -> Steps[bool]:
        """Pass the text of CDATA sections on; False if the value does not begin with one."""
        source, found = self._source, False
        while (yield from source.one_of((CDATA,), space=found)) is not None:
            found = True
            while True:
                certain, end = search((CDATA_END,), source.text, source.at)
                if piece := source.take(certain):
                    yield Event(kind, piece if kind == "thoughts" else escaped(piece))
                if end is not None:
                    source.at = end
                    break
                yield None
        if found:
            yield from source.mark((self._end,))
        return found

    def _whole(self, *, quotes: bool) -> Steps[str]:
        """A value up to its end mark; with `quotes`, one inside a JSON string does not count."""
        source, pieces, in_string, cut = self._source, list[str](), False, ""
        yield from self._first_line_break()
        while True:
            certain, end = search((self._end,), source.text, source.at)
            piece = source.take(certain)
            pieces.append(piece)
            if quotes:
                in_string, cut = _quotes(cut + piece, in_string)
            if end is not None:
                mark = source.take(end)
                if not in_string:
                    break
                pieces.append(mark)
                cut = ""
            else:
                yield None
        text = "".join(pieces)
        return text[:-1] if self._own_lines[1] and text.endswith("\n") else text

    def _first_line_break(self) -> Steps[None]:
        source = self._source
        while self._own_lines[0] and source.at == len(source.text):
            yield None
        if self._own_lines[0] and source.startswith("\n"):
            source.at += 1


def as_json(text: str, kinds: Kinds, end: Mark) -> str:
    """The JSON that a parameter's raw text stands for.

    Where the parameter may be a string and something else, the text is taken for something else
    if it is JSON of that type. A string that would be mistaken for that, or that has the end mark
    in it, stands there as a JSON string, with quotes (`quoted` tells which). The same goes for
    parameters that no schema knows: their text is the best sign of their type that there is.

    Raises `Unreadable` for what has to be JSON (or a Python literal) and is not.
    """
    stripped = text.strip()
    if "string" in kinds:
        return stripped if quoted(text, kinds, end) else json.dumps(text, ensure_ascii=False)
    if _value(stripped) is not _NONE:
        return stripped
    return _from_python(stripped)


def quoted(text: str, kinds: Kinds, end: Mark) -> bool:
    """Whether a string has to stand in quotes to be told from another value or from a mark."""
    while True:
        if search((end,), text, final=True)[1] is not None:
            return True
        value = _value(text.strip())
        if not isinstance(value, str):
            return value is not _NONE and allows(kinds, value)
        text = value


class _None:
    """What a text is that is not JSON."""


_NONE = _None()


def _value(text: str) -> Any:
    """The value of a JSON text, `_NONE` where it is not JSON."""
    try:
        value = STRICT.decode(text)
    except (ValueError, RecursionError):
        return _NONE
    return _NONE if too_deep(value, MAX_DEPTH) else value


def _from_python(text: str) -> str:
    """A Python literal as JSON."""
    source, pieces, error = Source(text + "\n"), list[str](), None
    try:
        for event in Python(source).value():
            if event is None:
                break
            pieces.append(event.text)
        else:
            if not source.text[source.at :].strip():
                return "".join(pieces)
    except Unreadable as caught:
        error = caught
    raise Unreadable(f"neither JSON nor a Python literal: {text[:40]!r}") from error


def _quotes(text: str, in_string: bool) -> tuple[bool, str]:
    """Whether a JSON text ends inside a string, and half an escape at its end."""
    for found in _QUOTED_OR_QUOTE.finditer(text):
        if found[0] == '"':
            in_string = not in_string
        elif found[0] == "\\":
            return in_string, "\\"
    return in_string, ""
