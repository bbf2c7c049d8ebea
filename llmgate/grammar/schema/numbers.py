"""GBNF for integers and decimals between bounds, digit by digit."""

from __future__ import annotations

import math
from decimal import ROUND_DOWN, ROUND_UP, Decimal, localcontext
from typing import Final

from llmgate.grammar.builder import Builder, quote
from llmgate.grammar.schema.facts import Facts

_DIGITS: Final = 20
# As many digits as every two different decimals of that length are different doubles.
_SAFE_DIGITS: Final = 15
_PLACES: Final = 24
_FAR: Final = Decimal(10) ** _DIGITS
# From here on, programs write floating-point numbers with an exponent.
_PLAIN: Final = Decimal(10) ** 15
# No number of ours has an exponent that reaches this.
_BEYOND: Final = Decimal(10) ** 308

# From where and up to where, each with whether the bound itself is excluded; None is no bound.
Interval = tuple[Decimal | None, bool, Decimal | None, bool]


# What floating-point numbers without a fraction end on.
_POINT: Final = '("." "0"{1,12})?'


def number(builder: Builder, facts: Facts, hint: str, whole: bool) -> str | None:
    """A rule for the numbers that the facts allow, integers only or any; None for none."""
    if not facts.integral or whole:
        return _number(builder, facts, hint, whole)
    found = _number(builder, facts, hint, True)
    return None if found is None else builder.rule(hint, f"{found} {_POINT}")


def _number(builder: Builder, facts: Facts, hint: str, whole: bool) -> str | None:
    if whole and facts.fractional:
        return None
    intervals = _intervals(facts)
    if facts.multiples or facts.indivisible:
        from llmgate.grammar.schema.multiples import multiples

        return multiples(builder, facts, intervals, hint, whole)
    if intervals == [(None, False, None, False)] and not facts.fractional:
        return builder.use("integer" if whole else "number")
    bodies = []
    for interval in intervals:
        if whole:
            body = _whole(interval)
        elif facts.fractional:
            body = " | ".join(fractions(interval)) or None
        else:
            body = decimals(builder, interval)
        if body is not None:
            bodies.append(body)
    return builder.rule(hint, " | ".join(bodies)) if bodies else None


def _intervals(facts: Facts) -> list[Interval]:
    """Where the numbers are, without those that they must not be equal to."""
    low, above = facts.low or (None, False)
    high, below = facts.high or (None, False)
    first = None if low is None else exact(low)
    last = None if high is None else exact(high)
    if first is not None and first <= -_BEYOND:
        first, above = None, False
    if last is not None and last >= _BEYOND:
        last, below = None, False
    if first is not None and first >= _FAR:
        facts.relax("minimum", f"enforced up to {_DIGITS} digits")
        first = _FAR / 10
    if last is not None and last <= -_FAR:
        facts.relax("maximum", f"enforced up to {_DIGITS} digits")
        last = -_FAR / 10
    found: list[Interval] = [(first, above, last, below)]
    for one in facts.unequal:
        if isinstance(one, (int, float)) and not isinstance(one, bool) and math.isfinite(one):
            found = [part for interval in found for part in _without(interval, exact(one))]
    return found


def _without(interval: Interval, point: Decimal) -> list[Interval]:
    low, above, high, below = interval
    if (low is not None and point < low) or (high is not None and point > high):
        return [interval]
    out: list[Interval] = []
    if low is None or low < point:
        out.append((low, above, point, True))
    if high is None or point < high:
        out.append((point, True, high, below))
    return out


def exact(value: float) -> Decimal:
    """A number of a schema as it is written in JSON."""
    return Decimal(repr(value))


def whole_bounds(interval: Interval) -> tuple[int | None, int | None]:
    """The first and the last integer of an interval."""
    low, above, high, below = interval
    least = None if low is None else math.ceil(low) + (above and math.ceil(low) == low)
    most = None if high is None else math.floor(high) - (below and math.floor(high) == high)
    return least, most


def _whole(interval: Interval) -> str | None:
    least, most = whole_bounds(interval)
    # No number of ours has more digits than that.
    least = None if least is not None and least <= -(10**_DIGITS) else least
    most = None if most is not None and most >= 10**_DIGITS else most
    return integers(least, most)


def integers(low: int | None, high: int | None) -> str | None:
    """Alternatives for the integers from `low` to `high`; None if there are none."""
    if low is not None and high is not None and low > high:
        return None
    far = 10 ** max(_DIGITS, len(str(abs(low or 0))) + 1, len(str(abs(high or 0))) + 1) - 1
    least, most = -far if low is None else low, far if high is None else high
    parts = []
    if most >= 0:
        parts.append(naturals(max(least, 0), most))
    if least < 0:
        parts.append(f'"-" {_grouped(naturals(max(1, -most), -least))}')
    return " | ".join(parts)


def decimals(builder: Builder, interval: Interval) -> str | None:
    """Alternatives for the numbers of an interval; None if there are none."""
    low, above, high, below = interval
    if low is not None and high is not None and (low > high or (low == high and (above or below))):
        return None
    parts = []
    if high is None or high > 0 or (high == 0 and not below):
        start, open_start = (Decimal(0), False) if low is None or low < 0 else (low, above)
        parts += _positive(builder, start, open_start, high, below)
    if low is None or low < 0:
        # Zero with a sign is zero, so it is allowed where zero is.
        start, open_start = (Decimal(0), False) if high is None or high > 0 else (-high, below)
        negative = _positive(builder, start, open_start, None if low is None else -low, above)
        if negative:
            parts.append(f'"-" {_grouped(" | ".join(negative))}')
    return " | ".join(parts) if parts else None


def _positive(
    builder: Builder, low: Decimal, above: bool, high: Decimal | None, below: bool
) -> list[str]:
    """Alternatives for the numbers from `low` >= 0 to `high`."""
    fraction = builder.use("fraction")
    powers: list[str] = []
    if low == 0 and (high is None or high >= Decimal("0.0001")):
        least = '"0"? [1-9]' if high is None or high >= 1 else '"0"? [5-9]'
        tenths = f'"-" ({least} | [1-9] [0-9] | [12] [0-9] [0-9])'
        powers.append(f"[1-9] {fraction}? [eE] {tenths}")
    if high is None and low <= _PLAIN:
        least = '"0"? [1-9] | [1-9] [0-9]' if low <= 1 else '"1" [6-9] | [2-9] [0-9]'
        tens = f'"+"? ({least} | [12] [0-9] [0-9] | "30" [0-7])'
        powers.append(f"[1-9] {fraction}? [eE] {tens}")
    # Decimals with many digits may round onto a bound, so one that is excluded becomes the
    # last decimal before it that certainly is another double.
    if above and low:
        low, above = low + _step(low), False
    if below and high is not None:
        high = high - _step(high)
        if high < low:
            return powers
    if high is not None and high >= _FAR:
        high = None
    first, start = _split(low, ROUND_UP)
    last, end = (10**_DIGITS, None) if high is None else _split(high, ROUND_DOWN)
    if first == last:
        found = _digits(start, end, above)
        return powers if found is None else [f"{quote(str(first))} {found}", *powers]
    parts = []
    if start or above:
        parts.append(f"{quote(str(first))} {_digits(start, None, above)}")
        first += 1
    if first < last:
        parts.append(f"{_grouped(naturals(first, last - 1))} {fraction}?")
    if end is not None:
        parts.append(f"{quote(str(last))} {_digits(None, end, False)}")
    return parts + powers


def _step(bound: Decimal) -> Decimal:
    """The distance from a bound that no rounding bridges."""
    return Decimal(10) ** (bound.adjusted() + 1 - _SAFE_DIGITS)


def _split(bound: Decimal, rounding: str) -> tuple[int, str]:
    """The integer part, and the digits behind the point without zeros at their end."""
    if bound != bound.to_integral_value():
        with localcontext() as context:
            context.prec = 2 * _DIGITS + _PLACES
            bound = bound.quantize(Decimal(10) ** (2 - _PLACES), rounding=rounding)
    whole, _, fraction = format(bound, "f").partition(".")
    return int(whole), fraction.rstrip("0")


def _digits(low: str | None, high: str | None, above: bool) -> str | None:
    """What may follow an integer part: nothing or a fraction, between two fractions."""
    size = max(len(low or ""), len(high or ""))
    low = None if low is None else low.ljust(size, "0")
    high = None if high is None else high.ljust(size, "0")
    body, empty = _tail(low, high, above, _PLACES)
    if not body:
        return None
    return f'("." {_grouped(body)})?' if empty else f'"." {_grouped(body)}'


def _tail(low: str | None, high: str | None, above: bool, left: int) -> tuple[str, bool]:
    """Alternatives for digits that are at least `low` and at most `high`, where these are given.

    Also whether there may be no digit at all. With `above`, `low` itself is excluded.
    """
    if not low and not high:
        if high is not None:
            return ("", False) if above else (f'"0"{{1,{left}}}', True)
        if low is not None and above:
            return f'"0"{{0,{left - 2}}} [1-9] [0-9]{{0,{left - 1}}}', False
        return f"[0-9]{{1,{left}}}", True
    empty = low is None or (not low.strip("0") and not above)
    first = int(low[0]) if low else 0
    last = int(high[0]) if high else 9
    ways = []
    if low and high and first == last:
        return _step_into(first, low[1:], high[1:], above, left), empty
    if low:
        ways.append(_step_into(first, low[1:], None, above, left))
        first += 1
    if high:
        last -= 1
    if first <= last:
        ways.append(f"{_digit(str(first), str(last))} [0-9]{{0,{left - 1}}}")
    if high:
        ways.append(_step_into(last + 1, None, high[1:], False, left))
    return " | ".join([way for way in ways if way]), empty


def _step_into(digit: int, low: str | None, high: str | None, above: bool, left: int) -> str:
    """One digit that is equal to that of a bound, and what may follow it."""
    body, empty = _tail(low, high, above, left - 1)
    if not body:
        return quote(str(digit)) if empty else ""
    return f"{quote(str(digit))} {_grouped(body, empty)}"


def fractions(interval: Interval) -> list[str]:
    """Alternatives for numbers of an interval that are no integers.

    Of an integer part that is not all in the interval there are none.
    """
    low, _, high, _ = interval
    least = None if low is None else math.ceil(low)
    most = None if high is None else math.floor(high)
    if least is not None and most is not None and least >= most:
        return []
    fraction = f'"." "0"{{0,{_PLACES - 2}}} [1-9] [0-9]{{0,{_PLACES - 1}}}'
    parts = []
    if most is None or most > 0:
        last = 10**_DIGITS - 1 if most is None else most - 1
        parts.append(f"{_grouped(naturals(max(least or 0, 0), last))} {fraction}")
    if least is None or least < 0:
        last = 10**_DIGITS - 1 if least is None else -least - 1
        first = 0 if most is None or most > 0 else -most
        parts.append(f'"-" {_grouped(naturals(first, last))} {fraction}')
    return parts


def naturals(low: int, high: int) -> str:
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


def _grouped(alternatives: str, optional: bool = False) -> str:
    if optional:
        return f"({alternatives})?"
    return f"({alternatives})" if " | " in alternatives else alternatives
