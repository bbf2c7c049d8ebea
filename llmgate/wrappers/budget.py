"""What a foreign template may cost: work, memory and time, each counted while it runs.

A chat template comes out of a downloaded file. It may be broken or meant to harm: the work that
it does is bounded by a number of units, which grows with the size of what it is given. A step
(a turn of a loop, an operation) costs one unit, a call four, a text one for every eight characters,
a list one for each item. What makes large values out of small ones is looked at before it runs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from itertools import chain
from typing import Any

from jinja2.exceptions import TemplateRuntimeError

_UNITS = 2_000_000
_UNITS_PER_INPUT = 256
_LONGEST = 4_000_000
_LONGEST_PER_INPUT = 8
# The processor time that no template needs: operations that the units don't see.
_SECONDS = 3.0
_LOOK_EVERY = 20_000
_BITS = 65_536
# The largest width, precision or count that is asked for with a number.
_WIDEST = 10_000
_FORMAT_NUMBER = re.compile(r"\d{5,}")
_FORMAT_STAR = re.compile(r"%[^a-zA-Z%]*\*")


class TooMuch(TemplateRuntimeError):
    """A template that does more work than any conversation needs."""


class Budget:
    """What one run of a template may cost; `size` is that of its variables, in characters."""

    __slots__ = ("_left", "_longest", "_look", "_until")

    def __init__(self, size: int = 0) -> None:
        self._left = _UNITS + _UNITS_PER_INPUT * size
        self._longest = _LONGEST + _LONGEST_PER_INPUT * size
        self._until = time.thread_time() + _SECONDS
        self._look = self._left - _LOOK_EVERY

    def spend(self, units: int) -> None:
        """Raises `TooMuch` when nothing is left."""
        self._left -= units
        if self._left < self._look:
            self._look = self._left - _LOOK_EVERY
            if self._left < 0 or time.thread_time() > self._until:
                raise TooMuch("it does far more work than this conversation needs")

    def allow(self, length: int) -> None:
        """Raises `TooMuch` for a value that is to be longer than any may be."""
        if length > self._longest:
            raise TooMuch(f"it makes a value of {length} characters or items")

    def value(self, value: Any) -> Any:
        """Count a value that was made, and return it."""
        if isinstance(value, (str, bytes)):
            length = len(value)
            self.spend(1 + (length >> 3))
            self.allow(length)
        elif isinstance(value, (list, tuple, dict)):
            self.spend(1 + len(value))
            self.allow(len(value))
        elif isinstance(value, int) and value.bit_length() > _BITS:
            raise TooMuch("it makes a number of more than 65,536 bits")
        return value

    def walk(self, value: Any) -> int:
        """Count everything inside a value that is about to be written out or compared.

        Returns its size. A value may contain another one many times, so that it is large
        without having been expensive to make.
        """
        if isinstance(value, str):
            self.spend(1 + (len(value) >> 3))
            return len(value)
        if not isinstance(value, (list, tuple, dict)):
            return 8
        size, level, depth = 0, [value], 1
        while level:
            deeper: list[Any] = []
            for container in level:
                inside = (
                    chain(container, container.values())
                    if isinstance(container, dict)
                    else container
                )
                own = 0
                for item in inside:
                    if isinstance(item, str):
                        own += len(item) + depth
                    elif isinstance(item, (list, tuple, dict)):
                        deeper.append(item)
                        own += depth
                    else:
                        own += 8
                self.spend(1 + (own >> 3) + len(container))
                size += own
            level, depth = deeper, depth + 1
        return size


_CURRENT: ContextVar[Budget] = ContextVar("budget")


def current() -> Budget:
    """The budget of the template that runs."""
    return _CURRENT.get()


def within(budget: Budget, run: Callable[[], str]) -> str:
    """What `run` returns, for which `budget` is there."""
    token = _CURRENT.set(budget)
    try:
        return run()
    finally:
        _CURRENT.reset(token)


def size_of(value: Any) -> int:
    """The characters in a JSON value, containers counted too."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        size = 1
        for key, inner in value.items():
            # Nearly all of a long conversation.
            size += len(str(key)) + (len(inner) if type(inner) is str else size_of(inner))
        return size
    if isinstance(value, (list, tuple)):
        return 1 + sum(map(size_of, value))
    return 1


def listed(value: Any) -> Any:
    """A list for what could only be read once, so that it can be counted."""
    return list(value) if isinstance(value, Iterator) else value


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Raise `TooMuch` for an operation that would make too large a value."""
    budget = current()
    if operator == "*":
        for some, count in ((left, right), (right, left)):
            if isinstance(some, (str, bytes, list, tuple)) and isinstance(count, int):
                budget.allow(len(some) * count)
    elif operator == "**":
        if isinstance(left, int) and isinstance(right, int) and right > 0:
            budget.value(1 << min(left.bit_length() * right, _BITS + 1))
    elif operator == "%" and isinstance(left, (str, bytes)):
        check_format(left, right)


def check_format(form: Any, *values: Any) -> None:
    """Raise `TooMuch` for a format string that asks for great widths, by itself or by values."""
    text = str(form)
    if _FORMAT_NUMBER.search(text):
        raise TooMuch("it asks for a wide column")
    if _FORMAT_STAR.search(text) or re.search(r"\{[^{}]*[:!][^}]*\{", text):
        flat = [item for v in values for item in (v if isinstance(v, (list, tuple)) else [v])]
        for value in flat:
            _check_number(value)
    budget = current()
    # A value may be written several times.
    times = 1 + text.count("{") + text.count("%")
    budget.allow(len(text) + times * sum(map(budget.walk, values)))


def check_method(owner: Any, name: str, arguments: list[Any]) -> None:
    """Raise `TooMuch` for a call of a text's or a list's method that would make a great value."""
    budget = current()
    if not isinstance(owner, (str, bytes)):
        return
    if name in ("center", "ljust", "rjust", "zfill", "expandtabs"):
        for argument in arguments:
            _check_number(argument)
        budget.allow(len(owner) * (_WIDEST if name == "expandtabs" and "\t" in str(owner) else 1))
    elif name == "replace" and len(arguments) >= 2:
        check_replace(owner, arguments[0], arguments[1])
    elif name == "join" and arguments:
        check_join(arguments[0], owner)
    elif name == "translate" and arguments and isinstance(arguments[0], dict):
        widest = max((len(str(new)) for new in arguments[0].values()), default=1)
        budget.allow(len(owner) * widest)


def check_replace(text: Any, old: Any, new: Any) -> None:
    """Raise `TooMuch` for a replacement that could make a text far longer."""
    if isinstance(text, (str, bytes)) and isinstance(old, str) and isinstance(new, str):
        count = str(text).count(old) if old else len(text) + 1
        current().allow(len(text) + count * len(new))


def check_join(items: Any, separator: Any) -> None:
    """Raise `TooMuch` for a long separator between many items."""
    if isinstance(items, (list, tuple, dict, str)) and isinstance(separator, str):
        current().allow(len(items) * len(separator))


def check_filter(name: str, value: Any, arguments: list[Any]) -> None:
    """Raise `TooMuch` for a filter that would make a great value."""
    if name in ("center", "round", "batch", "slice", "wordwrap", "indent", "tojson", "truncate"):
        for argument in arguments:
            _check_number(argument)
    if name in ("indent", "wordwrap"):
        # A line break may come after each character.
        width = sum(a if isinstance(a, int) else len(str(a)) for a in arguments if a is not None)
        lines = str(value).count("\n") + 1 if name == "indent" else len(str(value))
        current().allow(lines * width if width > 8 or name == "indent" else 0)
    elif name == "tojson":
        indents = [a if isinstance(a, int) else len(str(a)) for a in arguments if a is not None]
        current().allow(current().walk(value) * (1 + max(indents, default=0)))
    elif name == "replace" and len(arguments) >= 2:
        check_replace(value, arguments[0], arguments[1])
    elif name == "join" and arguments:
        check_join(value, arguments[0])
    elif name == "format":
        check_format(value, *arguments)
    elif name == "sum" and any(isinstance(a, (list, tuple)) for a in arguments):
        raise TooMuch("it adds lists up one by one")


def _check_number(value: Any) -> None:
    if isinstance(value, int) and abs(value) > _WIDEST:
        raise TooMuch(f"it asks for a width of {value}")
