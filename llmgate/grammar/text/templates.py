"""Rules made once and put into any number of grammars, under names that are free there."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from llmgate.grammar.builder import Builder
from llmgate.grammar.dialect import Dialect
from llmgate.grammar.text.emission import room
from llmgate.grammar.text.expressions import TooLarge

# The name of whatever the rules are made for.
HINT: Final = "\ue001"
_NUMBERED: Final = "k"
# A name that is still to be given: letters first, as every rule has.
_OPEN: Final = re.compile("x\ue000([a-z0-9]+)\ue000")

# Text, and between two pieces of it the number of a rule or the name of a common one.
_Pieces = tuple[str, ...]


class Rule(msgspec.Struct, frozen=True):
    """A rule with its names left open; one that is `early` is referred to before it is made."""

    number: str
    stem: _Pieces
    body: _Pieces
    early: bool


class Template(msgspec.Struct, frozen=True, eq=False):
    """Rules and an expression with them; equal to itself only, so that it is a cheap key.

    `common` are the common rules that some of them use.
    """

    rules: tuple[Rule, ...]
    text: _Pieces
    common: tuple[str, ...]
    size: int

    def placed(self, builder: Builder, hint: str) -> str:
        """The expression, with the rules in a grammar. Raises `TooLarge` where it is full."""
        if self.size > 2_000 and self.size > room(builder):
            raise TooLarge("the grammar would get too long")
        for name in self.common:
            builder.use(name)
        names: dict[str, str] = {}
        for rule in self.rules:
            if rule.early:
                names[rule.number] = builder.name(self._stem(rule, builder, names, hint))
        for rule in self.rules:
            body = _filled(rule.body, builder, names)
            if rule.early:
                builder.define(names[rule.number], body)
            else:
                stem = self._stem(rule, builder, names, hint)
                names[rule.number] = builder.rule(stem, body)
        return _filled(self.text, builder, names)

    def _stem(self, rule: Rule, builder: Builder, names: dict[str, str], hint: str) -> str:
        if rule.stem == (_NUMBERED,):
            return f"{_NUMBERED}{len(builder.rules)}"
        return _filled(rule.stem, builder, names).replace(HINT, hint)


class Scratch(Builder):
    """A builder whose rules become a template."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__()
        self.dialect = dialect
        self._wanted: list[str] = []
        self._early: set[str] = set()
        self._common: dict[str, None] = {}

    def use(self, name: str) -> str:
        self._common[name] = None
        return f"x\ue000{name}\ue000"

    def name(self, hint: str) -> str:
        number = len(self._wanted)
        self._wanted.append(_NUMBERED if hint[:1] == _NUMBERED and hint[1:].isdecimal() else hint)
        return f"x\ue000{number}\ue000"

    def define(self, name: str, body: str) -> None:
        self._early.add(name)
        super().define(name, body)

    def template(self, text: str) -> Template:
        """Everything made so far and an expression with it."""
        rules = [
            Rule(
                name[2:-1],
                tuple(_OPEN.split(self._wanted[int(name[2:-1])])),
                tuple(_OPEN.split(body)),
                name in self._early,
            )
            for name, body in self.rules.items()
        ]
        size = sum(len(body) + 10 for body in self.rules.values())
        return Template(tuple(rules), tuple(_OPEN.split(text)), tuple(self._common), size)


def _filled(pieces: _Pieces, builder: Builder, names: dict[str, str]) -> str:
    if len(pieces) == 1:
        return pieces[0]
    out = list(pieces)
    for index in range(1, len(out), 2):
        name = names.get(out[index])
        out[index] = builder.use(out[index]) if name is None else name
    return "".join(out)
