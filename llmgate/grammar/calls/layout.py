"""How the arguments of a call are written where that is no JSON object: one after the other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

from llmgate.grammar.builder import Builder, quote
from llmgate.grammar.dialect import JSON
from llmgate.grammar.schema.strings import key as written_key

if TYPE_CHECKING:
    from llmgate.grammar.schema.facts import Located
    from llmgate.grammar.text.language import Language

# Names that stand in JSON as they are.
_PLAIN: Final = re.compile(r"[ !#-.0-\[\]-~]*")
# Keys that a schema does not name, in styles without quotes around them.
_WORD: Final = "^[A-Za-z_][A-Za-z0-9_-]{0,31}$"
_WORD_RULE: Final = "[A-Za-z_] [A-Za-z0-9_-]{0,31}"
# What a key can't have in it where Python reads it.
_KEYWORD: Final = re.compile(r"""[^\s,=:()\[\]{}'"]+""")


class Node(Protocol):
    """What compiles the parts of a value."""

    def node(self, parts: tuple[Located, ...], hint: str) -> str | None:
        """An expression for what satisfies all of `parts`; None where nothing does."""


class Layout:
    """JSON's own way, for objects inside other values: pairs between braces."""

    # Whether the same key may stand there twice: a JSON reader takes the last one.
    repeats = True

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        ws = builder.use("ws")
        # Before the first pair, between two, behind the last one, and the end in any case.
        self.open = f'"{{" {ws}'
        self.comma = f'"," {ws}'
        self.gap = ws
        self.end = '"}"'

    def writable(self, name: str) -> bool:
        """Whether a property of that name can be written."""
        return True

    def value(self, maker: Node, parts: tuple[Located, ...], name: str) -> str | None:
        """What stands behind a key, with all marks; None where there is no value."""
        return maker.node(parts, name)

    def other_value(self, maker: Node, parts: tuple[Located, ...]) -> str | None:
        """The same behind a key that the schema does not name."""
        return maker.node(parts, "value")

    def thoughts(self) -> str:
        """The same for a string of any text."""
        return self.builder.use("string")

    def pair(self, name: str, value: str) -> str:
        """A named property."""
        if self.builder.dialect is JSON and _PLAIN.fullmatch(name):
            return f'"\\"{name}\\":" {self.builder.use("sp")} {value}'
        return f"{written_key(name, self.builder.dialect)} {self.builder.use('sp')} {value}"

    def other_pair(self, key: str, value: str) -> str:
        """A property with another key; `key` is an expression."""
        if (key, value) == ("string", "value"):
            return self.builder.use("member")
        return self.builder.rule("pair", f'{key} ":" {self.builder.use("sp")} {value}')

    def key(self, language: Language) -> str | None:
        """Another key. Raises `TooLarge`."""
        if self.builder.dialect.bare:
            return words(self.builder, language)
        return language.json(self.builder, "key")

    def free_key(self, taken: list[str]) -> str | None:
        """A key that is none of those that are taken."""
        if self.builder.dialect.bare:
            return free_word(self.builder, taken)
        from llmgate.grammar.schema.keys import other_key

        return other_key(self.builder, taken)

    def whole(self, *parts: str) -> str:
        """An expression for the parts in a row, which may be empty."""
        return " ".join(part for part in parts if part) or '""'


class Row(Layout):
    """Pairs of Gemma's without their braces, which belong to the call's marks."""

    repeats = False

    def __init__(self, builder: Builder) -> None:
        super().__init__(builder)
        self.open = self.gap = self.end = ""
        self.comma = '","'


class Keywords(Layout):
    """The keyword arguments of a Python call."""

    repeats = False

    def __init__(self, builder: Builder) -> None:
        super().__init__(builder)
        self.open = self.gap = self.end = ""
        self.comma = '"," [ \\n]?'

    def writable(self, name: str) -> bool:
        return _KEYWORD.fullmatch(name) is not None

    def value(self, maker: Node, parts: tuple[Located, ...], name: str) -> str | None:
        return maker.node(parts, name) if self.writable(name) else None

    def pair(self, name: str, value: str) -> str:
        return f"{quote(f'{name}=')} {value}"

    def other_pair(self, key: str, value: str) -> str:
        return self.builder.rule("pair", f'{key} "=" {value}')

    def key(self, language: Language) -> str | None:
        return words(self.builder, language)

    def free_key(self, taken: list[str]) -> str | None:
        return free_word(self.builder, taken)


def free_word(builder: Builder, taken: list[str]) -> str | None:
    """A word that is none of those that are taken."""
    from llmgate.grammar.text.language import Language

    if not taken:
        return builder.rule("key", _WORD_RULE)
    return words(builder, ~Language.literals(taken))


def words(builder: Builder, language: Language) -> str | None:
    """The words among some keys. Raises `TooLarge`."""
    from llmgate.grammar.text.language import Language

    return (language & Language.pattern(_WORD)).plain(builder, "key")
