"""GBNF → the EBNF that xgrammar reads: the grammar library inside vLLM and SGLang.

What it writes is GBNF still, but for the names: both dialects have the same meaning there.
https://github.com/mlc-ai/xgrammar, https://xgrammar.mlc.ai/docs
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from llmgate.errors import GrammarError
from llmgate.grammar.gbnf.check import check

# `true` and `Token` are words of xgrammar's own, and its names begin with no digit: only the
# root, which it looks for, keeps its name.
_PREFIX: Final = "g-"
_ROOT: Final = "root"
_EMPTY: Final = '""'
_ANY: Final = r"[\u0000-\U0010ffff]"

_TOKEN: Final = re.compile(
    r"""[ \t\r\n]+|\#[^\r\n]*
    |(?P<rule>[a-zA-Z0-9-]+)(?=(?:[ \t]|\#[^\r\n]*)*::=)
    |(?P<name>[a-zA-Z0-9-]+)
    |(?P<is>::=)
    |"(?P<text>(?:[^"\\]|\\.)*)"
    |\[(?P<chars>(?:[^\]\\]|\\.)*)\]
    |(?P<count>[*+?]|\{[^}]*\})
    |(?P<mark>[|().])""",
    re.VERBOSE | re.DOTALL,
)
_ONE: Final = re.compile(
    r"\\(?:x(?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|(?P<kind>.))|(?P<c>.)",
    re.DOTALL,
)
_ESCAPES: Final = {"t": "\t", "r": "\r", "n": "\n"}
_PLAIN: Final = re.compile(r'[^\x00-\x1f"\\\x7f-\U0010ffff]')
# These have a meaning in a class, or may come to have one.
_PLAIN_IN_CLASS: Final = re.compile(r'[^\x00-\x1f"\\\x7f-\U0010ffff\[\]^-]')


@lru_cache(maxsize=64)
def to_xgrammar(grammar: str) -> str:
    """The grammar as xgrammar's `Grammar.from_ebnf` takes it.

    Empty alternatives, `.`, repetitions of repetitions and escapes by byte are GBNF's alone.
    Negated classes stay what they are: versions before 0.2 read the rest of them, written out,
    as something else.
    Raises `GrammarError` for a text that is not GBNF.
    """
    check(grammar)
    out = _Writer()
    at = 0
    while at < len(grammar):
        token = _TOKEN.match(grammar, at)
        if token is None:
            raise GrammarError(f"the grammar can't be read at {grammar[at : at + 20]!r}.")
        at = token.end()
        kind = token.lastgroup
        if kind == "rule":
            out.rule(_named(token["rule"]))
        elif kind == "name":
            out.item(_named(token["name"]))
        elif kind == "text":
            out.item('"' + "".join(_written(code) for code in _codes(token["text"])) + '"')
        elif kind == "chars":
            out.item(_class(token["chars"]))
        elif kind == "count":
            out.repeat(re.sub(r"\s", "", token["count"]))
        elif kind == "mark":
            out.mark(token["mark"])
    return out.text()


class _Writer:
    """Writes one rule a line, with something in every alternative."""

    def __init__(self) -> None:
        self._lines: list[list[str]] = []
        self._line: list[str] = []
        # Where the last item of the alternative begins, None where there is none yet.
        self._last: int | None = None
        self._repeated = False
        self._open: list[int] = []

    def rule(self, name: str) -> None:
        self._close()
        self._line = [name, "::="]
        self._lines.append(self._line)
        self._last = None

    def item(self, text: str) -> None:
        self._last, self._repeated = len(self._line), False
        self._line.append(text)

    def repeat(self, count: str) -> None:
        assert self._last is not None
        item = self._line[self._last :]
        if self._repeated:
            item = ["(", *item, ")"]
        self._line[self._last :] = [*item[:-1], item[-1] + count]
        self._repeated = True

    def mark(self, mark: str) -> None:
        if mark == ".":
            self.item(_ANY)
        elif mark == "(":
            self._open.append(len(self._line))
            self._line.append(mark)
            self._last = None
        else:
            self._close()
            self._line.append(mark)
            self._last, self._repeated = None, False
            if mark == ")":
                self._last = self._open.pop()

    def text(self) -> str:
        self._close()
        return "".join(" ".join(line) + "\n" for line in self._lines)

    def _close(self) -> None:
        """Put something where an alternative ends that has nothing in it."""
        if self._lines and self._last is None:
            self._line.append(_EMPTY)


def _named(name: str) -> str:
    return name if name == _ROOT else _PREFIX + name


def _codes(text: str) -> list[int]:
    """The code points of a literal's text."""
    return [_code(found) for found in _ONE.finditer(text)]


def _code(found: re.Match[str]) -> int:
    if found["c"]:
        return ord(found["c"])
    if digits := found["x"] or found["u"] or found["U"]:
        return int(digits, 16)
    return ord(_ESCAPES.get(found["kind"], found["kind"]))


def _class(text: str) -> str:
    """A character class: each member by itself or as a range."""
    negated = text.startswith("^")
    found = list(_ONE.finditer(text, int(negated)))
    out = ["[^" if negated else "["]
    at = 0
    while at < len(found):
        out.append(_written(_code(found[at]), _PLAIN_IN_CLASS))
        if at + 2 < len(found) and found[at + 1]["c"] == "-":
            out.append("-" + _written(_code(found[at + 2]), _PLAIN_IN_CLASS))
            at += 2
        at += 1
    return "".join([*out, "]"])


def _written(code: int, plain: re.Pattern[str] = _PLAIN) -> str:
    """One character; by its number unless it is one that nobody could misread."""
    char = chr(code)
    if plain.fullmatch(char):
        return char
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
