"""GBNF for integers and decimals between bounds, digit by digit."""

from __future__ import annotations

import math
from typing import Final

from llmgate.grammar.builder import Builder, quote
from llmgate.grammar.facts import Facts

_DIGITS: Final = 20
# Decimals with more digits than this may round onto a bound that they must not reach.
_SAFE_DIGITS: Final = 15
# Beyond, the fraction would not fit next to the integer part.
LARGEST_BOUND: Final = 10**12


def number(builder: Builder, facts: Facts, hint: str, whole: bool) -> str | None:
    """A rule for the numbers that the facts allow, whole ones only or any; None for none."""
    low, above = facts.low or (None, False)
    high, below = facts.high or (None, False)
    if whole:
        least = None if low is None else math.ceil(low) + (above and math.ceil(low) == low)
        most = None if high is None else math.floor(high) - (below and math.floor(high) == high)
        if least is not None and least >= 10**_DIGITS:
            facts.relax("minimum", f"enforced up to {_DIGITS} digits")
            least = 10 ** (_DIGITS - 1)
        if most is not None and most <= -(10**_DIGITS):
            facts.relax("maximum", f"enforced up to {_DIGITS} digits")
            most = -(10 ** (_DIGITS - 1))
        # No number of ours has more digits than that.
        least = None if least is not None and least <= -(10**_DIGITS) else least
        most = None if most is not None and most >= 10**_DIGITS else most
        body = "" if least is most is None else integers(least, most)
    else:
        least, above = _whole(facts, "minimum", low, above)
        most, below = _whole(facts, "maximum", high, below)
        body = "" if least is most is None else decimals(builder, least, most, above, below)
    if body is None:
        return None
    if not body:
        return builder.use("integer" if whole else "number")
    return builder.rule(hint, body)


def _whole(
    facts: Facts, keyword: str, bound: float | None, excluded: bool
) -> tuple[int | None, bool]:
    """A bound as a whole number, moved outwards and noted where it is none."""
    if bound is None:
        return None, False
    if abs(bound) > LARGEST_BOUND:
        facts.relax(keyword, "bounds of so many digits are not enforced")
        return None, False
    moved = math.floor(bound) if keyword == "minimum" else math.ceil(bound)
    if moved != bound:
        facts.relax(keyword, f"enforced as {moved}")
        return moved, False
    return moved, excluded


def integers(low: int | None, high: int | None) -> str | None:
    """The body of a rule for the integers from `low` to `high`; None if there are none."""
    if low is not None and high is not None and low > high:
        return None
    far = 10 ** max(_DIGITS, len(str(abs(low or 0))) + 1, len(str(abs(high or 0))) + 1) - 1
    least, most = -far if low is None else low, far if high is None else high
    parts = []
    if most >= 0:
        parts.append(_naturals(max(least, 0), most))
    if least < 0:
        parts.append(f'"-" {_grouped(_naturals(max(1, -most), -least))}')
    return " | ".join(parts)


def decimals(
    builder: Builder, low: int | None, high: int | None, above: bool, below: bool
) -> str | None:
    """The body of a rule for numbers from `low` to `high`; None if there are none.

    `above` and `below` exclude the bounds themselves.
    """
    if low is not None and high is not None and (low > high or (low == high and (above or below))):
        return None
    parts = []
    if high is None or high > 0 or (high == 0 and not below):
        start, open_start = (0, False) if low is None or low < 0 else (low, above)
        parts.append(_positive(builder, start, high, open_start, below))
    if low is None or low < 0:
        # Zero with a sign is zero, so it is allowed where zero is.
        start, open_start = (0, False) if high is None or high > 0 else (-high, below)
        end = None if low is None else -low
        parts.append(f'"-" {_grouped(_positive(builder, start, end, open_start, above))}')
    return " | ".join(parts)


def _positive(builder: Builder, low: int, high: int | None, above: bool, below: bool) -> str:
    """Numbers from `low` >= 0 to `high`."""
    width = len(str(high if high is not None else low))
    places = max(1, _SAFE_DIGITS - width)
    fraction = builder.rule("decimals", f'"." [0-9]{{1,{places}}}')
    parts = []
    first = low
    if above:
        # The bound's own integer part, with a fraction that is not zero.
        if high is None or low < high:
            parts.append(f'{quote(str(low))} "." [0-9]{{0,{places - 1}}} [1-9]')
        first += 1
    if high is None:
        parts.append(f"{_grouped(_naturals(first, 10**_DIGITS - 1))} {fraction}?")
    elif first < high:
        parts.append(f"{_grouped(_naturals(first, high - 1))} {fraction}?")
    if high is not None and not below and (first <= high):
        parts.append(f'{quote(str(high))} ("." "0"{{1,{places}}})?')
    small = low == 0 and (high is None or high >= 1)
    large = high is None and low <= 1
    exponent = '("0"? [1-9] | [1-9] [0-9] | [12] [0-9] [0-9])'
    if small:
        parts.append(f'[1-9] {fraction}? [eE] "-" {exponent}')
    if large:
        parts.append(f'[1-9] {fraction}? [eE] "+"? {exponent}')
    return " | ".join(parts)


def _naturals(low: int, high: int) -> str:
    """Alternatives for the integers from `low` to `high`, both at least 0."""
    parts: list[str] = []
    if low == 0:
        parts.append('"0"')
        if high == 0:
            return '"0"'
        low = 1
    first, last = len(str(low)), len(str(high))
    if first == last:
        parts += _span(str(low), str(high))
        return " | ".join(parts)
    whole_first = low == 10 ** (first - 1)
    whole_last = high == 10**last - 1
    if not whole_first:
        parts += _span(str(low), "9" * first)
    shortest = first if whole_first else first + 1
    longest = last if whole_last else last - 1
    if shortest < longest:
        parts.append(f"[1-9] [0-9]{{{shortest - 1},{longest - 1}}}")
    elif shortest == longest:
        parts.append(f"[1-9]{_any_digits(shortest - 1)}")
    if not whole_last:
        parts += _span(f"1{'0' * (last - 1)}", str(high))
    return " | ".join(parts)


def _span(low: str, high: str) -> list[str]:
    """Alternatives for all digit strings from `low` to `high`, which are equally long."""
    if low == high:
        return [quote(low)]
    if len(low) == 1:
        return [_digit(low, high)]
    if low[0] == high[0]:
        return [f"{quote(low[0])} {_grouped(' | '.join(_span(low[1:], high[1:])))}"]
    rest = len(low) - 1
    out = []
    start, end = int(low[0]), int(high[0])
    if low[1:] != "0" * rest:
        out.append(f"{quote(low[0])} {_grouped(' | '.join(_span(low[1:], '9' * rest)))}")
        start += 1
    tail = None
    if high[1:] != "9" * rest:
        tail = f"{quote(high[0])} {_grouped(' | '.join(_span('0' * rest, high[1:])))}"
        end -= 1
    if start <= end:
        out.append(f"{_digit(str(start), str(end))}{_any_digits(rest)}")
    if tail:
        out.append(tail)
    return out


def _digit(low: str, high: str) -> str:
    return quote(low) if low == high else f"[{low}-{high}]"


def _any_digits(count: int) -> str:
    return "" if count == 0 else " [0-9]" if count == 1 else f" [0-9]{{{count}}}"


def _grouped(alternatives: str) -> str:
    return f"({alternatives})" if " | " in alternatives else alternatives
