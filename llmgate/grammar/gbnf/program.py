"""Reads GBNF into plain productions, as strictly as llama.cpp does and a little more.

Groups and repetitions become rules of their own in the way llama.cpp expands them, so that
its limits can be checked on the same numbers. What llama.cpp lets pass but certainly was not
meant (an empty class, a reversed range, a rule defined twice) is an error here.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

import msgspec

from llmgate.errors import GrammarError

# llama.cpp refuses counts from 2,000 on, and lets a larger upper bound quietly become none.
MOST_REPEATED: Final = 2000
_DEEPEST_GROUP: Final = 100
_LARGEST: Final = 2_000_000

_NAME: Final = re.compile(r"[a-zA-Z0-9-]+")
_SPACE: Final = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_SPACE_LINES: Final = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_PLAIN: Final = re.compile(r'[^"\\]+')
_COUNT: Final = re.compile(r"\{[ \t]*([0-9]+)[ \t]*(?:(,)[ \t]*([0-9]+)?[ \t]*)?\}")
_COUNT_LINES: Final = re.compile(_COUNT.pattern.replace(r"[ \t]", r"[ \t\r\n]"))
_HEX: Final = {"x": 2, "u": 4, "U": 8}
_ESCAPES: Final = {"t": "\t", "r": "\r", "n": "\n", "\\": "\\", '"': '"', "[": "[", "]": "]"}


class Chars(msgspec.Struct, frozen=True):
    """A set of code points: inclusive ranges, or all but them; `source` is its GBNF."""

    ranges: tuple[tuple[int, int], ...]
    negated: bool
    source: str

    def has(self, code: int) -> bool:
        """Whether the code point is in the set."""
        for low, high in self.ranges:
            if low <= code <= high:
                return not self.negated
        return self.negated


class Literal(msgspec.Struct, frozen=True):
    """One character of a string literal."""

    code: int

    def has(self, code: int) -> bool:
        """Whether it is that character."""
        return code == self.code


# A number is a reference to the rule with that index.
Symbol = int | Chars | Literal
Production = tuple[Symbol, ...]


class Program:
    """Rules as productions: `productions[i]` are the alternatives of the rule `names[i]`.

    A rule that is only referred to has None there. Rules made for groups and repetitions have
    a name with an underscore, which no GBNF name has, and their GBNF in `sources`.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.index: dict[str, int] = {}
        self.productions: list[tuple[Production, ...] | None] = []
        self.sources: dict[int, str] = {}
        self.where: dict[int, tuple[str, int]] = {}
        self.size = 0

    def symbol(self, name: str) -> int:
        """The index of the named rule, new if the name is."""
        index = self.index.get(name)
        if index is None:
            index = self.index[name] = len(self.names)
            self.names.append(name)
            self.productions.append(None)
        return index

    def generated(self, base: str, source: str) -> int:
        """The index of a new rule that stands for `source` inside the rule `base`."""
        index = self.symbol(f"{base}_{len(self.names)}")
        self.sources[index] = source
        return index

    def owner(self, index: int) -> str:
        """The name that the author knows the rule by."""
        return self.names[index].partition("_")[0]

    def place(self, index: int) -> str:
        """Where the rule is defined, or first referred to."""
        return _place(*self.where[index])

    def read(self, text: str) -> Program:
        """Add the rules of a GBNF text. Raises `GrammarError` with line and column."""
        _Reader(self, text).rules()
        return self


class _Reader:
    def __init__(self, program: Program, text: str) -> None:
        self.program = program
        self.text = text
        self.base = ""
        self.depth = 0
        if "\0" in text:
            self.fail(text.index("\0"), "the character U+0000 can't stand here")
        if lone := re.search("[\ud800-\udfff]", text):
            self.fail(lone.start(), "a lone surrogate can't stand here")

    def fail(self, at: int, what: str, hint: str | None = None) -> NoReturn:
        raise GrammarError(f"grammar, {_place(self.text, at)}: {what}.", hint=hint)

    def found(self, at: int) -> str:
        return repr(self.text[at]) if at < len(self.text) else "the end of the grammar"

    def space(self, at: int, lines: bool) -> int:
        match = (_SPACE_LINES if lines else _SPACE).match(self.text, at)
        assert match
        return match.end()

    def rules(self) -> None:
        text, program = self.text, self.program
        at = self.space(0, True)
        while at < len(text):
            name = _NAME.match(text, at)
            if not name:
                hint = None
                if text[at] == "|":
                    hint = "A line can end with '|', but not start with it outside parentheses."
                self.fail(at, f"expected the name of a rule, found {self.found(at)}", hint)
            colon = self.space(name.end(), False)
            if not text.startswith("::=", colon):
                hint = None
                if text.startswith("_", colon):
                    hint = "Names have letters, digits and '-' only."
                self.fail(
                    colon, f"expected '::=' after {name[0]!r}, found {self.found(colon)}", hint
                )
            rule = program.symbol(name[0])
            if program.productions[rule] is not None:
                self.fail(at, f"the rule {name[0]!r} is defined twice")
            self.base = name[0]
            program.where[rule] = (text, at)
            at, found = self.alternatives(self.space(colon + 3, True), False)
            program.productions[rule] = found
            if at < len(text) and text[at] not in "\r\n":
                hint = None
                if text.startswith("::=", at):
                    hint = 'The rule before it is not complete: a body can\'t be empty, write "".'
                self.fail(at, f"expected the end of the rule, found {self.found(at)}", hint)
            at = self.space(at, True)

    def alternatives(self, at: int, nested: bool) -> tuple[int, tuple[Production, ...]]:
        at, first = self.sequence(at, nested)
        found = [first]
        while self.text.startswith("|", at):
            at, following = self.sequence(self.space(at + 1, True), nested)
            found.append(following)
        return at, tuple(found)

    def sequence(self, at: int, nested: bool) -> tuple[int, Production]:
        text, program = self.text, self.program
        out: list[Symbol] = []
        # The last item: where it starts in `out`, its text, and how many rules it made.
        start, item, made = 0, "", 1
        while at < len(text):
            char, begin = text[at], at
            if char == '"':
                start, made = len(out), 1
                at = self.literal(at + 1, out)
            elif char == "[":
                start, made = len(out), 1
                at = self.chars(at, out)
            elif char == ".":
                start, made = len(out), 1
                out.append(Chars((), True, "."))
                at += 1
            elif char == "(":
                before = len(program.names)
                self.depth += 1
                if self.depth > _DEEPEST_GROUP:
                    self.fail(at, f"parentheses nested more than {_DEEPEST_GROUP} deep")
                group = program.generated(self.base, "")
                at, program.productions[group] = self.alternatives(self.space(at + 1, True), True)
                self.depth -= 1
                if not text.startswith(")", at):
                    self.fail(at, f"expected ')', found {self.found(at)}")
                at += 1
                made = max(1, len(program.names) - before)
                start = len(out)
                out.append(group)
                program.sources[group] = text[begin:at]
            elif name := _NAME.match(text, at):
                start, made = len(out), 1
                rule = program.symbol(name[0])
                program.where.setdefault(rule, (text, at))
                out.append(rule)
                at = name.end()
            elif char in "*+?{":
                if start == len(out):
                    self.fail(at, f"nothing stands before {char!r} that it could repeat")
                at, least, most = self.count(at, nested)
                made = self.repeat(begin, out, start, item, made, least, most)
                item = f"({item}{text[begin:at]})"
                at = self.space(at, nested)
                continue
            elif char in "<!":
                self.fail(
                    at,
                    "a token reference depends on one model's vocabulary and is not taken here",
                    "Write its text as a string literal.",
                )
            else:
                break
            item = text[begin:at]
            at = self.space(at, nested)
        program.size += len(out)
        if program.size > _LARGEST:
            self.fail(min(at, len(text)), "the grammar is too large once repetitions are expanded")
        return at, tuple(out)

    def literal(self, at: int, out: list[Symbol]) -> int:
        text = self.text
        begin = at - 1
        while not text.startswith('"', at):
            if at >= len(text):
                self.fail(begin, "the string literal has no closing '\"'")
            if plain := _PLAIN.match(text, at):
                out.extend([Literal(ord(char)) for char in plain[0]])
                at = plain.end()
            else:
                code, at = self.escape(at)
                out.append(Literal(code))
        return at + 1

    def escape(self, at: int) -> tuple[int, int]:
        kind = self.text[at + 1 : at + 2]
        if kind in _HEX:
            digits = self.text[at + 2 : at + 2 + _HEX[kind]]
            if not re.fullmatch(r"[0-9a-fA-F]+", digits) or len(digits) < _HEX[kind]:
                self.fail(at, f"'\\{kind}' wants {_HEX[kind]} hexadecimal digits, found {digits!r}")
            code = int(digits, 16)
            if code > 0x10FFFF:
                self.fail(at, f"there is no character U+{code:X}")
            return code, at + 2 + _HEX[kind]
        if kind not in _ESCAPES or not kind:
            what = f"unknown escape '\\{kind}'"
            self.fail(at, what, 'Known: \\n \\r \\t \\\\ \\" \\[ \\] \\xHH \\uHHHH \\UHHHHHHHH.')
        return ord(_ESCAPES[kind]), at + 2

    def chars(self, at: int, out: list[Symbol]) -> int:
        text, begin = self.text, at
        at += 1
        negated = text.startswith("^", at)
        at += negated
        ranges: list[tuple[int, int]] = []
        while at < len(text) and text[at] != "]":
            low, at = self.one(at)
            high = low
            if text.startswith("-", at) and not text.startswith("-]", at) and at + 1 < len(text):
                dash = at
                high, at = self.one(at + 1)
                if high < low:
                    self.fail(dash, f"the range {chr(low)!r}-{chr(high)!r} runs backwards")
            ranges.append((low, high))
        if at >= len(text):
            self.fail(begin, "the character class has no closing ']'")
        if not ranges:
            self.fail(begin, "the character class is empty")
        if negated and _covers_all(ranges):
            self.fail(begin, "the character class excludes every character")
        out.append(Chars(tuple(ranges), negated, text[begin : at + 1]))
        return at + 1

    def one(self, at: int) -> tuple[int, int]:
        if self.text[at] == "\\":
            return self.escape(at)
        return ord(self.text[at]), at + 1

    def count(self, at: int, nested: bool) -> tuple[int, int, int | None]:
        char = self.text[at]
        if char != "{":
            return at + 1, int(char == "+"), 1 if char == "?" else None
        found = (_COUNT_LINES if nested else _COUNT).match(self.text, at)
        if not found:
            self.fail(at, "expected a count like {2}, {2,} or {2,5}")
        least = _number(found[1])
        most = least if not found[2] else None if found[3] is None else _number(found[3])
        if least >= MOST_REPEATED or (most or 0) >= MOST_REPEATED:
            self.fail(at, f"the count {found[0]} is too large", "At most 1,999 is possible.")
        if most is not None and most < least:
            self.fail(at, f"the count {found[0]} runs backwards")
        return found.end(), least, most

    def repeat(
        self,
        at: int,
        out: list[Symbol],
        start: int,
        item: str,
        made: int,
        least: int,
        most: int | None,
    ) -> int:
        program = self.program
        unit = out[start:]
        total = most or least or 1
        if made * total >= MOST_REPEATED:
            self.fail(
                at,
                f"{total} repetitions of an item that makes {made} rules of its own are too many",
                "llama.cpp allows less than 2,000 in all: put the item into a rule of its own.",
            )
        program.size += len(unit) * max(least, 1)
        if program.size > _LARGEST:
            self.fail(at, "the grammar is too large once repetitions are expanded")
        del out[start:]
        out.extend(unit * least)
        if most is None:
            again = program.generated(self.base, f"{item}*")
            program.productions[again] = ((*unit, again), ())
            out.append(again)
            return made * total
        last: tuple[int, ...] = ()
        for number in range(most - least):
            rule = program.generated(self.base, f"{item}{{0,{number + 1}}}")
            program.productions[rule] = ((*unit, *last), ())
            last = (rule,)
        out.extend(last)
        return made * total


def _covers_all(ranges: list[tuple[int, int]]) -> bool:
    reached = -1
    for low, high in sorted(ranges):
        if low > reached + 1:
            return False
        reached = max(reached, high)
    return reached >= 0x10FFFF


def _place(text: str, at: int) -> str:
    return f"line {text.count(chr(10), 0, at) + 1}, column {at - text.rfind(chr(10), 0, at)}"


def _number(digits: str) -> int:
    return int(digits) if len(digits) < 6 else MOST_REPEATED
