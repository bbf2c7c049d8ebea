"""Sets of code points as sorted ranges, and the sets that regular expressions have names for."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from typing import Final

# Inclusive, sorted, apart from each other by at least one code point.
Ranges = tuple[tuple[int, int], ...]

LAST: Final = sys.maxunicode
ALL: Final[Ranges] = ((0, LAST),)
DIGIT: Final[Ranges] = ((0x30, 0x39),)
WORD: Final[Ranges] = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
# White space and line ends as ECMA-262 lists them.
SPACE: Final[Ranges] = (
    (0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A),
    (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF),
)  # fmt: skip
LINE_END: Final[Ranges] = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))
# Half of a character that UTF-16 writes as two: never a character by itself.
SURROGATES: Final[Ranges] = ((0xD800, 0xDFFF),)

# No character is assigned, or will be soon, between these; the planes above are for private use.
_ASSIGNED: Final = (range(0x33480), range(0xE0000, 0xE01F0))
_LONG_NAMES: Final = {
    "letter": "L", "casedletter": "LC", "uppercaseletter": "Lu", "lowercaseletter": "Ll",
    "titlecaseletter": "Lt", "modifierletter": "Lm", "otherletter": "Lo", "mark": "M",
    "combiningmark": "M", "nonspacingmark": "Mn", "spacingmark": "Mc", "enclosingmark": "Me",
    "number": "N", "decimalnumber": "Nd", "digit": "Nd", "letternumber": "Nl",
    "othernumber": "No", "punctuation": "P", "punct": "P", "connectorpunctuation": "Pc",
    "dashpunctuation": "Pd", "openpunctuation": "Ps", "closepunctuation": "Pe",
    "initialpunctuation": "Pi", "finalpunctuation": "Pf", "otherpunctuation": "Po",
    "symbol": "S", "mathsymbol": "Sm", "currencysymbol": "Sc", "modifiersymbol": "Sk",
    "othersymbol": "So", "separator": "Z", "spaceseparator": "Zs", "lineseparator": "Zl",
    "paragraphseparator": "Zp", "other": "C", "control": "Cc", "cntrl": "Cc", "format": "Cf",
    "privateuse": "Co", "unassigned": "Cn",
}  # fmt: skip


def union(parts: Iterable[Ranges]) -> Ranges:
    """What is in any of the sets."""
    every = sorted(one for part in parts for one in part)
    out: list[tuple[int, int]] = []
    for low, high in every:
        if out and low <= out[-1][1] + 1:
            if high > out[-1][1]:
                out[-1] = (out[-1][0], high)
        else:
            out.append((low, high))
    return tuple(out)


def complement(ranges: Ranges) -> Ranges:
    """Every other code point."""
    out: list[tuple[int, int]] = []
    at = 0
    for low, high in ranges:
        if low > at:
            out.append((at, low - 1))
        at = high + 1
    if at <= LAST:
        out.append((at, LAST))
    return tuple(out)


def both(left: Ranges, right: Ranges) -> Ranges:
    """What is in both sets."""
    out: list[tuple[int, int]] = []
    i = j = 0
    while i < len(left) and j < len(right):
        low, high = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if low <= high:
            out.append((low, high))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(out)


def without(left: Ranges, right: Ranges) -> Ranges:
    """What is in `left` only."""
    return both(left, complement(right))


def has(ranges: Ranges, code: int) -> bool:
    """Whether the code point is in the set."""
    return any(low <= code <= high for low, high in ranges)


def of(codes: Iterable[int]) -> Ranges:
    """The set of these code points."""
    return union(((code, code),) for code in codes)


def category(name: str) -> Ranges | None:
    """The characters of a general category like `Lu`, `L` or `Uppercase_Letter`; else None."""
    plain = name.replace("_", "").replace(" ", "").lower()
    if plain == "any":
        return ALL
    if plain == "ascii":
        return ((0, 0x7F),)
    short = _LONG_NAMES.get(plain, name)
    table = _categories()
    if short == "LC":
        return union(table[one] for one in ("Lu", "Ll", "Lt"))
    if short in table:
        return table[short]
    if len(short) == 1:
        found = [ranges for one, ranges in table.items() if one[0] == short]
        return union(found) if found else None
    return None


@lru_cache(maxsize=1)
def _categories() -> dict[str, Ranges]:
    found: dict[str, list[tuple[int, int]]] = {
        "Co": [(0xF0000, 0xFFFFD), (0x100000, 0x10FFFD)],
        "Cn": [(0x33480, 0xDFFFF), (0xE01F0, 0xEFFFF), (0xFFFFE, 0xFFFFF), (0x10FFFE, LAST)],
    }
    for block in _ASSIGNED:
        code = block.start
        for name, group in groupby(map(unicodedata.category, map(chr, block))):
            count = len(list(group))
            found.setdefault(name, []).append((code, code + count - 1))
            code += count
    return {name: union([tuple(ranges)]) for name, ranges in found.items()}


def folded(ranges: Ranges) -> Ranges:
    """The set with everything that differs from its members by case only."""
    if ranges and ranges[-1][1] < 0x80:
        letters = [(low - 32, high - 32) for low, high in both(ranges, ((0x61, 0x7A),))]
        letters += [(low + 32, high + 32) for low, high in both(ranges, ((0x41, 0x5A),))]
        # The long s and the sign for kelvin.
        if has(ranges, 0x53) or has(ranges, 0x73):
            letters.append((0x17F, 0x17F))
        if has(ranges, 0x4B) or has(ranges, 0x6B):
            letters.append((0x212A, 0x212A))
        return union([ranges, tuple(sorted(letters))])
    extra: set[int] = set()
    for code, orbit in _orbits().items():
        if has(ranges, code):
            extra |= orbit
    return union([ranges, of(extra)])


@lru_cache(maxsize=1)
def _orbits() -> dict[int, frozenset[int]]:
    """For each character that has another case: all of its cases."""
    groups: dict[str, set[int]] = {}
    for code in range(0x1E944):
        char = chr(code)
        low, high = char.lower(), char.upper()
        if low != char or high != char:
            # Simple case folding, one character to one: where upper case is several, the
            # character stays what it is.
            key = high.lower() if len(high) == 1 and len(high.lower()) == 1 else low
            if len(key) == 1:
                groups.setdefault(key, set()).update((code, ord(key)))
    return {code: frozenset(group) for group in groups.values() for code in group}
