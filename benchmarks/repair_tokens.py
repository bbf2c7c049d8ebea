"""A JSON value as tokens, so that `repair_faults.py` can spoil single ones of them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Token:
    kind: str  # open close comma colon key string number literal space
    text: str
    path: tuple[Any, ...] = ()
    clean: bool = True


@dataclass
class Doc:
    """A value as tokens, the text around it, and what a reader should make of all that."""

    tokens: list[Token]
    value: Any
    head: str = ""
    tail: str = ""
    used: set[str] = field(default_factory=set)
    # How a case may have been meant otherwise: the text with one edit of the fault's own kind.
    readings: Callable[[str], Iterator[str]] | None = None
    # And as what a text it may be that is just cut.
    cuts: Callable[[str], Iterator[str]] | None = None
    second: bool = False

    @property
    def text(self) -> str:
        return self.head + "".join(token.text for token in self.tokens) + self.tail

    def of(self, *kinds: str) -> list[Token]:
        return [token for token in self.tokens if token.kind in kinds and token.clean]

    def copy(self) -> Doc:
        return copy.deepcopy(self)


def written(value: Any, rng: random.Random) -> Doc:
    """A value as tokens, compact, tight or indented, with or without \\u escapes."""
    indent = rng.choice((None, None, 2))
    tight = rng.random() < 0.25
    ascii_only = rng.random() < 0.5
    gap = "" if tight else " "
    tokens: list[Token] = []

    def add(kind: str, text: str, path: tuple[Any, ...] = ()) -> None:
        if text:
            tokens.append(Token(kind, text, path))

    def line(depth: int, after_comma: bool) -> None:
        if indent is not None:
            add("space", "\n" + " " * indent * depth)
        elif after_comma:
            add("space", gap)

    def write(value: Any, path: tuple[Any, ...]) -> None:
        if isinstance(value, dict | list):
            add("open", "{" if isinstance(value, dict) else "[", path)
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for number, (key, child) in enumerate(items):
                if number:
                    add("comma", ",")
                line(len(path) + 1, bool(number))
                if isinstance(value, dict):
                    add("key", json.dumps(key, ensure_ascii=ascii_only), (*path, key))
                    add("colon", ":")
                    add("space", gap)
                write(child, (*path, key))
            if value:
                line(len(path), False)
            add("close", "}" if isinstance(value, dict) else "]", path)
        elif isinstance(value, str):
            add("string", json.dumps(value, ensure_ascii=ascii_only), path)
        else:
            kind = "literal" if value is None or isinstance(value, bool) else "number"
            add(kind, json.dumps(value), path)

    write(value, ())
    return Doc(tokens, value)


def set_at(doc: Doc, path: tuple[Any, ...], value: Any) -> None:
    if not path:
        doc.value = value
        return
    doc.value = copy.deepcopy(doc.value)
    place = doc.value
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value


def get_at(doc: Doc, path: tuple[Any, ...]) -> Any:
    value = doc.value
    for step in path:
        value = value[step]
    return value


def neighbours(doc: Doc, token: Token) -> tuple[Token | None, Token | None]:
    at = next(i for i, other in enumerate(doc.tokens) if other is token)
    before = next((t for t in reversed(doc.tokens[:at]) if t.kind != "space"), None)
    after = next((t for t in doc.tokens[at + 1 :] if t.kind != "space"), None)
    return before, after


def insert(doc: Doc, at: int, kind: str, text: str) -> None:
    doc.tokens.insert(at, Token(kind, text, clean=False))


def index(doc: Doc, token: Token) -> int:
    return next(i for i, other in enumerate(doc.tokens) if other is token)
