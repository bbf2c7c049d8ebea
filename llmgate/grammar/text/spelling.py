"""How characters are written: inside a JSON string with its escapes, or as they are."""

from __future__ import annotations

import json
import unicodedata
from functools import lru_cache
from typing import Final, Protocol

from llmgate.grammar.builder import Builder, json_text, quote
from llmgate.grammar.text import charsets
from llmgate.grammar.text.charsets import LAST, Ranges

_UNWRITTEN: Final = charsets.union(
    [((0x00, 0x1F), (0x22, 0x22), (0x5C, 0x5C)), charsets.SURROGATES]
)
_RAW: Final = charsets.complement(_UNWRITTEN)
_PRINTABLE: Final[Ranges] = ((0x20, 0x7E),)
# What json.dumps writes as \uXXXX; printable characters never need that, so where not every
# character may stand, no grammar offers it for them.
_ESCAPED: Final = charsets.complement(charsets.union([_PRINTABLE, charsets.SURROGATES]))
# The engines take U+0000 for the end of a text.
_UNREAD: Final = charsets.union([charsets.SURROGATES, ((0, 0),)])
_EVERY: Final = charsets.complement(charsets.SURROGATES)
_SHORT: Final = {0x22: '"', 0x5C: "\\", 0x2F: "/", 8: "b", 12: "f", 10: "n", 13: "r", 9: "t"}
_SLASH: Final = charsets.of([0x2F])
_DIGITS: Final = "0123456789abcdef"
_SHUNNED: Final = frozenset(("Mn", "Me", "Mc", "Cf", "Cc", "Cn", "Co", "Zs", "Zl", "Zp"))


class Spelling(Protocol):
    """Expressions for characters, as they are written in one kind of text."""

    def chars(self, builder: Builder, ranges: Ranges) -> str | None:
        """An expression for one character out of a set; None if none of them can be written."""

    def single(self, code: int) -> str | None:
        """How a character is written; None if there are several ways, or none."""

    def forms(self, text: str) -> tuple[str, ...]:
        """How a whole text is written."""


class Json:
    """Inside the quotes of a JSON string: raw, and in the escapes that json.dumps writes."""

    def chars(self, builder: Builder, ranges: Ranges) -> str | None:
        if charsets.both(ranges, _EVERY) == _EVERY:
            return builder.use("char")
        inside, escape = _json_chars(ranges)
        if escape is not None and not builder.dialect.slash:
            escape = _json_chars(charsets.without(ranges, _SLASH))[1]
        if escape is None:
            return inside
        for name in ("hex", "beyond"):
            if name in escape:
                builder.use(name)
        # Sets that differ in plain characters only have their escapes in common.
        if len(escape) > 24:
            escape = builder.rule("escape", escape)
        if inside is None and escape[0] == '"' and " " not in escape:
            return escape
        return builder.rule("one", escape if inside is None else f"{inside} | {escape}")

    def single(self, code: int) -> str | None:
        if 0x20 <= code <= 0x7E or code in _SHORT:
            return json.dumps(chr(code))[1:-1]
        return None

    def forms(self, text: str) -> tuple[str, ...]:
        return tuple(form[1:-1] for form in json_text(text))


class Plain:
    """As they are."""

    def chars(self, builder: Builder, ranges: Ranges) -> str | None:
        return bracket(charsets.without(ranges, _UNREAD))

    def single(self, code: int) -> str | None:
        return None if charsets.has(_UNREAD, code) else chr(code)

    def forms(self, text: str) -> tuple[str, ...]:
        return () if any(charsets.has(_UNREAD, ord(char)) for char in text) else (text,)


JSON: Final = Json()
PLAIN: Final = Plain()

_ANY_CODE: Final = (
    '"u" ("00" ([01] hex | "7" [fF] | [89a-fA-F] hex) | "0" [1-9a-fA-F] hex hex | beyond)'
)


@lru_cache(maxsize=1_024)
def _json_chars(ranges: Ranges) -> tuple[str | None, str | None]:
    """A class for the characters that stand for themselves, and alternatives for the escapes."""
    inside = bracket(charsets.both(ranges, _RAW))
    shorts = "".join(mark for code, mark in _SHORT.items() if charsets.has(ranges, code))
    # The slash is only written with a backslash where others are.
    shorts = "" if shorts == "/" else shorts
    escaped = charsets.both(ranges, _ESCAPED)
    ways = []
    if shorts:
        ways.append(f"[{_inside_of(shorts)}]" if len(shorts) > 1 else quote(shorts))
    if escaped == _ESCAPED:
        ways.append(_ANY_CODE)
    elif escaped:
        ways.append(f'"u" {_hexadecimal(escaped)}')
    if not ways:
        return inside, None
    if shorts and not escaped and len(shorts) == 1:
        return inside, quote(f"\\{shorts}")
    # Literals beside each other are one; none of them has a blank in it.
    return inside, ('"\\\\" ' + _either(ways)).replace('" "', "")


def bracket(ranges: Ranges) -> str | None:
    """A class, or a literal for a single character; None for the empty set.

    What is left out is only named where all of it is ASCII: of a character whose bytes come one
    by one, llama.cpp takes the first byte for an excluded one that begins with it.
    """
    if not ranges:
        return None
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return quote(chr(ranges[0][0]))
    if ranges[-1][1] == LAST:
        # Halves of surrogate pairs are never met, so they may be in or out.
        whole = charsets.union([ranges, charsets.SURROGATES])
        others = charsets.complement(whole)
        if not others:
            return "."
        if others[-1][1] < 0x80:
            return f"[^{_ranges(others)}]"
        if charsets.has(ranges, 0xD7FF) and charsets.has(ranges, 0xE000):
            ranges = whole
    return f"[{_ranges(ranges)}]"


def _ranges(ranges: Ranges) -> str:
    out = []
    for low, high in ranges:
        out.append(_member(low))
        if high > low:
            out.append(("-" if high > low + 1 else "") + _member(high))
    return "".join(out)


def _member(code: int) -> str:
    char = chr(code)
    if code > 0x7E:
        if unicodedata.category(char) not in _SHUNNED:
            return char
        return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
    if code < 0x20 or char in "-^":
        return f"\\x{code:02X}"
    return f"\\{char}" if char in "\\][" else char


def _inside_of(chars: str) -> str:
    return "".join(_member(ord(char)) for char in chars)


def _hexadecimal(ranges: Ranges) -> str:
    """The hexadecimal digits after `\\u` for each of the code points, with pairs of surrogates."""
    low = [(a, min(b, 0xFFFF)) for a, b in ranges if a <= 0xFFFF]
    high = [(max(a, 0x10000) - 0x10000, b - 0x10000) for a, b in ranges if b > 0xFFFF]
    ways = _digits(low, 4) if low else []
    # Leading halves that go with the same trailing halves, together.
    groups: dict[tuple[tuple[int, int], ...], list[tuple[int, int]]] = {}
    trailing: dict[int, list[tuple[int, int]]] = {}
    for a, b in high:
        first, last = a >> 10, b >> 10
        if first == last:
            trailing.setdefault(first, []).append((a & 0x3FF, b & 0x3FF))
            continue
        if a & 0x3FF:
            trailing.setdefault(first, []).append((a & 0x3FF, 0x3FF))
            first += 1
        if b & 0x3FF != 0x3FF:
            trailing.setdefault(last, []).append((0, b & 0x3FF))
            last -= 1
        if first <= last:
            groups.setdefault(((0, 0x3FF),), []).append((first, last))
    for half, parts in trailing.items():
        groups.setdefault(tuple(parts), []).append((half, half))
    for tails, halves in groups.items():
        lead = _digits([(0xD800 + a, 0xD800 + b) for a, b in charsets.union([tuple(halves)])], 4)
        tail = _digits([(0xDC00 + a, 0xDC00 + b) for a, b in tails], 4)
        ways.append(f'{_either(lead)} "\\\\u" {_either(tail)}')
    return _either(ways)


def _digits(ranges: list[tuple[int, int]], count: int) -> list[str]:
    """Alternatives for the numbers in the ranges, with that many hexadecimal digits."""
    if count == 0:
        return []
    size = 16 ** (count - 1)
    # For each first digit what may follow it; equal ones go together.
    rests: dict[int, list[tuple[int, int]]] = {}
    for low, high in ranges:
        first_digit, low = divmod(low, size)
        last_digit, high = divmod(high, size)
        for digit in range(first_digit, last_digit):
            rests.setdefault(digit, []).append((low, size - 1))
            low = 0
        rests.setdefault(last_digit, []).append((low, high))
    groups: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for digit, parts in rests.items():
        groups.setdefault(tuple(parts), []).append(digit)
    ways = []
    for rest, digits in groups.items():
        first = "hex" if len(digits) == 16 else _digit_class(digits)
        if count == 1:
            ways.append(first)
        elif rest == ((0, size - 1),):
            ways.append(" ".join([first, *["hex"] * (count - 1)]))
        else:
            ways.append(f"{first} {_either(_digits(list(rest), count - 1))}")
    return ways


def _digit_class(digits: list[int]) -> str:
    if len(digits) == 1 and digits[0] < 10:
        return quote(_DIGITS[digits[0]])
    # From digit to digit, and from letter to letter.
    runs: list[tuple[int, int]] = []
    for digit in digits:
        if runs and runs[-1][1] == digit - 1 and digit != 10:
            runs[-1] = (runs[-1][0], digit)
        else:
            runs.append((digit, digit))
    ranges = [(0x30 + low, 0x30 + high) for low, high in runs if high < 10]
    for letters in (0x41, 0x61):
        ranges += [(letters + low - 10, letters + high - 10) for low, high in runs if low >= 10]
    return f"[{_ranges(tuple(ranges))}]"


def _either(ways: list[str]) -> str:
    return ways[0] if len(ways) == 1 else f"({' | '.join(ways)})"
