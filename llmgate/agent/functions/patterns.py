"""Patterns of calls: a function's name, and what its arguments have to look like."""

from __future__ import annotations

import fnmatch
import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Self

import msgspec

from llmgate.agent.functions.addresses import target_of
from llmgate.errors import ConfigError, FunctionError

_WHOLE = re.compile(r"\s*(?P<name>[\w*?\[\]!-]+)\s*(?:\((?P<inside>.*)\))?\s*", re.DOTALL)
_CONDITION = re.compile(
    r'\s*(?P<name>\w+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^,"]*?))\s*(?:,|$)',
    re.DOTALL,
)
_BARE = re.compile(r'[^\s,"](?:[^,"]*[^\s,"])?')
_EXAMPLE = 'Write it as name, or as name(argument=value, other="a*").'


class Pattern(msgspec.Struct, frozen=True):
    """`http_request(method=GET, url=https://example.org/*)`; `*`, `?` and `[…]` stand for others.

    An argument that is not named may be anything. One that is named has to be there.
    """

    name: str
    arguments: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str, where: str = "") -> Self:
        """Read a pattern. Raises ConfigError, whose message begins with `where`."""
        whole = _WHOLE.fullmatch(text)
        if whole is None:
            raise ConfigError(f"{where}{text!r} is not a pattern of calls.", hint=_EXAMPLE)
        inside = (whole["inside"] or "").strip()
        found: list[tuple[str, str]] = []
        position = 0
        while position < len(inside):
            condition = _CONDITION.match(inside, position)
            if condition is None:
                raise ConfigError(
                    f"{where}{text!r} is not a pattern of calls, from {inside[position:]!r} on.",
                    hint=_EXAMPLE,
                )
            quoted = condition["quoted"]
            try:
                glob = condition["bare"] if quoted is None else json.loads(f'"{quoted}"')
            except ValueError as error:
                raise ConfigError(
                    f"{where}{text!r} is not a pattern of calls: {quoted!r}.", hint=_EXAMPLE
                ) from error
            found.append((condition["name"], glob))
            position = condition.end()
        return cls(whole["name"], tuple(found))

    @classmethod
    def exactly(cls, name: str, values: Mapping[str, str]) -> Self:
        """The pattern of calls with just these arguments; a value may end in `*`."""
        return cls(name, tuple(values.items()))

    def __str__(self) -> str:
        if not self.arguments:
            return self.name
        inside = ", ".join(f"{name}={_written(glob)}" for name, glob in self.arguments)
        return f"{self.name}({inside})"

    @property
    def weight(self) -> tuple[bool, int]:
        """How much it says: of two patterns that match, the one that says more holds."""
        return (not set(self.name) & set("*?["), len(self.arguments))

    def matches(self, name: str, arguments: Mapping[str, Any], *, loosely: bool = False) -> bool:
        """Whether a call is one of these.

        `loosely`, for rules that keep calls back, other spellings of the same match too: capital
        letters, look-alikes, and for a URL those that lead to the same place.
        """
        return fnmatch.fnmatchcase(name, self.name) and all(
            argument in arguments and _alike(argument, arguments[argument], glob, loosely)
            for argument, glob in self.arguments
        )


def as_text(value: Any) -> str:
    """An argument as patterns see it: a text as it is, all else as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def literal(text: str) -> str:
    """The glob that only this text matches."""
    return re.sub(r"([*?[])", r"[\1]", text)


def _alike(argument: str, value: Any, glob: str, loosely: bool) -> bool:
    text = as_text(value)
    if fnmatch.fnmatchcase(text, glob):
        return True
    if not loosely:
        return False
    spellings = [text]
    if argument == "url":
        try:
            target = target_of(text)
        except FunctionError:
            pass  # it is refused anyway
        else:
            spellings.append(f"{target.site}{target.path}")
    return any(fnmatch.fnmatchcase(_folded(one), _folded(glob)) for one in spellings)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _written(glob: str) -> str:
    return glob if _BARE.fullmatch(glob) else json.dumps(glob, ensure_ascii=False)
