"""Names of models: exact ones, and patterns in which `*` stands for anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from llmgate.errors import ConfigError, UnknownModel

T = TypeVar("T")

# How a cycle is walked: a name is unseen, on the path that is walked, or done.
_ON_PATH, _DONE = 1, 2


class Router(Generic[T]):
    """Finds what stands behind a name: an exact name first, then the most specific pattern.

    A pattern is the more specific the more of it is written out; of two that write out as much,
    the one with fewer stars is, and then the one that was added first.
    """

    def __init__(self) -> None:
        self._exact: dict[str, T] = {}
        self._patterns: list[tuple[str, re.Pattern[str], T]] = []

    def add(self, name: str, target: T) -> None:
        """Let `name` stand for `target`. Raises `ConfigError` if it stands for something."""
        if not name.strip():
            raise ConfigError("the name of a model can't be empty.")
        if name in self:
            raise ConfigError(
                f"the name {name!r} stands for two models.",
                hint="Each name, aliases included, may be given once.",
            )
        if "*" not in name:
            self._exact[name] = target
            return
        self._patterns.append((name, pattern(name), target))
        self._patterns.sort(key=lambda entry: _specificity(entry[0]))

    def __contains__(self, name: str) -> bool:
        return name in self._exact or any(known == name for known, _, _ in self._patterns)

    @property
    def names(self) -> list[str]:
        """The exact names, in the order in which they were added."""
        return list(self._exact)

    def find(
        self, name: str, allowed: Callable[[str], bool] | None = None
    ) -> tuple[T, tuple[str, ...]]:
        """What `name` stands for, and what the stars of its pattern stand for in it.

        Raises `UnknownModel`, which names those that are known and `allowed` to be.
        """
        exact = self._exact.get(name)
        if exact is not None:
            return exact, ()
        for _, expression, target in self._patterns:
            if match := expression.fullmatch(name):
                return target, match.groups()
        known = [*self._exact, *(text for text, _, _ in self._patterns)]
        raise UnknownModel(name, filter(allowed, known) if allowed else known)


def pattern(name: str) -> re.Pattern[str]:
    """The expression for a name with stars: each matches any text, also none."""
    return re.compile("(.*)".join(map(re.escape, name.split("*"))), re.DOTALL)


def filled(name: str, parts: Iterable[str]) -> str:
    """`name` with its stars replaced, in their order."""
    for part in parts:
        name = name.replace("*", part, 1)
    return name


def chain(
    name: str, fallbacks: Callable[[str], Iterable[str]], *, where: str = "fallbacks"
) -> tuple[str, ...]:
    """The models to ask after `name`: its own fallbacks in their order, then those of these.

    `fallbacks` gives the names directly behind one, each as its model is called. Raises
    `ConfigError` where a model would fall back to itself.
    """
    state: dict[str, int] = {}
    path: list[str] = []

    def walk(current: str) -> None:
        if state.get(current) == _DONE:
            return
        path.append(current)
        if state.get(current) == _ON_PATH:
            circle = " → ".join(path[path.index(current) :])
            raise ConfigError(f"{where}: they go round in a circle: {circle}.")
        state[current] = _ON_PATH
        for following in fallbacks(current):
            walk(following)
        state[current] = _DONE
        path.pop()

    walk(name)
    found = list(dict.fromkeys(fallbacks(name)))
    for current in found:  # grows while it is read: those nearest come first
        found += [further for further in fallbacks(current) if further not in found]
    return tuple(found)


def _specificity(name: str) -> tuple[int, int]:
    stars = name.count("*")
    return stars - len(name), stars
