"""Collects GBNF rules: names them, shares equal ones, brings the common ones in when used."""

from __future__ import annotations

import re
from json.encoder import encode_basestring, encode_basestring_ascii
from math import isqrt
from typing import Any, Final

from llmgate.grammar.dialect import GEMMA, JSON, PYTHON, Dialect

# What stands between and behind a rule's name and its body.
_AROUND: Final = len(" ::= \n")
# A unit that is repeated more often than this is repeated in chunks: llama.cpp makes one rule
# per repetition and refuses 2,000.
_DIRECT: Final = 128
MOST_REPETITIONS: Final = 250_000
MOST_KEY_CHARACTERS: Final = 1_500

# Rules that several schemas need. Each may use the ones named in its text.
PRIMITIVES: Final[dict[str, str]] = {
    # What json.dumps writes by default, compact and indented; bounded, so that a model that
    # has nothing to say can't write blanks for ever.
    "ws": '| " " | "\\n" [ \\t]{0,32}',
    "sp": '" "?',
    "hex": "[0-9a-fA-F]",
    # A code point in \u notation: surrogates only in pairs, since a lone one is no character.
    "unicode": '"u" ("0" hex hex hex | beyond)',
    "beyond": (
        "[1-9a-cA-CefEF] hex hex hex | [dD] [0-7] hex hex"
        ' | [dD] [89abAB] hex hex "\\\\u" [dD] [c-fC-F] hex hex'
    ),
    "char": '[^"\\\\\\x00-\\x1F] | "\\\\" (["\\\\/bfnrt] | unicode)',
    "string": '"\\"" char* "\\""',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "integer": '"0" | "-"? [1-9] [0-9]{0,19}',
    # Exponents stay below what a double holds, so that nothing reads as infinity.
    "number": (
        '"-"? (("0" | [1-9] [0-9]{0,19}) fraction? ([eE] [-+]? [0-9]{1,2})?'
        ' | [0-9] fraction? [eE] ([+]? ([12] [0-9] [0-9] | "30" [0-7])'
        ' | "-" ([12] [0-9] [0-9] | "3" [01] [0-9] | "32" [0-4])))'
    ),
    "fraction": '"." [0-9]{1,24}',
    "value": "object | array | string | number | boolean | null",
    "object": '"{" ws (member ("," ws member)* ws)? "}"',
    "member": 'string ":" sp value',
    "array": '"[" ws (value ("," ws value)* ws)? "]"',
}
# Literals and classes; plain characters are taken in runs, since there are many.
_QUOTED = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|\[[^\]\\]*(?:\\.[^\]\\]*)*\]')
_USES: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(word for word in dict.fromkeys(re.findall(r"[a-z]+", _QUOTED.sub(" ", body))))
    for name, body in PRIMITIVES.items()
}


def _closure(name: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    todo = [name]
    while todo:
        one = todo.pop()
        if one not in found:
            found[one] = None
            todo += reversed(_USES[one])
    return tuple(found)


# Each common rule with all that it needs.
_ALL_USES: Final = {name: _closure(name) for name in PRIMITIVES}
_OWN: Final = frozenset(f"{one.name}-{name}" for one in (PYTHON, GEMMA) for name in one.rules)
_WORDS: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
# What stands between names outside of literals and classes.
_SIGNS: Final = str.maketrans(dict.fromkeys("()|?*+{},", " "))
_UNFIT = re.compile(r"[^a-zA-Z0-9]+")


def quote(text: str) -> str:
    """A GBNF string literal that matches exactly `text`."""
    if '"' in text or "\\" in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    if not (text.isascii() and text.isprintable()):
        text = text.translate(_CONTROLS)
    return f'"{text}"'


_CONTROLS: Final = {
    **{code: f"\\x{code:02X}" for code in (*range(0x20), *range(0x7F, 0xA0))},
    **{code: f"\\u{code:04X}" for code in (0x2028, 0x2029)},
    0x0A: "\\n",
    0x0D: "\\r",
    0x09: "\\t",
}


_Snapshot = tuple[dict[str, str], dict[str, str], set[str], dict[tuple[str, object], str], int]


class Builder:
    """The rules of one grammar while it is being made.

    `dialect` is how values are written now; it may change between two parts of a grammar.
    """

    def __init__(self, root: str = "root") -> None:
        if root in PRIMITIVES or root in _OWN or not re.fullmatch("[a-zA-Z][a-zA-Z0-9-]*", root):
            raise ValueError(f"{root!r} can't be the name of a grammar's first rule")
        self.root = root
        self.dialect: Dialect = JSON
        self.rules: dict[str, str] = {}
        # Rules that refer to themselves can't be told by their bodies; these have keys.
        self.shared: dict[tuple[str, object], str] = {}
        self._by_body: dict[str, str] = {}
        self._taken: set[str] = {root, *PRIMITIVES, *_OWN}
        # Rule names by hint, and the next number for each.
        self._stems: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        # How many states of numbers may still be followed.
        self.states = 4_000
        # How long all rules so far are as text.
        self.written = 0
        # What users of the builder remember about its rules, until some are taken back.
        self.memory: dict[object, Any] = {}
        # Names of properties are compared as a whole up to so many characters together.
        self.most_key_characters = MOST_KEY_CHARACTERS
        # Whether something is left to the validator anyway, so that less is tried for the rest.
        self.hasty = False
        # Whether rules may have been made that nothing uses in the end.
        self.untidy = False

    def snapshot(self) -> _Snapshot:
        """What there is now, for `restore`."""
        rules, by_body, taken = self.rules.copy(), self._by_body.copy(), self._taken.copy()
        return rules, by_body, taken, self.shared.copy(), self.written

    def restore(self, state: _Snapshot) -> None:
        """Go back to what there was at a snapshot."""
        rules, by_body, taken, shared, self.written = state
        self.rules, self._by_body, self._taken = rules.copy(), by_body.copy(), taken.copy()
        self.shared = shared.copy()
        self.memory.clear()

    def use(self, name: str) -> str:
        """Bring the named common rule in, with what it needs; returns its name in this dialect."""
        own = self.dialect.rules.get(name)
        if own is not None:
            prefix = f"{self.dialect.name}-"
            name = prefix + name
            if name not in self.rules:
                self.rules[name] = own
                for other in _WORDS.findall(_QUOTED.sub(" ", own)):
                    self.use(other.removeprefix(prefix))
            return name
        if name == "string" and self.dialect.never:
            from llmgate.grammar.calls.until import free

            return free(self, self.dialect.never)
        if name not in self.rules:
            for other in _ALL_USES[name] if self.dialect is JSON else ():
                self.rules.setdefault(other, PRIMITIVES[other])
            if name not in self.rules:
                self.rules[name] = PRIMITIVES[name]
                for other in _USES[name]:
                    self.use(other)
        return name

    def name(self, hint: str) -> str:
        """A rule name that is still free, close to `hint`."""
        stem = self._stems.get(hint)
        if stem is None:
            stem = hint[:40]
            if not (stem.isalnum() and stem.isascii()):
                stem = _UNFIT.sub("-", hint).strip("-")[:40] or "x"
            if not stem[0].isalpha():
                stem = f"x-{stem}"
            self._stems[hint] = stem
        number = self._numbers.get(stem, 1)
        name = stem if number == 1 else f"{stem}-{number}"
        while name in self._taken:
            number += 1
            name = f"{stem}-{number}"
        self._numbers[stem] = number + 1
        self._taken.add(name)
        return name

    def rule(self, hint: str, body: str) -> str:
        """The name of the rule with that body: an existing one, or a new one named by `hint`."""
        name = self._by_body.get(body)
        if name is None:
            name = self.name(hint)
            self._by_body[body] = name
            self.rules[name] = body
            self.written += len(name) + len(body) + _AROUND
        return name

    def define(self, name: str, body: str) -> None:
        """Give a rule that `name()` reserved its body."""
        self.rules[name] = body
        self.written += len(name) + len(body) + _AROUND

    def repeat(self, unit: str, least: int, most: int | None) -> str:
        """An expression for `least` to `most` times `unit`, which is a rule's name.

        Counts beyond `MOST_REPETITIONS` are the caller's to avoid.
        """
        if most == 0:
            return '""'
        parts = []
        if least > _DIRECT:
            chunk = self.rule(f"{unit}-{_DIRECT}", f"{unit}{{{_DIRECT}}}")
            chunks, least_left = divmod(least, _DIRECT)
            parts.append(f"{chunk}{{{chunks}}}")
            if least_left:
                parts.append(f"{unit}{{{least_left}}}")
        elif most is None or most - least > _DIRECT or most == least:
            if most is None and least <= 1:
                return f"{unit}{'+' if least else '*'}"
            if least:
                parts.append(f"{unit}{{{least}}}" if least > 1 else unit)
        else:
            return f"{unit}?" if (least, most) == (0, 1) else f"{unit}{{{least},{most}}}"
        if most is None:
            parts.append(f"{unit}*")
        elif most > least:
            parts.append(self._up_to(unit, most - least))
        return " ".join(parts)

    def _up_to(self, unit: str, most: int) -> str:
        if most <= _DIRECT:
            return f"{unit}{{0,{most}}}"
        # Whole chunks and then fewer units than a chunk has: as many rules as twice the root
        # of the count, and at each unit the parse is in at most three places.
        size = isqrt(most)
        chunk = self.rule(f"{unit}-{size}", f"{unit}{{{size}}}")
        chunks, rest = divmod(most, size)
        last = f"{chunk}{{{chunks}}}" + (f" {unit}{{0,{rest}}}" if rest else "")
        return f"({chunk}{{0,{chunks - 1}}} {unit}{{0,{size - 1}}} | {last})"

    def text(self) -> str:
        """All rules as GBNF, the root first."""
        order = [self.root, *(name for name in self.rules if name != self.root)]
        if self.untidy:
            used = self._used()
            order = [name for name in order if name in used]
        return "".join(f"{name} ::= {self.rules[name]}\n" for name in order)

    def _used(self) -> set[str]:
        # A rule's body has no line break outside of its literals.
        bare = _QUOTED.sub(" ", "\n".join(self.rules.values())).translate(_SIGNS)
        found = dict(zip(self.rules, bare.split("\n"), strict=True))
        used = {self.root}
        todo = [self.root]
        while todo:
            for name in found[todo.pop()].split():
                if name not in used and name in found:
                    used.add(name)
                    todo.append(name)
        return used


def json_text(value: str) -> tuple[str, ...]:
    """The ways in which json.dumps writes a string: escaped to ASCII, and as it is."""
    plain = encode_basestring(value)
    if value.isascii() and "\x7f" not in value:
        return (plain,)
    ascii_only = encode_basestring_ascii(value)
    # A lone surrogate has no UTF-8 form, so it can only be written as an escape.
    if plain == ascii_only or any("\ud800" <= char <= "\udfff" for char in plain):
        return (ascii_only,)
    return (plain, ascii_only)
