"""Reads regular expressions as ECMA-262 defines them, with the flag `u` where that is possible.

What validators of JSON Schema take differently from one another is refused (`Inexact`), so
that a grammar never promises more than the validator holds.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal, NoReturn

from llmgate.grammar.text import charsets
from llmgate.grammar.text.charsets import Ranges
from llmgate.grammar.text.expressions import (
    EMPTY,
    Assertion,
    Chars,
    Inexact,
    Node,
    TooLarge,
    alt,
    cat,
    repeat,
)

__all__ = ["Inexact", "TooLarge", "parse"]

_LONGEST: Final = 20_000
_DEEPEST: Final = 40
_MOST: Final = 1_000_000_000
# So much of a group is compared first.
_BEGINNING: Final = 8


@lru_cache(maxsize=2_048)
def parse(source: str) -> Node:
    """The expression as a tree. Raises `Inexact` for what can't be read or held exactly."""
    if len(source) > _LONGEST:
        raise TooLarge("the expression is too long")
    reader = _Reader(source)
    node = reader.alternatives(0)
    if reader.at < len(source):
        reader.fail("a ')' has no '('")
    return node


_CONTROL: Final = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_SETS: Final[dict[str, Ranges]] = {
    "d": charsets.DIGIT,
    "w": charsets.WORD,
    "s": charsets.SPACE,
    "D": charsets.complement(charsets.DIGIT),
    "W": charsets.complement(charsets.WORD),
    "S": charsets.complement(charsets.SPACE),
}
_DOT: Final = charsets.complement(charsets.LINE_END)
# From behind the bracket to the one that closes it.
_CLASS: Final = re.compile(r"(?:[^\]\\]|\\.)+\]", re.DOTALL)
_HEX: Final = frozenset("0123456789abcdefABCDEF")


class _Reader:
    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.fold = False
        self.dot_all = False
        # Long expressions, such as those of formats, repeat a few classes again and again.
        self.classes: dict[tuple[str, bool], Chars] = {}
        # And groups: by how they begin, with their flags, what they are.
        self.groups: dict[tuple[str, bool, bool], list[tuple[str, Node]]] = {}

    def fail(self, what: str) -> NoReturn:
        source = self.source if len(self.source) < 60 else f"{self.source[:57]}…"
        raise Inexact(f"in the expression {source!r}, character {self.at}: {what}")

    def peek(self, text: str) -> bool:
        return self.source.startswith(text, self.at)

    def take(self, text: str) -> bool:
        if self.source.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def alternatives(self, depth: int) -> Node:
        if depth > _DEEPEST:
            self.fail("groups are nested too deep")
        # Flags set inside a group end with it.
        flags = self.fold, self.dot_all
        ways = [self.sequence(depth)]
        while self.take("|"):
            ways.append(self.sequence(depth))
        self.fold, self.dot_all = flags
        return ways[0] if len(ways) == 1 else alt(ways)

    def sequence(self, depth: int) -> Node:
        source, parts = self.source, []
        while self.at < len(source) and source[self.at] not in "|)":
            node = self.term(depth)
            parts.append(self.counted(node))
        return cat(parts)

    def term(self, depth: int) -> Node:
        char = self.source[self.at]
        if char == "(":
            return self.group(depth)
        self.at += 1
        if char == "[":
            return self.known_class()
        if char == ".":
            return Chars(charsets.ALL if self.dot_all else _DOT)
        if char == "^":
            return Assertion("start")
        if char == "$":
            return Assertion("end")
        if char == "\\":
            return self.escape()
        if char in "*+?" or (char == "{" and self.count(self.at) is not None):
            self.at -= 1
            self.fail(f"nothing stands before {char!r} that it could repeat")
        return self.one(ord(char))

    def one(self, code: int) -> Node:
        if 0xD800 <= code <= 0xDFFF:
            self.fail("half of a surrogate pair is no character")
        return self.set(((code, code),))

    def set(self, ranges: Ranges) -> Node:
        return Chars(charsets.folded(ranges) if self.fold else ranges)

    def counted(self, node: Node) -> Node:
        found = self.count(self.at)
        if found is None:
            return node
        least, most, self.at = found
        if most is not None and most < least:
            self.fail("a count runs backwards")
        self.take("?")
        if self.count(self.at) is not None:
            self.fail("what follows a count is read differently by different engines")
        return repeat(node, least, most)

    def count(self, at: int) -> tuple[int, int | None, int] | None:
        """The count that starts there, if one does, and where it ends."""
        source = self.source
        char = source[at : at + 1]
        if char in ("*", "+", "?"):
            return int(char == "+"), 1 if char == "?" else None, at + 1
        end = source.find("}", at) if char == "{" else -1
        if end < 0:
            return None
        low, comma, high = source[at + 1 : end].partition(",")
        if not _number(low) or (high and not _number(high)):
            return None
        least = min(int(low), _MOST)
        if not comma:
            return least, least, end + 1
        return least, min(int(high), _MOST) if high else None, end + 1

    def group(self, depth: int) -> Node:
        start = self.at
        beginning = (self.source[start : start + _BEGINNING], self.fold, self.dot_all)
        known = self.groups.setdefault(beginning, [])
        for text, node in known:
            if self.source.startswith(text, start):
                self.at += len(text)
                return node
        self.at += 1
        kind: tuple[Literal["ahead", "behind"], bool] | None = None
        if self.take("?"):
            if self.take("="):
                kind = ("ahead", True)
            elif self.take("!"):
                kind = ("ahead", False)
            elif self.take("<="):
                kind = ("behind", True)
            elif self.take("<!"):
                kind = ("behind", False)
            elif self.take("<") or self.take("P<"):
                end = self.source.find(">", self.at)
                if end < 0 or not self.source[self.at : end].isidentifier():
                    self.fail("a group's name has no end")
                self.at = end + 1
            elif not self.take(":"):
                return self.flags(depth)
        node = self.alternatives(depth + 1)
        if not self.take(")"):
            self.fail("a '(' has no ')'")
        if kind is not None:
            node = Assertion(kind[0], kind[1], node)
        known.append((self.source[start : self.at], node))
        return node

    def flags(self, depth: int) -> Node:
        """`(?i)` to the end of the group around it, or `(?i:…)`."""
        before = self.fold, self.dot_all
        on = True
        while self.at < len(self.source) and self.source[self.at] not in ":)":
            char = self.source[self.at]
            if char == "-":
                on = False
            elif char == "i":
                self.fold = on
            elif char == "s":
                self.dot_all = on
            elif char != "u" or not on:
                self.fail(f"'(?{char}' is not known here")
            self.at += 1
        if self.take(")"):
            return EMPTY
        if not self.take(":"):
            self.fail("a '(' has no ')'")
        node = self.alternatives(depth + 1)
        if not self.take(")"):
            self.fail("a '(' has no ')'")
        self.fold, self.dot_all = before
        return node

    def escape(self) -> Node:
        """What stands after a backslash, outside of a class."""
        if self.at >= len(self.source):
            self.fail("nothing follows the last backslash")
        char = self.source[self.at]
        if char in "bB":
            self.at += 1
            return Assertion("word", char == "b")
        # Not in ECMA-262, but every validator that takes them means these.
        if char in "Az":
            self.at += 1
            return Assertion("start" if char == "A" else "end")
        if char in "123456789k":
            self.fail("a group's text can't be asked for again")
        found = self.set_escape()
        if found is not None:
            return self.set(found)
        return self.one(self.character())

    def set_escape(self) -> Ranges | None:
        """The set that an escape stands for, if it is one."""
        char = self.source[self.at]
        if char in _SETS:
            self.at += 1
            if self.fold and char in "DWS":
                return charsets.complement(charsets.folded(_SETS[char.lower()]))
            return _SETS[char]
        if char not in "pP":
            return None
        self.at += 1
        if self.take("{"):
            end = self.source.find("}", self.at)
            name = self.source[self.at : max(end, self.at)]
            following = end + 1
        else:
            name, following = self.source[self.at : self.at + 1], self.at + 1
        for start in ("General_Category=", "gc="):
            name = name.removeprefix(start)
        found = charsets.category(name)
        if found is None:
            self.fail(f"the property {name!r} of characters is not known here")
        self.at = following
        if char == "p":
            return found
        # What is not assigned yet may be in the set tomorrow.
        unassigned = charsets.category("Cn")
        assert unassigned is not None
        return charsets.without(charsets.complement(found), unassigned)

    def character(self) -> int:
        """The code point that an escape stands for."""
        char = self.source[self.at]
        self.at += 1
        if char in _CONTROL:
            return _CONTROL[char]
        if char == "c":
            letter = self.source[self.at : self.at + 1]
            if not (letter.isascii() and letter.isalpha()):
                self.fail("'\\c' wants a letter")
            self.at += 1
            return ord(letter) % 32
        if char == "0" and not self.source[self.at : self.at + 1].isdecimal():
            return 0
        if char == "x":
            return self.hexadecimal(2)
        if char == "u":
            if self.take("{"):
                end = self.source.find("}", self.at)
                code = self.hexadecimal(max(end - self.at, 0))
                self.at += 1
                return code
            code = self.hexadecimal(4)
            if 0xD800 <= code <= 0xDBFF and self.take("\\u"):
                low = self.hexadecimal(4)
                if not 0xDC00 <= low <= 0xDFFF:
                    self.fail("half of a surrogate pair is no character")
                return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
            return code
        if char.isalnum() or char in "<>":
            self.fail(f"'\\{char}' is read differently by different engines")
        return ord(char)

    def hexadecimal(self, count: int) -> int:
        digits = self.source[self.at : self.at + count]
        if len(digits) < count or not digits or not _HEX.issuperset(digits):
            self.fail("hexadecimal digits are missing")
        code = int(digits, 16) if count < 9 else charsets.LAST + 1
        if code > charsets.LAST:
            self.fail("there is no such character")
        self.at += count
        return code

    def known_class(self) -> Chars:
        """A class, read once only."""
        start = self.at
        found = _CLASS.match(self.source, start)
        key = (found[0] if found else "", self.fold)
        known = self.classes.get(key)
        if known is not None:
            self.at += len(key[0])
            return known
        node = Chars(self.char_class())
        if self.at == start + len(key[0]):
            self.classes[key] = node
        return node

    def char_class(self) -> Ranges:
        source = self.source
        negated = self.take("^")
        if self.peek("]"):
            self.fail("a ']' that comes first in a class is read differently by different engines")
        parts: list[Ranges] = []
        while not self.take("]"):
            if self.at >= len(source):
                self.fail("a '[' has no ']'")
            low = self.member()
            if self.peek("-") and not self.peek("-]") and self.at + 1 < len(source):
                dash = self.at
                self.at += 1
                high = self.member()
                if isinstance(low, int) and isinstance(high, int):
                    if high < low:
                        self.at = dash
                        self.fail("a range runs backwards")
                    parts.append(((low, high),))
                    continue
                # Beside a set, the dash is a dash.
                parts.append(((0x2D, 0x2D),))
                parts.append(((high, high),) if isinstance(high, int) else high)
            parts.append(((low, low),) if isinstance(low, int) else low)
        ranges = charsets.union(parts)
        if self.fold:
            ranges = charsets.folded(ranges)
        return charsets.complement(ranges) if negated else ranges

    def member(self) -> int | Ranges:
        """One character of a class, or a set in it."""
        char = self.source[self.at]
        self.at += 1
        if char != "\\":
            code = ord(char)
        elif self.at >= len(self.source):
            self.fail("nothing follows the last backslash")
        else:
            found = self.set_escape()
            if found is not None:
                return found
            code = 8 if self.take("b") else self.character()
        if 0xD800 <= code <= 0xDFFF:
            self.fail("half of a surrogate pair is no character")
        return code


def _number(text: str) -> bool:
    return text.isascii() and text.isdecimal()
