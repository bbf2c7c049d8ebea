"""Writes calls as a model would have written them, for the prompt: the scanner's counterpart."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from llmgate.styles import Style
from llmgate.types import ToolCall
from llmgate.wrappers.arguments import quoted
from llmgate.wrappers.kinds import STRING, kinds_of, type_of
from llmgate.wrappers.literals import QUOTE
from llmgate.wrappers.marks import Mark, fill, search
from llmgate.wrappers.scanner import StyleScanner, Unreadable
from llmgate.wrappers.source import escaped
from llmgate.wrappers.spec import Thoughts

Schemas = Mapping[str, Any]
_BARE_KEY = re.compile(r"[\w$@.-]+")
_CDATA, _CDATA_END = "<![CDATA[", "]]>"


class Number(str):
    """A number as it was written: no digit of it is lost."""

    __slots__ = ()


class Notation(msgspec.Struct, frozen=True):
    """How a value is written: its strings, its keys, its words, what separates its members."""

    string: Callable[[str], str]
    key: Callable[[str], str]
    words: tuple[str, str, str]  # true, false, null
    comma: str = ", "
    colon: str = ": "


JSON = Notation(lambda s: f'"{escaped(s)}"', lambda s: f'"{escaped(s)}"', ("true", "false", "null"))
PYTHON = Notation(repr, repr, ("True", "False", "None"))
GEMMA = Notation(
    lambda s: f"{QUOTE.text}{s}{QUOTE.text}",
    lambda s: s if _BARE_KEY.fullmatch(s) else f"{QUOTE.text}{s}{QUOTE.text}",
    ("true", "false", "null"),
    ",",
    ":",
)


def write_calls(
    style: Style,
    calls: Sequence[ToolCall],
    schemas: Schemas,
    *,
    thoughts: str = "",
    thoughts_key: str = "inner_thoughts",
    place: Thoughts = "off",
    indent: int = 0,
) -> str:
    """The calls of one answer, with the marks around them.

    `thoughts` come before the first call: as the first argument (`place` inside; every call has
    one then, empty for the others), as the first key of the call's object (beside), and where
    neither is possible as words on the lines before.
    Arguments that are JSON stay as they are, to the letter, but for a bare call, which is
    indented by `indent`, or put on one line.
    What a style can't carry is written as the models' own templates write it: see `unwritable`.

    Raises ValueError for arguments that are no JSON object.
    """
    pieces, said = [], ""
    for number, call in enumerate(calls):
        own = "" if number else thoughts
        key = _thoughts_key(style, call, schemas, thoughts_key, place)
        if key is None and own and place != "off":
            said = f"{own}\n"
        values = {"n": str(style.first + number), "id": call.id or f"call_{number}"}
        head, middle, end = (fill(text, values) for text in (style.begin, style.middle, style.end))
        if style.head == "named":
            body = call.name + middle + _arguments(style, call, schemas, key, own)
        else:
            body = _object(style, call, key, own, place)
        text = head + body + end
        pieces.append(msgspec.json.format(text, indent=indent) if style.bare else text)
    return said + style.open + style.between.join(pieces) + style.close


def unwritable(
    style: Style, call: ToolCall, schemas: Schemas, *, thoughts_key: str = "inner_thoughts"
) -> str:
    """What of a call is lost when it is written in a style, in a sentence; empty if nothing is.

    JSON styles carry everything. Raw texts can't hold the mark that ends them, so a parameter's
    string with that mark in it comes back cut; a value that is no string comes back as one where
    the schema allows only strings; names and keys can't hold what separates them from the rest.
    """
    text = write_calls(style, [call], schemas)
    inside = text.removeprefix(style.open)
    scanner = StyleScanner(style, schemas, thoughts_key=thoughts_key)
    where = f"the style {style.name!r} can't carry"
    try:
        events = list(scanner.feed(inside.removesuffix(style.close)))
    except Unreadable as error:
        return f"{where} the call of {call.name!r}: {error}."
    name, written = (
        "".join(e.text for e in events if e.kind == kind) for kind in ("name", "arguments")
    )
    if not scanner.done or name != call.name or scanner.rest.strip():
        return f"{where} the call of {call.name!r}: it would be read as one of {name!r}."
    meant, read = json.loads(call.arguments.strip() or "{}"), json.loads(written)
    for key in meant:
        if key not in read or not _same(meant[key], read[key]):
            shown = json.dumps(meant[key], ensure_ascii=False)[:80]
            return f"{where} {shown} as the argument {key!r} of {call.name!r}."
    return ""


def _thoughts_key(
    style: Style, call: ToolCall, schemas: Schemas, key: str, place: Thoughts
) -> str | None:
    """The key under which a call's thoughts are written, None if they have no place in it."""
    if place == "beside":
        return key if style.head == "object" else None
    schema = schemas.get(call.name, {})
    own = isinstance(schema, Mapping) and key in schema.get("properties", {})
    if place == "off" or own or key in _members(call):
        return None
    return key


def _object(style: Style, call: ToolCall, key: str | None, thoughts: str, place: Thoughts) -> str:
    inside = key if place == "inside" else None
    arguments = _raw(call, inside, thoughts)
    if style.head == "keyed":
        return f"{{{JSON.key(call.name)}: {arguments}}}"
    first = f"{JSON.key(key)}: {JSON.string(thoughts)}, " if key and not inside else ""
    return (
        f"{{{first}{JSON.key(style.function_key)}: {JSON.string(call.name)}, "
        f"{JSON.key(style.arguments_key)}: {arguments}}}"
    )


def _raw(call: ToolCall, key: str | None, thoughts: str) -> str:
    """The arguments as JSON, to the letter, with the thoughts as the first one if `key`."""
    text = call.arguments.strip() or "{}"
    _members(call)
    if key is None:
        return text
    inner = text[1:].lstrip()
    separator = "" if inner == "}" else ", "
    return f"{{{JSON.key(key)}: {JSON.string(thoughts)}{separator}{inner}"


def _arguments(
    style: Style, call: ToolCall, schemas: Schemas, key: str | None, thoughts: str
) -> str:
    if style.arguments == "json":
        return _raw(call, key, thoughts)
    members = _members(call)
    if key is not None:
        members = {key: thoughts, **members}
    if style.arguments == "python":
        return ", ".join(f"{k}={_text(value, PYTHON)}" for k, value in members.items())
    if style.arguments == "gemma":
        pairs = (f"{GEMMA.key(k)}:{_text(value, GEMMA)}" for k, value in members.items())
        return ",".join(pairs)
    schema = schemas.get(call.name, {})
    return "".join(
        _parameter(style, k, value, schema, thought=k == key) for k, value in members.items()
    )


def _parameter(style: Style, key: str, value: Any, schema: Any, *, thought: bool) -> str:
    """One marked text: a string raw, all else as JSON; what would be misread is put in quotes."""
    begin, middle, end = style.parameter
    mark, is_string = Mark(end), isinstance(value, str) and not isinstance(value, Number)
    flags = {
        "string": "true" if is_string else "false",
        "type": "number" if isinstance(value, Number) else type_of(value),
    }
    if not is_string:
        text = _guarded(_text(value, JSON), mark)
    else:
        kinds = kinds_of(schema if isinstance(schema, Mapping) else {}, key)
        flagged = "{string}" in middle or "{type}" in middle
        if thought or flagged:
            kinds = STRING
        text = value
        if "string" not in kinds or (kinds != STRING and quoted(value, kinds, mark)):
            text = _guarded(JSON.string(value), mark)
        elif style.cdata and re.search("[<&\n]", value):
            text = value.replace(_CDATA_END, f"]]{_CDATA_END}{_CDATA}>")
            text = f"{_CDATA}{text}{_CDATA_END}"
    return begin + key + fill(middle, flags) + text + end


def _guarded(text: str, mark: Mark) -> str:
    """JSON without a mark in it: where one would begin, in a string, a character is escaped."""
    start, end = search((mark,), text, final=True)
    while end is not None:
        text = f"{text[:start]}\\u{ord(text[start]):04x}{text[start + 1 :]}"
        start, end = search((mark,), text, start, final=True)
    return text


def _text(value: Any, notation: Notation) -> str:
    """A value in a notation other than JSON."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return notation.string(value)
    if value is None or isinstance(value, bool):
        true, false, null = notation.words
        return null if value is None else true if value else false
    if isinstance(value, list):
        return f"[{notation.comma.join(_text(item, notation) for item in value)}]"
    pairs = (
        f"{notation.key(key)}{notation.colon}{_text(item, notation)}" for key, item in value.items()
    )
    return f"{{{notation.comma.join(pairs)}}}"


def _members(call: ToolCall) -> dict[str, Any]:
    """A call's arguments, with numbers as they are written."""
    found = json.loads(call.arguments.strip() or "{}", parse_int=Number, parse_float=Number)
    if not isinstance(found, dict):
        raise ValueError(f"the arguments of {call.name!r} are no JSON object")
    return found


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
