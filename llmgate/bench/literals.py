"""Java and JavaScript values, written as source text in a call's arguments, as JSON values.

Functions of these languages get their arguments as texts, because JSON has no HashMap and no
BigInt. Only literals are read and nothing is evaluated: any other expression, a variable for
instance, stays the text that it is.
"""

from __future__ import annotations

import re
from typing import Any, Literal

Language = Literal["java", "javascript"]

_JAVA_SCALARS = {
    "byte": r"-?\d+",
    "short": r"-?\d+",
    "int": r"-?\d+",
    "integer": r"-?\d+",
    "long": r"-?\d+[lL]",
    "float": r"-?\d+(\.\d*)?([eE][+-]?\d+)?[fF]",
    "double": r"-?\d+(\.\d*)?([eE][+-]?\d+)?[dD]?",
    "boolean": "true|false",
}
_JAVASCRIPT_SCALARS = {
    "integer": r"-?\d+",
    "number": r"-?\d+(\.\d*)?([eE][+-]?\d+)?",
    "float": r"-?\d+(\.\d*)?([eE][+-]?\d+)?",
    "bigint": r"-?\d+n",
    "boolean": "true|false",
}
_TEXTS = {"string", "any", "char", "object"}
_WHOLE = {"byte", "short", "int", "integer", "long", "bigint"}
_NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?")
_NAME = re.compile(r"[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)*")
_PARAMETERS = re.compile(r"\s*<[\w\s,.<>?\[\]]*>")
_MAX_DEPTH = 32
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0"}
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "undefined": None}
# Calls whose arguments are the items of a list.
_LISTS = {"Arrays.asList", "List.of", "Set.of", "Arrays.stream", "Stream.of"}


class NoLiteral(Exception):
    """The text is no literal, but some other expression."""


def value_of(text: str, language: Language, kind: str = "") -> Any:
    """The value that a text writes in a language, as a parameter of the type `kind`.

    A text that is no literal of that type comes back as it is: as a variable's name, or what
    else it may be. Without a `kind` every literal is read.
    """
    base = re.split(r"[<\[]", kind, maxsplit=1)[0].strip().lower()
    if kind.endswith("[]"):
        base = "array"
    written = text.strip()
    if base in _TEXTS:
        return _unquoted(written, base) if language == "javascript" or base == "char" else text
    scalars = _JAVA_SCALARS if language == "java" else _JAVASCRIPT_SCALARS
    if pattern := scalars.get(base):
        return _scalar(written, base) if re.fullmatch(pattern, written) else text
    try:
        return Literals(written, language).read()
    except NoLiteral:
        return text


def _scalar(text: str, kind: str) -> Any:
    if kind == "boolean":
        return text == "true"
    digits = text.rstrip("lLfFdDn")
    return int(digits) if kind in _WHOLE else float(digits)


def _unquoted(text: str, kind: str) -> str:
    """A text without the quotes around it."""
    quotes = "'" if kind == "char" else "\"'`"
    if len(text) > 1 and text[0] == text[-1] and text[0] in quotes:
        return text[1:-1]
    return text


class Literals:
    """Reads one literal; `read` raises `NoLiteral` where the text is something else."""

    def __init__(self, text: str, language: Language) -> None:
        self._text = text
        self._at = 0
        self._java = language == "java"

    def read(self) -> Any:
        """The value of the whole text."""
        value = self._value(0)
        self._skip()
        if self._at < len(self._text):
            raise NoLiteral
        return value

    def _value(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise NoLiteral
        self._skip()
        here = self._text[self._at : self._at + 1]
        if here and here in "\"'`":
            return self._string(here)
        if here == "[" and not self._java:
            return self._items("[", "]", depth)
        if here == "{":
            return self._items("{", "}", depth) if self._java else self._members(depth)
        if number := _NUMBER.match(self._text, self._at):
            return self._number(number)
        if name := _NAME.match(self._text, self._at):
            return self._named(name[0], depth)
        raise NoLiteral

    def _number(self, found: re.Match[str]) -> int | float:
        self._at = found.end()
        suffix = self._text[self._at : self._at + 1]
        if suffix and suffix in ("lLfFdD" if self._java else "n"):
            self._at += 1
            if suffix in "fFdD":
                return float(found[0])
        return int(found[0]) if re.fullmatch(r"-?\d+", found[0]) else float(found[0])

    def _string(self, quote: str) -> str:
        self._at += 1
        parts = []
        while (char := self._text[self._at : self._at + 1]) != quote:
            if not char:
                raise NoLiteral
            self._at += 1
            if char == "\\":
                char = self._text[self._at : self._at + 1]
                self._at += 1
                if char == "u":
                    code = self._text[self._at : self._at + 4]
                    if not re.fullmatch("[0-9a-fA-F]{4}", code):
                        raise NoLiteral
                    self._at += 4
                    char = chr(int(code, 16))
                else:
                    char = _ESCAPES.get(char, char)
            parts.append(char)
        self._at += 1
        return "".join(parts)

    def _named(self, name: str, depth: int) -> Any:
        """A word, or a collection that is made by a call."""
        self._at += len(name)
        if name in _WORDS:
            return _WORDS[name]
        if name == "new":
            return self._made(depth)
        if name in _LISTS:
            return self._items("(", ")", depth)
        if name == "Map.of":
            return _paired(self._items("(", ")", depth))
        raise NoLiteral

    def _made(self, depth: int) -> Any:
        """What stands behind `new`: an array, a collection, or a map."""
        self._skip()
        found = _NAME.match(self._text, self._at)
        if found is None:
            raise NoLiteral
        kind = found[0].rpartition(".")[2]
        self._at = found.end()
        if generic := _PARAMETERS.match(self._text, self._at):
            self._at = generic.end()
        if self._taken("["):
            self._expect("]")
            while self._taken("["):
                self._expect("]")
            return self._items("{", "}", depth)
        inside = self._items("(", ")", depth)
        is_map = kind.endswith(("Map", "Hashtable"))
        if self._taken("{"):
            return self._filled(is_map, depth)
        if len(inside) > 1:
            return inside
        first = inside[0] if inside else None
        if is_map:
            return _of_entries(first)
        # A lone number is how much room is wanted.
        return first if isinstance(first, list) else []

    def _filled(self, is_map: bool, depth: int) -> Any:
        """Java's double braces: `{{ put(key, value); … }}` or `{{ add(value); … }}`."""
        self._expect("{")
        pairs: dict[str, Any] = {}
        items: list[Any] = []
        while not self._taken("}"):
            self._skip()
            verb = _NAME.match(self._text, self._at)
            if verb is None or verb[0] not in ("put", "add", "push", "offer"):
                raise NoLiteral
            self._at = verb.end()
            given = self._items("(", ")", depth)
            if verb[0] == "put":
                pairs |= _paired(given)
            else:
                items += given
            self._taken(";")
        self._expect("}")
        return pairs if is_map else items

    def _items(self, begin: str, end: str, depth: int) -> list[Any]:
        self._expect(begin)
        items: list[Any] = []
        while not self._taken(end):
            if items:
                self._expect(",")
                if self._taken(end):
                    break
            items.append(self._value(depth + 1))
        return items

    def _members(self, depth: int) -> dict[str, Any]:
        self._expect("{")
        members: dict[str, Any] = {}
        while not self._taken("}"):
            if members:
                self._expect(",")
                if self._taken("}"):
                    break
            self._skip()
            here = self._text[self._at : self._at + 1]
            if here and here in "\"'`":
                key = self._string(here)
            elif found := re.compile(r"[\w$]+").match(self._text, self._at):
                key, self._at = found[0], found.end()
            else:
                raise NoLiteral
            self._expect(":")
            members[key] = self._value(depth + 1)
        return members

    def _skip(self) -> None:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1

    def _taken(self, text: str) -> bool:
        self._skip()
        if not self._text.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def _expect(self, text: str) -> None:
        if not self._taken(text):
            raise NoLiteral


def _paired(items: list[Any]) -> dict[str, Any]:
    """Keys and values in turn as a map."""
    if len(items) % 2:
        raise NoLiteral
    return {str(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _of_entries(made: Any) -> dict[str, Any]:
    """A map of another map, or of a list of pairs."""
    if made is None or isinstance(made, int):
        return {}
    if isinstance(made, dict):
        return made
    if isinstance(made, list) and all(isinstance(p, list) and len(p) == 2 for p in made):
        return {str(key): value for key, value in made}
    raise NoLiteral
