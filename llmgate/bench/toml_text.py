"""Changes a few keys of a TOML text and leaves every other character as it is.

The text is cut into its statements (https://toml.io/en/v1.0.0), of which those concerned are
replaced, added or taken out. What comes out is read again and compared with what it should say, so
a text that is written in a way that this does not know is refused, never damaged.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from llmgate.errors import ConfigError

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
_STRING: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL
)
_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_OPEN: Final = "[{"
_CLOSE: Final = "]}"


class Statement(msgspec.Struct, frozen=True):
    """A table's head or a key with its value; `end` is behind its line, `value` the value's span.

    `path` is the whole name, with the number of the table where it stands in an array of tables.
    """

    path: tuple[str, ...]
    head: bool
    start: int
    end: int
    value: tuple[int, int] = (0, 0)


def statements(text: str) -> Iterator[Statement]:
    """The statements of a text that is valid TOML."""
    table: tuple[str, ...] = ()
    arrays: dict[tuple[str, ...], int] = {}
    place = _blank(text, 0)
    while place < len(text):
        start = place
        if text[place] == "[":
            many = text.startswith("[[", place)
            path, place = _path(text, place + 1 + many)
            place += 1 + many
            if many:
                arrays[path] = arrays.get(path, -1) + 1
                path = (*path, f"[{arrays[path]}]")
            table = path
            yield Statement(path, True, start, _line_end(text, place))
        else:
            path, place = _path(text, place)
            begin = place = _space(text, place + 1)
            place = _value_end(text, place)
            yield Statement((*table, *path), False, start, _line_end(text, place), (begin, place))
        place = _blank(text, _line_end(text, place))


def put(text: str, table: tuple[str, ...], key: str, value: Any) -> str:
    """The text with `key` of `table` set to `value`; None takes the key out.

    Raises `ConfigError` where the text has it in a form that can't be changed in place.
    """
    path = (*table, key)
    wanted = tomllib.loads(text)
    _set(wanted, path, value)
    new = _put(text, table, key, value)
    try:
        # Where the last `table.key` goes, the table goes with it: an empty one says the same.
        if new is not None and _full(tomllib.loads(new)) == _full(wanted):
            return new
    except tomllib.TOMLDecodeError:
        pass
    what = "is not needed any more" if value is None else f"should be {literal(value)}"
    raise ConfigError(
        f"{'.'.join(path)} {what}, but it stands where it can't be changed without touching more.",
        hint="Change it by hand.",
    )


def literal(value: Any) -> str:
    """A value in TOML, in one line. Raises `ConfigError` for what TOML has no word for."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(key)} = {literal(each)}" for key, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    raise ConfigError(f"{value!r} can't be written in TOML.", hint="Leave that option out.")


def _put(text: str, table: tuple[str, ...], key: str, value: Any) -> str | None:
    path = (*table, key)
    every = list(statements(text))
    here = next((each for each in every if each.path == path and not each.head), None)
    if here is not None and value is None:
        return text[: _line_start(text, here.start)] + text[here.end :]
    if here is not None:
        begin, end = here.value
        return text[:begin] + literal(value) + text[end:]
    if value is None:
        return None
    newline = "\r\n" if "\r\n" in text else "\n"
    head = next((n for n, each in enumerate(every) if each.head and each.path == table), None)
    if head is not None:
        last = every[head]
        for each in every[head + 1 :]:
            if each.head:
                break
            last = each
        return _inserted(text, last.end, f"{_key(key)} = {literal(value)}", newline)
    # The table may stand as `name.key = value` under the head of another one.
    for last in reversed(every):
        if last.head or last.path[: len(table)] != table:
            continue
        names, _ = _path(text, last.start)
        above = len(names) - (len(last.path) - len(table))
        if above > 0:
            line = ".".join(map(_key, (*names[:above], key))) + f" = {literal(value)}"
            return _inserted(text, last.end, line, newline)
    line = f"{newline}[{'.'.join(map(_key, table))}]{newline}{_key(key)} = {literal(value)}"
    return _inserted(text, len(text), line, newline)


def _inserted(text: str, place: int, line: str, newline: str) -> str:
    before = text[:place]
    if before and not before.endswith("\n"):
        before += newline
    return before + line + newline + text[place:]


def _set(data: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        data = data.setdefault(name, {})
        if not isinstance(data, dict):
            raise ConfigError(f"{name!r} is no table.", hint="Change it by hand.")
    if value is None:
        data.pop(path[-1], None)
    else:
        data[path[-1]] = list(value) if isinstance(value, tuple) else value


def _full(data: dict[str, Any]) -> dict[str, Any]:
    """The tables without those that hold nothing."""
    found = {key: _full(each) if isinstance(each, dict) else each for key, each in data.items()}
    return {key: each for key, each in found.items() if each != {}}


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else literal(name)


def _blank(text: str, place: int) -> int:
    found = _BLANK.match(text, place)
    return found.end() if found else place


def _space(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t":
        place += 1
    return place


def _line_start(text: str, place: int) -> int:
    return text.rfind("\n", 0, place) + 1


def _line_end(text: str, place: int) -> int:
    end = text.find("\n", place)
    return len(text) if end < 0 else end + 1


def _path(text: str, place: int) -> tuple[tuple[str, ...], int]:
    """A dotted name, and where it and the blanks behind it end."""
    names = []
    while True:
        place = _space(text, place)
        if found := _QUOTED.match(text, place):
            names.append(tomllib.loads(f"key = {found[0]}")["key"])
        elif found := _BARE.match(text, place):
            names.append(found[0])
        else:
            raise ConfigError(f"a name is expected at {text[place : place + 20]!r}.")
        place = _space(text, found.end())
        if not text.startswith(".", place):
            return tuple(names), place
        place += 1


def _value_end(text: str, place: int) -> int:
    depth = 0
    while place < len(text):
        if found := _STRING.match(text, place):
            place = found.end()
        elif text[place] in _OPEN:
            depth, place = depth + 1, place + 1
        elif text[place] in _CLOSE:
            depth, place = depth - 1, place + 1
        elif depth:
            # Comments and line ends may stand within an array.
            place = max(_blank(text, place), place + (text[place] not in " \t\r\n#"))
            continue
        elif text[place] in " \t\r\n#":
            # A date may have a blank in it before its time.
            if not re.match(r" \d\d:", text[place : place + 4]):
                return place
            place += 1
        else:
            place += 1
        if depth == 0 and text[place - 1] in _CLOSE:
            return place
    return place
