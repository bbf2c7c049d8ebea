"""One call in a style, and several of them: the marks, the function's name, its arguments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from llmgate.errors import GrammarError
from llmgate.grammar.builder import Builder, json_text, quote
from llmgate.grammar.calls.arguments import Arguments
from llmgate.grammar.calls.marks import BLANK, expression
from llmgate.grammar.schema.strings import key
from llmgate.grammar.values import Relaxed
from llmgate.styles import Style
from llmgate.types import Tool

Thoughts = Literal["off", "inside", "beside"]

MOST_CALLS: Final = 16
# Thoughts before the choice of a function are bounded: else a model that has lost its thread
# would never come to it.
MOST_THOUGHTS: Final = 500
# These tokens end a model's turn, so an engine may show none of their text.
_TURN_ENDS: Final = frozenset(("<|call|>", "<|calls|>"))
_NAME: Final = re.compile(r"""[^\s<>{}()\[\]"'|,=]+""")


class Calls:
    """Expressions for the calls of one answer; what they leave to the validator is in `relaxed`."""

    def __init__(
        self,
        builder: Builder,
        tools: Sequence[Tool],
        style: Style,
        thoughts: Thoughts,
        thoughts_key: str,
        parallel: bool,
    ) -> None:
        self._builder = builder
        self._style = style
        self._thoughts = thoughts
        self._thoughts_key = thoughts_key
        self._parallel = parallel
        self.relaxed: dict[Relaxed, None] = {}
        lead = thoughts_key if thoughts == "inside" else None
        # Arguments as expressions, by the function's name.
        self._arguments: dict[str, str] = {}
        for tool in tools:
            arguments = Arguments(builder, style, tool, lead)
            self._arguments[tool.name] = arguments.expression()
            self.relaxed.update(arguments.relaxed)
        self._call = self._rule("call", (style.middle,))
        skipped = [mark for mark in style.skip if mark != style.between.strip()]
        self._tail = BLANK
        if skipped:
            name = builder.rule("behind", " | ".join(map(expression, skipped)))
            self._tail = f"{BLANK} {name}{{0,2}} {BLANK}"

    def all(self) -> str:
        """One call or several, with all the marks around them, and what may stand behind them."""
        return _joined(expression(self._style.open), self.of_first(self._style.begin))

    def of_first(self, begin: str, *, closed: bool = True) -> str:
        """One call or several to the end of the answer; `begin` is what the first one lacks.

        `closed`: whether the mark that closes them has to be there, where the style has one.
        """
        style = self._style
        parts = [expression(begin), self._call]
        if self._parallel:
            following = _joined(
                expression(style.end),
                BLANK if style.end in _TURN_ENDS else "",
                self._between(),
                expression(style.begin),
                self._call,
            )
            parts.append(f"{self._builder.rule('next-call', following)}{{0,{MOST_CALLS - 1}}}")
        if style.close:
            parts += [expression(style.end), self._over(style.close, closed)]
        else:
            parts.append(self._over(style.end))
        return _joined(*parts)

    def of_other(self, begin: str, end: str) -> str:
        """The same for a first call in another spelling, which ends with `end`."""
        style = self._style
        call = self._call
        if style.middles:
            call = self._rule("other-call", (style.middle, *style.middles))
        parts = [expression(begin), call]
        if self._parallel and end not in _TURN_ENDS:
            following = _joined(
                self._between(), expression(style.begin), self._call, expression(style.end)
            )
            more = self._builder.rule("another-call", following)
            parts += [expression(end), f"{more}{{0,{MOST_CALLS - 1}}}"]
            end = ""
        if style.close:
            parts += [expression(end), self._over(style.close, False)]
        else:
            parts.append(self._over(end))
        return _joined(*parts)

    def _over(self, mark: str, needed: bool = True) -> str:
        """The last mark of the calls, and what may stand behind it."""
        if mark in _TURN_ENDS or not needed:
            return f"({expression(mark)} {self._tail} | {BLANK})"
        return _joined(expression(mark), self._tail)

    def _between(self) -> str:
        style = self._style
        if style.bare:
            return "[ \\n]"
        return expression(style.between) if style.between else BLANK

    def _rule(self, hint: str, middles: tuple[str, ...]) -> str:
        """A rule for a call without the marks at its ends."""
        builder, style = self._builder, self._style
        ways = [self._way(name, arguments, middles) for name, arguments in self._arguments.items()]
        either = ways[0] if len(ways) == 1 else f"({' | '.join(ways)})"
        if style.head == "named":
            return builder.rule(hint, " | ".join(ways))
        ws, sp = builder.use("ws"), builder.use("sp")
        head = ""
        if style.head == "object":
            if self._thoughts == "beside":
                chars = builder.repeat(builder.use("char"), 0, MOST_THOUGHTS)
                head = f'{key(self._thoughts_key)} {sp} "\\"" {chars} "\\"" "," {ws} '
            head += f"{key(style.function_key)} {sp} "
        return builder.rule(hint, f'"{{" {ws} {head}{either} {ws} "}}"')

    def _way(self, name: str, arguments: str, middles: tuple[str, ...]) -> str:
        """How a function is named, with its arguments."""
        builder, style = self._builder, self._style
        if style.head == "keyed":
            return f"{key(name)} {builder.use('sp')} {arguments}"
        if style.head == "object":
            ws, sp = builder.use("ws"), builder.use("sp")
            forms = [quote(f"{form},") for form in json_text(name)]
            named = forms[0] if len(forms) == 1 else f"({' | '.join(forms)})"
            return f"{named} {ws} {key(style.arguments_key)} {sp} {arguments}"
        if not _NAME.fullmatch(name):
            raise GrammarError(
                f"tool {name!r}: the call style {style.name!r} can't write this name.",
                hint="Use letters, digits, '_', '-' and '.' only.",
                param="tools",
            )
        marks = list(dict.fromkeys(map(expression, middles)))
        middle = marks[0] if len(marks) == 1 else f"({' | '.join(marks)})"
        return _joined(quote(name), middle, arguments)


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
