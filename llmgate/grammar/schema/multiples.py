"""GBNF for numbers that are, or are not, multiples of others: digit by digit, by remainder."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final

from llmgate.grammar.builder import Builder, quote
from llmgate.grammar.schema.facts import Facts
from llmgate.grammar.schema.numbers import Interval, fractions, number

# Remainders are followed up to this modulus, and so many rules are made of them.
_LARGEST_MODULUS: Final = 400
_MOST_RULES: Final = 300
# So few numbers are written out one by one.
_MOST_LISTED: Final = 400
_MOST_PLACES: Final = 12
# Integers have so many digits at most where more would take more rules than that.
_ENOUGH_DIGITS: Final = 8
_FEW_RULES: Final = 36
# Numbers of more digits would not be told apart by programs that read them as doubles.
_MOST_DIGITS: Final = 15
# In place of a rule where remainders are not followed.
_UNFOLLOWED: Final = object()
_FEWEST_DIGITS: Final = 4
_DIGITS: Final = "0123456789"
_ZEROS: Final = '"0"{0,12}'


class _TooMany(Exception):
    """There would be more rules than a grammar should have."""


def multiples(
    builder: Builder, facts: Facts, intervals: list[Interval], hint: str, whole: bool
) -> str | None:
    """A rule for the numbers of the intervals that divide as the facts say; None for none."""
    others = list(dict.fromkeys([_exactly(one) for one in facts.indivisible]))
    unit = Fraction(1) if whole else None
    for one in facts.multiples:
        divisor = _exactly(one)
        unit = divisor if unit is None else _common(unit, divisor)
    if facts.fractional:
        others.append(Fraction(1))
    if unit is not None and any(unit % other == 0 for other in others):
        return None
    key = ("multiples", unit, *others, *intervals)
    known = builder.memory.get(key)
    if known is None:
        before = builder.snapshot()
        try:
            ways = []
            for interval in intervals:
                if unit is not None and unit % 10 == 0 and _whole(others):
                    ways += _round(builder, unit, others, interval)
                else:
                    ways += _digits(builder, unit, others).numbers(interval)
            known = builder.rule(hint, " | ".join(dict.fromkeys(ways))) if ways else ""
        except _TooMany:
            builder.restore(before)
            known = _UNFOLLOWED
        builder.memory[key] = known
    if known is _UNFOLLOWED:
        facts.relax("multipleOf", "so many remainders are not followed")
        plain = Facts(facts.path)
        plain.low, plain.high, plain.fractional = facts.low, facts.high, facts.fractional
        return number(builder, plain, hint, whole)
    return str(known) or None


def _digits(builder: Builder, unit: Fraction | None, others: list[Fraction]) -> _Digits:
    """What makes the digits of such numbers: the same for all intervals."""
    key = ("digits", unit, *others)
    found: _Digits | None = builder.memory.get(key)
    if found is None:
        found = builder.memory[key] = _Digits(builder, unit, others)
    return found


@lru_cache(maxsize=1_024, typed=True)
def _exactly(number: float) -> Fraction:
    """A number as it is written in decimals."""
    return Fraction(str(number))


def _whole(numbers: list[Fraction]) -> bool:
    return all(one.denominator == 1 for one in numbers)


def _round(
    builder: Builder, unit: Fraction, others: list[Fraction], interval: Interval
) -> list[str]:
    """Alternatives for multiples of ten, as smaller multiples with zeros behind them."""
    zeros = 0
    while unit % 10 == 0:
        unit, zeros = unit / 10, zeros + 1
    # What divides them with their zeros divides them without by what it has not of the zeros.
    others = [one / math.gcd(int(one), 10**zeros) for one in others]
    low, above, high, below = interval
    least = None if low is None else _above(Fraction(low) / 10**zeros, above)
    most = None if high is None else -_above(-Fraction(high) / 10**zeros, below)
    if least is not None and most is not None and least > most:
        return []
    # Zero is a multiple of all of them.
    out = ['"0"'] if (least or 0) <= 0 <= (most or 0) and not others else []
    digits = _digits(builder, unit, others)
    if most is None or most > 0:
        out += digits.numbers((_decimal(max(least or 1, 1)), False, _decimal(most), False))
    if least is None or least < 0:
        out += digits.numbers((_decimal(least), False, _decimal(min(most or -1, -1)), False))
    return [way if way == '"0"' else f"({way}) {quote('0' * zeros)}" for way in out]


def _decimal(number: int | None) -> Decimal | None:
    return None if number is None else Decimal(number)


def _common(left: Fraction, right: Fraction) -> Fraction:
    """The least common multiple."""
    denominator = math.lcm(left.denominator, right.denominator)
    return Fraction(math.lcm(int(left * denominator), int(right * denominator)), denominator)


def _places(one: Fraction) -> int:
    """How many digits behind the point its multiples may have."""
    for places in range(_MOST_PLACES + 1):
        if 10**places % one.denominator == 0:
            return places
    raise _TooMany


class _Digits:
    """Rules for digits, by the remainder so far and by how many digits may follow.

    Numbers are followed as integers: with `places` digits behind the point, `scale` times.
    """

    def __init__(self, builder: Builder, unit: Fraction | None, others: list[Fraction]) -> None:
        self.builder = builder
        self.places = max(_places(one) for one in (*others, *((unit,) if unit else ())))
        self.scale: int = 10**self.places
        self.unit = 1 if unit is None else int(unit * self.scale)
        # Without a unit, further digits make a number that is no multiple of anything.
        self.free = unit is None
        self.others = [int(other * self.scale) for other in others]
        self.modulus = math.lcm(self.unit, *self.others)
        # What each digit adds, and the remainders after one more digit.
        self.digits = [digit * self.scale for digit in range(10)]
        self.rows: dict[int, dict[int, str]] = {}
        # What may follow a remainder, by how many digits there still have to be and may be.
        self.rests: dict[tuple[int, int], dict[int, str | None]] = {}
        self.ends: dict[int, str | None] = {}
        # What may follow it behind the point, by how many digits still count.
        self.behind: dict[tuple[int, int], str | None] = {}
        self.rules: set[str] = set()

    def numbers(self, interval: Interval) -> list[str]:
        """Alternatives for the numbers of an interval."""
        low, above, high, below = interval
        least = None if low is None else _above(Fraction(low) * self.scale, above)
        most = None if high is None else -_above(-Fraction(high) * self.scale, below)
        if least is not None and most is not None and least > most:
            return []
        if self._few(least, most):
            return self._listed(least or 0, most or 0)
        out = []
        if most is None or most >= 0:
            out += self._positive(max(least or 0, 0), most)
        if least is None or least < 0:
            start = 1 if most is None or most >= 0 else -most
            out += [
                f'"-" {way}' for way in self._positive(start, None if least is None else -least)
            ]
        if self.free and not self.places:
            out += fractions(interval)
        elif self.free and low is None and high is None:
            places = f"[0-9]{{{self.places}}} "
            out.append(f'"-"? ("0" | [1-9] [0-9]{{0,14}}) "." {places}{_ZEROS} [1-9] [0-9]{{0,9}}')
        return out

    def _right(self, value: int) -> bool:
        return value % self.unit == 0 and all(value % other for other in self.others)

    def _few(self, least: int | None, most: int | None) -> bool:
        return least is not None and most is not None and (most - least) // self.unit < _MOST_LISTED

    def _listed(self, least: int, most: int) -> list[str]:
        """Numbers that are written out one by one."""
        from llmgate.grammar.text.words import any_of

        plain, broken = [], []
        for value in range(-(-least // self.unit) * self.unit, most + 1, self.unit):
            if self._right(value):
                whole, rest = divmod(abs(value), self.scale)
                text = f"-{whole}" if value < 0 else f"{whole}"
                if rest:
                    broken.append(f"{text}.{str(rest).rjust(self.places, '0').rstrip('0')}")
                else:
                    plain.append(text)
        out = []
        if plain:
            out.append(f'{any_of(plain)} ("." "0"{{1,12}})?' if self.places else any_of(plain))
        if broken:
            out.append(f"{any_of(broken)} {_ZEROS}")
        return [way for way in out if way is not None]

    def _positive(self, least: int, most: int | None) -> list[str]:
        """Alternatives for the scaled numbers from `least` >= 0 on."""
        if self.modulus > _LARGEST_MODULUS:
            raise _TooMany
        out: list[str] = []
        first, rest = divmod(least, self.scale)
        if rest:
            # The integer part of the bound, of which not every fraction is allowed.
            first += 1
            end = first * self.scale - 1
            out += self._some(least, end if most is None else min(end, most))
        if most is None:
            length = len(str(first))
            out += self._span(first, 10**length - 1)
            following = self._up_to_any(length)
            return [*out, following] if following else out
        last, rest = divmod(most, self.scale)
        if self.places and first <= last:
            out += self._some(last * self.scale, most)
            last -= 1
        while first <= last:
            end = min(10 ** len(str(first)) - 1, last)
            out += self._span(first, end)
            first = end + 1
        return out

    def _some(self, least: int, most: int) -> list[str]:
        if not self._few(least, most):
            raise _TooMany
        return self._listed(least, most)

    def _up_to_any(self, length: int) -> str | None:
        """Integer parts that are longer than that."""
        # Factors of ten are settled by the last digits: the others go on for all digits.
        cycle = self.modulus
        for factor in (2, 5):
            while cycle % factor == 0:
                cycle //= factor
        enough = max(_ENOUGH_DIGITS, _FEW_RULES // cycle)
        digits = min(
            _MOST_DIGITS, _MOST_RULES // cycle, enough, self.builder.states // self.modulus
        )
        if digits < max(_FEWEST_DIGITS, length + 2):
            raise _TooMany
        return self._longer(length, digits)

    def _longer(self, length: int, most: int) -> str | None:
        first = [self._next(0, digit) for digit in range(1, 10)]
        rests = self._rests(set(first), length, most - 1)
        return self._rule(_by_rest([(str(d), rests[one]) for d, one in enumerate(first, 1)]))

    def _rests(self, remainders: set[int], least: int, left: int) -> dict[int, str | None]:
        """What may follow each of the remainders: `least` to `left` digits, and the fraction."""
        known = self.rests.setdefault((least, left), {})
        new = sorted(remainders.difference(known))
        if not new:
            return known
        if not left:
            known.update((one, self._end(one)) for one in new)
            return known
        # Where a digit leads to depends on the last digits of the remainder only, and so does
        # the rule, but for what it may end with.
        starts = [one * 10 % self.modulus for one in new]
        rows = {start: self._row(start) for start in starts}
        following = {after for row in rows.values() for after in row}
        below = self._rests(following, max(least - 1, 0), left - 1)
        bodies: dict[int, list[str]] = {}
        made: dict[tuple[int, str | None], str | None] = {}
        for one, start in zip(new, starts, strict=True):
            self._count()
            end = None if least else self._end(one)
            key = (start, end)
            if key not in made:
                ways = bodies.get(start)
                if ways is None:
                    row = rows[start].items()
                    ways = bodies[start] = _by_rest([(digits, below[to]) for to, digits in row])
                made[key] = self._rule(ways if end is None else [*ways, end or '""'])
            known[one] = made[key]
        return known

    def _row(self, start: int) -> dict[int, str]:
        """The remainders after a digit that is added to `start`, each with the digits for it."""
        found = self.rows.get(start)
        if found is None:
            found = self.rows[start] = {}
            for digit, added in zip(_DIGITS, self.digits, strict=True):
                after = (start + added) % self.modulus
                found[after] = found.get(after, "") + digit
        return found

    def _span(self, low: int, high: int) -> list[str]:
        """Alternatives for integer parts from `low` to `high`, which are equally long."""
        return self._between(str(low), str(high), 0)

    def _between(self, low: str, high: str, remainder: int) -> list[str]:
        if not low:
            end = self._end(remainder)
            return [] if end is None else [end]
        first, last, left = int(low[0]), int(high[0]), len(low) - 1
        out = []
        if first == last:
            return _after(first, self._between(low[1:], high[1:], self._next(remainder, first)))
        if low[1:].strip("0"):
            out += _after(first, self._between(low[1:], "9" * left, self._next(remainder, first)))
            first += 1
        top: list[str] = []
        if high[1:].strip("9"):
            top = _after(last, self._between("0" * left, high[1:], self._next(remainder, last)))
            last -= 1
        after = {digit: self._next(remainder, digit) for digit in range(first, last + 1)}
        rests = self._rests(set(after.values()), left, left)
        middle = [(str(digit), rests[one]) for digit, one in after.items()]
        return [*out, *_by_rest(middle), *top]

    def _next(self, remainder: int, digit: int) -> int:
        return (remainder * 10 + digit * self.scale) % self.modulus

    def _end(self, remainder: int) -> str | None:
        """The fraction: "" for none, None where no fraction fits."""
        if remainder not in self.ends:
            self.ends[remainder] = self._fraction(remainder)
        return self.ends[remainder]

    def _fraction(self, remainder: int) -> str | None:
        if not self.places:
            return "" if self._right(remainder) else None
        found = self._place(remainder, self.places)
        if self._right(remainder):
            return f'("." {found})?' if found else ""
        return f'"." {found}' if found else None

    def _place(self, remainder: int, left: int) -> str | None:
        """Digits behind the point, of which `left` still count; at least one."""
        state = (remainder, left)
        if state not in self.behind:
            self._count()
            ways: list[tuple[str, str | None]] = []
            for digit in range(10):
                after = (remainder + digit * 10 ** (left - 1)) % self.modulus
                right = self._right(after)
                if left == 1:
                    ways.append((str(digit), _ZEROS if right else None))
                    continue
                below = self._place(after, left - 1)
                if right:
                    below = f"{below}?" if below else ""
                ways.append((str(digit), below))
            self.behind[state] = self._rule(_by_rest(ways))
        return self.behind[state]

    def _count(self) -> None:
        self.builder.states -= 1
        if self.builder.states < 0:
            raise _TooMany

    def _rule(self, bodies: list[str]) -> str | None:
        if not bodies:
            return None
        # There are many of them, so that the length of their names tells.
        rule = self.builder.rule("d", " | ".join(bodies))
        self.rules.add(rule)
        if len(self.rules) > _MOST_RULES:
            raise _TooMany
        return rule


def _above(bound: Fraction, excluded: bool) -> int:
    """The first integer from a bound on."""
    return math.ceil(bound) + (excluded and bound.denominator == 1)


def _by_rest(ways: list[tuple[str, str | None]]) -> list[str]:
    """Digits with what may follow them, those with the same put together."""
    by_rest: dict[str, str] = {}
    for digits, rest in ways:
        if rest is not None:
            by_rest[rest] = by_rest.get(rest, "") + digits
    return [
        f"{_class(digits)} {rest}" if rest else _class(digits) for rest, digits in by_rest.items()
    ]


def _after(digit: int, ways: list[str]) -> list[str]:
    if not ways:
        return []
    found = ways[0] if len(ways) == 1 and " | " not in ways[0] else f"({' | '.join(ways)})"
    return [f"{quote(str(digit))} {found}".rstrip()]


@lru_cache(maxsize=1_024)
def _class(digits: str) -> str:
    if len(digits) == 1:
        return quote(digits)
    return f"[{''.join(sorted(digits))}]" if len(digits) < 10 else "[0-9]"
