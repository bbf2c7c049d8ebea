"""Spellings of JSON values: JSON's own, Python's literals, Gemma's, and texts as they are."""

from __future__ import annotations

import re
from typing import Final

import msgspec

# Keys that Gemma writes without quotes.
BARE_KEY: Final = re.compile(r"[\w$@.-]{1,64}")


class Dialect(msgspec.Struct, frozen=True):
    r"""How values are written.

    rules: the common rules that differ from JSON's; their names begin with the dialect's.
    marks: what stands around a string whose text is written as it is, without escapes, and can't
        have the second of them in it; None where strings are those of JSON.
    never: what a string without marks never has in it.
    bare: whether keys stand without quotes.
    words: true, false and null.
    slash: whether `\\/` in a string stands for a slash.
    single: whether strings may stand in single quotes too.
    """

    name: str
    rules: dict[str, str] = {}
    marks: tuple[str, str] | None = None
    never: str = ""
    bare: bool = False
    words: tuple[str, str, str] = ("true", "false", "null")
    slash: bool = True
    single: bool = False

    @property
    def raw(self) -> bool:
        """Whether strings are written as they are."""
        return self.marks is not None

    @property
    def end(self) -> str:
        """What a string that is written as it is never has in it."""
        return self.never or (self.marks[1] if self.marks else "")


JSON: Final = Dialect("json")

PYTHON: Final = Dialect(
    "py",
    rules={
        "boolean": '"True" | "False"',
        "null": '"None"',
        "char": r"""[^"\\\x00-\x1F] | "\\" (["\\bfnrt] | unicode)""",
        "single": r"""[^'\\\x00-\x1F] | "\\" (['\\bfnrt] | unicode)""",
        "string": r""""\"" py-char* "\"" | "'" py-single* "'" """,
        "value": "py-object | py-array | py-string | number | py-boolean | py-null",
        "object": '"{" ws (py-member ("," ws py-member)* ws)? "}"',
        "member": 'py-string ":" sp py-value',
        "array": '"[" ws (py-value ("," ws py-value)* ws)? "]"',
    },
    words=("True", "False", "None"),
    slash=False,
    single=True,
)

GEMMA_QUOTE: Final = '<|"|>'
GEMMA: Final = Dialect(
    "gemma",
    rules={
        "ws": '""',
        "sp": '""',
        "value": "gemma-object | gemma-array | gemma-string | number | boolean | null",
        "object": '"{" (gemma-member ("," gemma-member)*)? "}"',
        "member": 'gemma-key ":" gemma-value',
        "key": "[a-zA-Z0-9_$@.-]{1,64}",
        "array": '"[" (gemma-value ("," gemma-value)*)? "]"',
        # A text up to the closing mark and with it: the states of an automaton.
        "string": '"<|\\"|>" gemma-text',
        "text": '[^<\\x00] gemma-text | "<" gemma-text-1',
        "text-1": '[^<|\\x00] gemma-text | "<" gemma-text-1 | "|" gemma-text-2',
        "text-2": '[^<"\\x00] gemma-text | "<" gemma-text-1 | "\\"" gemma-text-3',
        "text-3": '[^<|\\x00] gemma-text | "<" gemma-text-1 | "|" gemma-text-4',
        "text-4": '[^<>\\x00] gemma-text | "<" gemma-text-1 | ">"',
    },
    marks=(GEMMA_QUOTE, GEMMA_QUOTE),
    bare=True,
)


def plain(end: str) -> Dialect:
    """Strings as they are, up to a mark that they can't have in them."""
    return Dialect("plain", marks=("", ""), never=end)
