"""Finds rules that could only be nested for ever, in rules as a builder has them."""

from __future__ import annotations

import re
from typing import Final

# Literals and classes say nothing about nesting.
_CONTENT: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|\[[^\]\\]*(?:\\.[^\]\\]*)*\]')
_TOKEN: Final = re.compile(r'[a-zA-Z][a-zA-Z0-9-]*|[()|?*"]|\{0[,}]')
_NAME: Final = re.compile("[a-zA-Z][a-zA-Z0-9-]*")
_OPTIONAL: Final = frozenset(("?", "*", "{0,", "{0}"))

# How many rules are looked into, one inside the other, to show that one has an end.
_DEEPEST: Final = 40

# Alternatives, each of which needs some rules and groups.
_Ways = list[list["str | _Ways"]]


def endless(rules: dict[str, str], recursive: set[str]) -> set[str]:
    """Which of the `recursive` rules have no finite text.

    A rule that leads to none of these must have one.
    """
    proof = _Proof(rules)
    if all(proof.ends(name) for name in recursive):
        return set()
    # A rule's body has no line break outside of its literals.
    bodies = _CONTENT.sub('"', "\n".join(rules.values())).split("\n")
    texts = dict(zip(rules, bodies, strict=True))
    users: dict[str, list[str]] = {}
    for name, body in texts.items():
        for used in set(_NAME.findall(body)):
            users.setdefault(used, []).append(name)
    doubtful: set[str] = set()
    todo = list(recursive)
    while todo:
        name = todo.pop()
        if name not in doubtful:
            doubtful.add(name)
            todo += users.get(name, ())
    ways = {name: _ways(_TOKEN.findall(texts[name])) for name in doubtful}
    todo = list(doubtful)
    while todo:
        name = todo.pop()
        if name in doubtful and _ends(ways[name], doubtful):
            doubtful.discard(name)
            # What leads to it may have an end now.
            todo += users.get(name, ())
    return doubtful & recursive


class _Proof:
    """Shows that rules have a finite text, looking at no more of them than that takes.

    Most do, by what is optional in them. Where that can't be shown so, they may have one still.
    """

    def __init__(self, rules: dict[str, str]) -> None:
        self._rules = rules
        self._known: dict[str, bool] = {"": True}

    def ends(self, name: str, depth: int = 0) -> bool:
        known = self._known.get(name)
        if known is None:
            body = self._rules.get(name)
            # What it leads to ends without it, or that shows nothing.
            self._known[name] = known = body is None
            if body is not None and depth < _DEEPEST:
                ways = _ways(_TOKEN.findall(_CONTENT.sub('"', body)))
                self._known[name] = known = self._some(ways, depth + 1)
        return known

    def _some(self, ways: _Ways, depth: int) -> bool:
        for way in ways:
            for one in way:
                if not (self.ends(one, depth) if isinstance(one, str) else self._some(one, depth)):
                    break
            else:
                return True
        return False


def _ways(tokens: list[str]) -> _Ways:
    levels: list[_Ways] = [[[]]]
    for sign in tokens:
        here = levels[-1]
        if sign == "(":
            levels.append([[]])
        elif sign == "|":
            here.append([])
        elif sign == ")":
            levels.pop()
            levels[-1][-1].append(here)
        elif sign in _OPTIONAL:
            if here[-1]:
                here[-1].pop()
        else:
            here[-1].append(sign)
    return levels[0]


def _ends(ways: _Ways, doubtful: set[str]) -> bool:
    return any(
        all(one not in doubtful if isinstance(one, str) else _ends(one, doubtful) for one in way)
        for way in ways
    )
