"""GBNF for JSON arrays: items by position, then any number of further ones, within bounds."""

from __future__ import annotations

from itertools import product
from math import comb
from typing import Final

from llmgate.grammar.builder import MOST_REPETITIONS, Builder
from llmgate.grammar.schema.facts import Contained, Facts
from llmgate.grammar.schema.objects import Maker
from llmgate.grammar.schema.strings import constant

# Fixed values that may come once each: there is a rule for every set of those that have been
# written, with a way for each that is left: so many ways at most.
_MOST_WAYS: Final = 200
# A value that is longer is written once, as a rule.
_LONGEST_INLINE: Final = 12
_MOST_STATES: Final = 400


def array(maker: Maker, facts: Facts, hint: str) -> str | None:
    """A rule for the arrays that the facts allow; None if there are none."""
    least, most = facts.least.get("Items", 0), facts.most.get("Items")
    if most is not None and most < least:
        return None
    if facts.unique is not None and (most is None or most > 1):
        distinct = _distinct(maker, facts)
        if distinct is not None:
            return _each_once(maker.builder, distinct, least, most, hint)
        facts.relax("uniqueItems", "equal items are not compared", facts.unique)
    if facts.contained:
        found, exact = _containing(maker, facts, least, most, hint)
        if exact:
            return found
        for one in facts.contained:
            facts.relax("contains", "what has to be among the items is not counted", one.path)
    return _plain(maker, facts, least, most, hint)


def _plain(maker: Maker, facts: Facts, least: int, most: int | None, hint: str) -> str | None:
    builder = maker.builder
    positions = max((len(prefix) for prefix, _ in facts.arrays), default=0)
    items: list[str] = []
    for number in range(positions):
        if most is not None and number >= most:
            break
        item = maker.node(facts.item_at(number), hint)
        if item is None:
            most = number
            break
        items.append(item)
    rest: str | None = None
    if most is None or most > positions:
        rest = _rest(maker, facts, least, positions, hint)
        if rest is None:
            most = len(items)
    if most is not None and most < least:
        return None
    bound = max(least, most or 0) - len(items)
    if bound > MOST_REPETITIONS and rest is not None:
        if least > MOST_REPETITIONS:
            facts.relax("minItems", f"enforced up to {MOST_REPETITIONS}")
            least = MOST_REPETITIONS
        if most is not None:
            facts.relax("maxItems", f"not enforced above {MOST_REPETITIONS}")
            most = None
    ws = builder.use("ws")
    if not items and rest is None:
        return builder.rule(hint, f'"[" {ws} "]"')
    if not items and rest == "value" and not least and most is None:
        return builder.use("array")
    tail = ""
    if rest is not None:
        more = builder.rule("more", f'"," {ws} {rest}')
        first = 0 if items else 1
        done = len(items) + first
        tail = builder.repeat(more, max(least - done, 0), None if most is None else most - done)
        if tail == '""':
            tail = ""
        if first:
            inside = f"{rest} {tail} {ws}".replace("  ", " ")
            return builder.rule(hint, f'"[" {ws} {inside if least else f"({inside})?"} "]"')
    # From the last position to the first, each optional one holds what comes after it.
    for number in range(len(items) - 1, -1, -1):
        step = f"{items[number]} {tail}".rstrip()
        step = f'"," {ws} {step}' if number else f"{step} {ws}"
        if number >= least:
            rule = builder.rule(f"{hint}-rest", step)
            tail = f"{rule}?"
        else:
            tail = step
    return builder.rule(hint, f'"[" {ws} {tail} "]"')


def _rest(maker: Maker, facts: Facts, least: int, positions: int, hint: str) -> str | None:
    """The items after those by position; None where there can be none."""
    limited = any(rest is not None for _, rest in facts.arrays)
    if maker.closed and positions and not limited and least <= positions:
        # A model should not invent more.
        return None
    return maker.node(facts.item_at(positions), f"{hint}-item")


def _distinct(maker: Maker, facts: Facts) -> list[object] | None:
    """The values of the items, where each item is one of the same few."""
    if any(prefix for prefix, _ in facts.arrays) or facts.contained:
        return None
    values = maker.finite(facts.item_at(0))
    if values is None:
        return None
    size = len(values)
    most = min(size, facts.most.get("Items", size))
    ways = sum(comb(size, count) * (size - count) for count in range(min(most, 10)))
    return values if ways <= _MOST_WAYS else None


def _each_once(
    builder: Builder, values: list[object], least: int, most: int | None, hint: str
) -> str | None:
    """An array with some of these values, each at most once."""
    ws = builder.use("ws")
    texts = [text for value in values if (text := constant(builder, value)) is not None]
    texts = [text if len(text) <= _LONGEST_INLINE else builder.rule(hint, text) for text in texts]
    most = len(values) if most is None else min(most, len(values))
    if most < least:
        return None
    known: dict[int, str] = {}

    def after(used: int) -> str:
        """What may follow where the values of `used` have been written."""
        if used not in known:
            count = used.bit_count()
            ways = []
            if count < most:
                comma = f'"," {ws} ' if count else ""
                ways = [
                    f"{comma}{text} {after(used | 1 << number)}"
                    for number, text in enumerate(texts)
                    if not used >> number & 1
                ]
            if count >= least:
                ways.append(f'{ws} "]"' if count else '"]"')
            known[used] = ways[0] if len(ways) == 1 else builder.rule(hint, " | ".join(ways))
        return known[used]

    return builder.rule(hint, f'"[" {ws} {after(0)}')


# For each thing to be contained: how many are still needed, and how many more are allowed.
_Left = tuple[tuple[int, int | None], ...]


class _TooMany(Exception):
    """There would be more rules than a grammar should have."""


def _containing(
    maker: Maker, facts: Facts, least: int, most: int | None, hint: str
) -> tuple[str | None, bool]:
    """A rule for arrays in which certain items are; False if that takes too many rules."""
    wanted = [one for one in facts.contained if one.least or one.most is not None]
    positions = max(
        max((len(prefix) for prefix, _ in facts.arrays), default=0),
        max((one.start for one in wanted), default=0),
    )
    counted = max(least, most or 0, positions + 1)
    try:
        chain = _Contents(maker, facts, wanted, positions, least, most, counted, hint)
        start: _Left = tuple((one.least, one.most) for one in wanted)
        found = chain.after(0, start)
    except _TooMany:
        return None, False
    if found is None:
        return None, True
    return maker.builder.rule(hint, f'"[" {maker.builder.use("ws")} {found}'), True


class _Contents:
    """Rules for what may follow, by the number of items and what has still to be among them."""

    def __init__(
        self,
        maker: Maker,
        facts: Facts,
        wanted: list[Contained],
        positions: int,
        least: int,
        most: int | None,
        counted: int,
        hint: str,
    ) -> None:
        self.maker = maker
        self.facts = facts
        self.wanted = wanted
        self.positions = positions
        self.least = least
        self.most = most
        self.cap = counted
        self.hint = hint
        self.ws = maker.builder.use("ws")
        self.known: dict[tuple[int, _Left], str | None] = {}

    def after(self, count: int, left: _Left) -> str | None:
        state = (count, left)
        if state in self.known:
            return self.known[state]
        if len(self.known) > _MOST_STATES:
            raise _TooMany
        builder = self.maker.builder
        after = min(count + 1, self.cap)
        name = builder.name(f"{self.hint}-rest")
        # It may be part of itself, once as many items are written as are counted.
        self.known[state] = name
        ways = []
        if self.most is None or count < self.most:
            comma = f'"," {self.ws} ' if count else ""
            for item, following in self._items(count, left):
                if after == count and following == left:
                    ways.append(f"{comma}{item} {name}")
                    continue
                rest = self.after(after, following)
                if rest is not None:
                    ways.append(f"{comma}{item} {rest}")
        if count >= self.least and not any(need for need, _ in left):
            ways.append(f'{self.ws} "]"' if count else '"]"')
        if all(way.endswith(name) for way in ways):
            self.known[state] = None
            return None
        builder.define(name, " | ".join(dict.fromkeys(ways)))
        return name

    def _items(self, count: int, left: _Left) -> list[tuple[str, _Left]]:
        """The next items that there may be, with what is left after each."""
        document = self.maker.document
        base = self.facts.item_at(min(count, self.positions))
        out = []
        choices = [self._choices(number, count, left) for number in range(len(left))]
        for chosen in product(*choices):
            parts = list(base)
            following = []
            for one, (need, most), hit in zip(self.wanted, left, chosen, strict=True):
                if hit:
                    parts.append(one.schema)
                    following.append((max(need - 1, 0), None if most is None else most - 1))
                else:
                    if hit is False and one.most is not None:
                        parts.append(document.opposite(one.schema))
                    following.append((need, most))
            kept = tuple(part for part in parts if part[0] is not True) or (parts[0],)
            item = self.maker.node(kept, f"{self.hint}-item")
            if item is not None:
                out.append((item, tuple(following)))
        return out

    def _choices(self, number: int, count: int, left: _Left) -> tuple[bool | None, ...]:
        """Whether the next item may, must or must not be one of those; None: it is not asked."""
        one, (need, most) = self.wanted[number], left[number]
        if count < one.start or (most is None and not need):
            return (None,)
        if most == 0:
            return (False,)
        return (True, False)
