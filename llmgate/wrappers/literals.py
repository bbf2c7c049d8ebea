"""Arguments that are not JSON, read into JSON as they come: Python's literals and Gemma's."""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from llmgate.repair.strict import MAX_DEPTH
from llmgate.wrappers.marks import Mark, search
from llmgate.wrappers.source import (
    MAX_WORD,
    Event,
    Kind,
    Source,
    Steps,
    Unreadable,
    end_of,
    escaped,
)

_CLOSERS = {"[": "]", "{": "}", "(": ")"}
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>\d[\d_]*)?(?:\.(?P<part>\d[\d_]*)?)?(?P<power>[eE][+-]?\d+)?",
    re.ASCII,
)
_BASED = re.compile(r"([+-]?)(0[xX][\da-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+)")
_WORDS = {"True": "true", "False": "false", "None": "null"}
_WORDS |= {word: word for word in _WORDS.values()}
_MAX_SCALAR = 1024
QUOTE = Mark('<|"|>')
_BARE_KEY = re.compile(r"[^:,{}\[\]<]*")
_PLAIN = {quote: re.compile(rf"[^\\{quote}]*") for quote in "'\""}
_ESCAPES = dict(zip("ntrbfav\\'\"\n", "\n\t\r\b\f\a\v\\'\"", strict=False)) | {"\n": ""}
_HEX = {"x": 2, "u": 4, "U": 8}
_OCTAL = re.compile("[0-7]{1,3}")
_LONGEST_NAME = 100
_LOW = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_LOW_SO_FAR = re.compile(r"(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?\Z")


class Literals(ABC):
    """Reads arguments `key … value` separated by commas, and passes them on as a JSON object."""

    word: ClassVar[re.Pattern[str]]
    brackets: ClassVar[str]  # what opens a list or an object

    def __init__(self, source: Source) -> None:
        self.source = source

    @abstractmethod
    def string(self, kind: Kind) -> Steps[bool]:
        """Pass a string on, as JSON or (`thoughts`) decoded; False if none stands here."""

    @abstractmethod
    def key(self) -> Steps[str]:
        """The key of a member, and what separates it from the value."""

    def argument(self, names: list[str]) -> Steps[tuple[str, str]]:
        """The key of an argument, and how much of its value was read already.

        `names` are the parameters that values without a key are for.
        """
        return (yield from self.key()), ""

    def arguments(
        self, ends: Sequence[Mark], names: list[str], inner: str | None = None
    ) -> Steps[None]:
        """All arguments and one of the marks that end them; `inner` is the key of the thoughts."""
        source, seen, written = self.source, set[str](), False
        yield Event("arguments", "{")
        while (yield from source.one_of(ends)) is None:
            if seen:
                yield from source.expect(",", f"{ends[0].core!r} or ','")
                if (yield from source.one_of(ends)) is not None:
                    break
            key, begun = yield from self.argument(names)
            if key in seen:
                raise Unreadable(f"the argument {key!r} is there twice")
            seen.add(key)
            if key == inner and not begun:
                yield from source.skip_space()
                if not (yield from self.string("thoughts")):
                    raise Unreadable(f"the {key!r} must be a string")
                continue
            yield Event("arguments", f"{', ' if written else ''}{json_key(key)}: ")
            written = True
            yield from self.value(begun)
        yield Event("arguments", "}")

    def value(self, begun: str = "") -> Steps[None]:
        """Pass one value on as JSON; `begun` is a word of it that was read already."""
        source = self.source
        opened: list[_Bracket] = []
        while True:
            char = "" if begun else (yield from source.peek())
            if char and char in self.brackets:
                source.at += 1
                if len(opened) == MAX_DEPTH:
                    raise Unreadable(f"the value is nested deeper than {MAX_DEPTH} levels")
                opened.append(_Bracket(char))
                yield Event("arguments", "{" if char == "{" else "[")
                if (yield from source.peek()) != opened[-1].closer:
                    if char == "{":
                        yield from self._member()
                    continue
                opened[-1].several = True
            elif begun or not (yield from self.string("arguments")):
                yield Event("arguments", scalar(begun or (yield from self.read_word())))
            begun = ""
            while opened:
                bracket = opened[-1]
                if (yield from source.expect(f",{bracket.closer}")) == ",":
                    bracket.several = True
                    if (yield from source.peek()) != bracket.closer:
                        yield Event("arguments", ", ")
                        if bracket.closer == "}":
                            yield from self._member()
                        break
                    source.at += 1
                elif bracket.closer == ")" and not bracket.several:
                    raise Unreadable("one value in parentheses is neither a list nor the value")
                opened.pop()
                yield Event("arguments", "}" if bracket.closer == "}" else "]")
            else:
                return

    def read_word(self) -> Steps[str]:
        """A number or a name, to the character that ends it; empty if none stands here."""
        return self._run(self.word, _MAX_SCALAR)

    def _run(self, pattern: re.Pattern[str], most: int) -> Steps[str]:
        """The characters that fit a pattern, to the first that does not."""
        source = self.source
        while True:
            end = end_of(pattern, source.text, source.at)
            if end - source.at > most:
                raise Unreadable(f"what has no quotes is longer than {most} characters")
            if end < len(source.text):
                return source.take(end)
            yield None

    def _member(self) -> Steps[None]:
        key = yield from self.key()
        yield Event("arguments", f"{json_key(key)}: ")


class _Bracket:
    """An open list or object; `several`: not just one value in parentheses."""

    __slots__ = ("closer", "several")

    def __init__(self, opener: str) -> None:
        self.closer = _CLOSERS[opener]
        self.several = False


class Python(Literals):
    """Keyword arguments of a Python call. Values without a keyword go to the next parameters.

    Read are what JSON has too: strings (of one piece, without a prefix), numbers, True, False
    and None (in JSON's spelling too), lists, tuples as lists, dicts with strings as keys.
    """

    word = re.compile(r"""[^\s,=:()\[\]{}'"]*""")
    brackets = "[{("

    def argument(self, names: list[str]) -> Steps[tuple[str, str]]:
        yield from self.source.skip_space()
        word = yield from self.read_word()
        if word and (yield from self.source.peek()) == "=":
            self.source.at += 1
            return word, ""
        if not names:
            raise Unreadable("a value without a keyword")
        return names.pop(0), word

    def key(self) -> Steps[str]:
        yield from self.source.peek("'\"", "a string as a key")
        key = yield from _collected(self.string("thoughts"))
        yield from self.source.expect(":")
        return key

    def string(self, kind: Kind) -> Steps[bool]:
        source = self.source
        quote = source.text[source.at]
        if quote not in "'\"":
            return False
        while source.text[source.at :] in (quote, quote * 2):
            yield None
        quotes = quote * 3 if source.startswith(quote * 3) else quote
        source.at += len(quotes)
        if kind == "arguments":
            yield Event(kind, '"')
        while True:
            if piece := source.take(end_of(_PLAIN[quote], source.text, source.at)):
                yield _piece(kind, piece)
            if source.startswith(quotes):
                source.at += len(quotes)
                break
            rest = source.text[source.at : source.at + len(quotes)]
            if rest.startswith("\\"):
                if (found := _escape(source.text, source.at)) is None:
                    yield None
                else:
                    source.at = found[1]
                    yield _piece(kind, found[0])
            elif quotes.startswith(rest):  # nothing, or what may become the three quotes
                yield None
            else:
                yield _piece(kind, source.take(source.at + 1))
        if kind == "arguments":
            yield Event(kind, '"')
        return True


class Gemma(Literals):
    """Pairs `key:value` whose strings stand between `<|"|>`, raw."""

    word = re.compile(r"[^\s,:\[\]{}<]*")
    brackets = "[{"

    def key(self) -> Steps[str]:
        source = self.source
        if (yield from source.peek()) == QUOTE.text[0]:
            key = yield from _collected(self.string("thoughts"))
        else:
            key = (yield from self._run(_BARE_KEY, MAX_WORD)).strip()
        yield from source.expect(":")
        return key

    def string(self, kind: Kind) -> Steps[bool]:
        source = self.source
        if not source.startswith(QUOTE.text[0]):
            return False
        yield from source.mark((QUOTE,))
        if kind == "arguments":
            yield Event(kind, '"')
        while True:
            certain, end = search((QUOTE,), source.text, source.at)
            if piece := source.take(certain):
                yield _piece(kind, piece)
            if end is not None:
                source.at = end
                break
            yield None
        if kind == "arguments":
            yield Event(kind, '"')
        return True


def scalar(word: str) -> str:
    """A number or a literal in anybody's spelling, as JSON. Raises `Unreadable`."""
    if word in _WORDS:
        return _WORDS[word]
    if _JSON_NUMBER.fullmatch(word):
        return word
    if found := _BASED.fullmatch(word):
        return str(int(found[0], 0))
    found = _NUMBER.fullmatch(word)
    if found is None or not (found["whole"] or found["part"]):
        raise Unreadable(f"{word[:40]!r} is no value")
    whole, part = ((found[name] or "0").replace("_", "") for name in ("whole", "part"))
    number = found["sign"].replace("+", "") + whole
    number += f".{part}" if "." in word else ""
    number += found["power"] or ""
    if not _JSON_NUMBER.fullmatch(number):
        raise Unreadable(f"{word[:40]!r} is no number")
    return number


def json_key(key: str) -> str:
    """A key as JSON."""
    return f'"{escaped(key)}"'


def _piece(kind: Kind, text: str) -> Event:
    return Event(kind, text if kind == "thoughts" else escaped(text))


def _collected(steps: Steps[bool]) -> Steps[str]:
    """The short text that the steps pass on."""
    pieces: list[str] = []
    for event in steps:
        if event is None:
            yield None
            continue
        pieces.append(event.text)
        if sum(map(len, pieces)) > MAX_WORD:
            raise Unreadable(f"a key is longer than {MAX_WORD} characters")
    return "".join(pieces)


def _escape(text: str, at: int) -> tuple[str, int] | None:
    """What the escape at `at` stands for, and where it ends; None if it is not all there."""
    sign = text[at + 1 : at + 2]
    if not sign:
        return None
    if sign in _ESCAPES:
        return _ESCAPES[sign], at + 2
    if sign in "01234567":
        digits = end_of(_OCTAL, text, at + 1)
        if digits == len(text) and digits - at < 4:
            return None
        return chr(int(text[at + 1 : digits], 8)), digits
    if sign in _HEX:
        end = at + 2 + _HEX[sign]
        code = text[at + 2 : end]
        if not re.fullmatch("[0-9a-fA-F]*", code):
            raise Unreadable(f"not an escape: {text[at : at + 2]!r}")
        if end > len(text):
            return None
        return _character(text, int(code, 16), end)
    if sign == "N":
        end = text.find("}", at, at + _LONGEST_NAME)
        if end < 0 and len(text) - at < _LONGEST_NAME:
            return None
        try:
            return unicodedata.lookup(text[at + 3 : max(end, at + 3)]), end + 1
        except KeyError as error:
            raise Unreadable("not an escape: a character of that name does not exist") from error
    return text[at : at + 2], at + 2  # as Python reads an escape that there is not


def _character(text: str, code: int, end: int) -> tuple[str, int] | None:
    """The character of a code, or of it and the other half of a surrogate pair behind it."""
    if code > 0x10FFFF:
        raise Unreadable(f"there is no character {code:#x}")
    if not 0xD800 <= code <= 0xDFFF:
        return chr(code), end
    if code < 0xDC00:
        if low := _LOW.match(text, end):
            paired = 0x10000 + ((code - 0xD800) << 10) + (int(low[1], 16) - 0xDC00)
            return chr(paired), low.end()
        if _LOW_SO_FAR.match(text, end):
            return None
    return "\N{REPLACEMENT CHARACTER}", end
