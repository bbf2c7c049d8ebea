"""Finds rules that could only be nested for ever, in rules as a builder has them."""

from __future__ import annotations

import re
from typing import Final

# Literals and classes say nothing about nesting.
_CONTENT: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]')
_TOKEN: Final = re.compile(r'[a-zA-Z][a-zA-Z0-9-]*|[()|?*"]|\{0[,}]')
_OPTIONAL: Final = frozenset(("?", "*", "{0,", "{0}"))

# Alternatives, each of which needs some rules and groups.
_Ways = list[list["str | _Ways"]]


def endless(rules: dict[str, str], recursive: set[str]) -> set[str]:
    """Which of the `recursive` rules have no finite text.

    A rule that leads to none of these must have one.
    """
    tokens = {name: _TOKEN.findall(_CONTENT.sub('"', body)) for name, body in rules.items()}
    users: dict[str, list[str]] = {}
    for name, found in tokens.items():
        for token in found:
            if token in rules:
                users.setdefault(token, []).append(name)
    doubtful: set[str] = set()
    todo = list(recursive)
    while todo:
        name = todo.pop()
        if name not in doubtful:
            doubtful.add(name)
            todo += users.get(name, ())
    ways = {name: _ways(tokens[name]) for name in doubtful}
    ended = {""}
    while ended:
        ended = {name for name in doubtful if _ends(ways[name], doubtful)}
        doubtful -= ended
    return doubtful & recursive


def _ways(tokens: list[str]) -> _Ways:
    levels: list[_Ways] = [[[]]]
    for token in tokens:
        here = levels[-1]
        if token == "(":
            levels.append([[]])
        elif token == "|":
            here.append([])
        elif token == ")":
            levels.pop()
            levels[-1][-1].append(here)
        elif token in _OPTIONAL:
            if here[-1]:
                here[-1].pop()
        else:
            here[-1].append(token)
    return levels[0]


def _ends(ways: _Ways, doubtful: set[str]) -> bool:
    return any(
        all(
            one not in doubtful if isinstance(one, str) else _ends(one, doubtful) for one in way
        )
        for way in ways
    )
