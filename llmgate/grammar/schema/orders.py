"""In which orders the named properties of an object may stand.

Always in the order of the schema, each optional one or not. Where objects are open, other
properties may stand anywhere; a few named ones may stand in any order, and more of them also
with the required ones first, in the order in which those are listed: people and models often
write them so.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Final

from llmgate.grammar.builder import Builder
from llmgate.grammar.calls.layout import Layout

# So many named properties may stand in any order: there is a rule for every set of them.
_MOST_FREE: Final = 3
# So many may have the required ones first.
_MOST_SORTED: Final = 8

# The name of a property, the expression for it with its value, and whether it is required.
Pair = tuple[str, str, bool]


def in_order(
    builder: Builder, layout: Layout, hint: str, pairs: list[Pair], extra: str | None, some: bool
) -> str:
    """An object with its properties in order, then others; with `some` it is not empty."""
    whole, comma = layout.whole, layout.comma
    more = f"{builder.rule('more', whole(comma, extra))}*" if extra is not None else ""
    first = next((number for number, (_, _, needed) in enumerate(pairs) if needed), None)
    if first is not None:
        # What stands before a property that is always there brings its own comma.
        parts = [f"({whole(pair, comma)})?" for _, pair, _ in pairs[:first]]
        parts.append(pairs[first][1])
        for _, pair, needed in pairs[first + 1 :]:
            following = whole(comma, pair)
            parts.append(following if needed else f"({following})?")
        return builder.rule(hint, whole(layout.open, *parts, more, layout.gap, layout.end))
    # Nothing is certain to be there: one alternative for each property that may come
    # first, and a chain of rules for what may follow it.
    ways = [f"{extra} {more}"] if extra is not None else []
    tail = more
    for number in range(len(pairs) - 1, -1, -1):
        pair = pairs[number][1]
        ways.insert(0, f"{pair} {tail}".rstrip())
        if number:
            tail = builder.rule(f"{hint}-rest", f"({whole(comma, pair)})? {tail}".rstrip())
    return _braces(builder, layout, hint, ways, some)


def mixed(
    builder: Builder, hint: str, pairs: list[Pair], extra: str | None, some: bool, needed: list[str]
) -> str:
    """An object with its properties in one of the orders, and others anywhere.

    `needed` are the required names in the order in which they are listed.
    """
    if 1 < len(pairs) <= _MOST_FREE:
        return _Free(builder, hint, pairs, extra).rule(some)
    if len(pairs) <= _MOST_SORTED:
        names = [name for name, _, _ in pairs]
        first = [name for name in needed if name in names]
        other = first + [name for name in names if name not in first]
        if other != names:
            return _Sorted(builder, hint, pairs, other, extra).rule(some)
    if extra is None:
        return in_order(builder, Layout(builder), hint, pairs, None, some)
    return _between(builder, hint, pairs, extra, some)


def _between(builder: Builder, hint: str, pairs: list[Pair], extra: str, some: bool) -> str:
    """Properties in order, and others before, between and behind them."""
    ws = builder.use("ws")
    more = f'{builder.rule("more", f""""," {ws} {extra}""")}*'
    first = next((number for number, (_, _, needed) in enumerate(pairs) if needed), None)
    if first is not None:
        before = f'{builder.rule("before", f"""{extra} "," {ws}""")}*'
        parts = [before]
        parts += [f'({pair} "," {ws} {before})?' for _, pair, _ in pairs[:first]]
        parts.append(f"{pairs[first][1]} {more}")
        for _, pair, needed in pairs[first + 1 :]:
            parts.append(f'"," {ws} {pair} {more}' if needed else f'("," {ws} {pair} {more})?')
        return builder.rule(hint, f'"{{" {ws} {" ".join(parts)} {ws} "}}"')
    ways: list[str] = []
    rest = ""
    for _, pair, _ in reversed(pairs):
        ways.insert(0, f"{pair} {more} {rest}".rstrip())
        rest = builder.rule(f"{hint}-rest", f'("," {ws} {pair} {more})? {rest}'.rstrip())
    ways.append(f"{extra} {more} {rest}")
    return _braces(builder, Layout(builder), hint, ways, some)


def _braces(builder: Builder, layout: Layout, hint: str, ways: list[str], some: bool) -> str:
    inside = layout.whole(f"({' | '.join(ways)})" if len(ways) > 1 else ways[0], layout.gap)
    inside = inside if some else f"({inside})?"
    return builder.rule(hint, layout.whole(layout.open, inside, layout.end))


class _States:
    """Rules for what may follow, by what has been written so far."""

    def __init__(self, builder: Builder, hint: str, pairs: list[Pair], extra: str | None) -> None:
        self.builder = builder
        self.hint = hint
        self.rest = f"{hint}-rest"
        self.ws = builder.use("ws")
        self.required = [needed for _, _, needed in pairs]
        self.pairs = [pair for _, pair, _ in pairs]
        if len(pairs) > 2:
            self.pairs = [builder.rule("pair", pair) for pair in self.pairs]
        self.extra = extra
        self.more = f'{builder.rule("more", f""""," {self.ws} {extra}""")}* ' if extra else ""
        self.close = f'{self.ws} "}}"'

    def step(self, ways: list[str], end: bool) -> str:
        """What may follow a property: others, then one of these ways, or the end."""
        more, close = self.more, self.close
        if not ways:
            return f"{more}{close}"
        one = ways[0] if len(ways) == 1 else f"({' | '.join(ways)})"
        following = f'"," {self.ws} {one}'
        if end:
            following = f"({following} | {close})" if more else f"{following} | {close}"
        return self.builder.rule(self.rest, f"{more}{following}")

    def whole(self, ways: list[str], none: str, some: bool) -> str:
        """The object, from its brace on; `none` may follow where others come first."""
        if self.extra is not None:
            ways.append(f"{self.extra} {none}")
        if not some and not any(self.required):
            ways.append('"}"')
        return self.builder.rule(self.hint, f'"{{" {self.ws} ({" | ".join(ways)})')


class _Free(_States):
    """Properties in any order."""

    def rule(self, some: bool) -> str:
        pairs = self.pairs
        full = (1 << len(pairs)) - 1
        needed = sum(1 << number for number, one in enumerate(self.required) if one)
        after = {full: self.step([], True)}
        for written in range(full - 1, -1 if self.extra is not None else 0, -1):
            ways = [
                f"{pair} {after[written | 1 << number]}"
                for number, pair in enumerate(pairs)
                if not written >> number & 1
            ]
            after[written] = self.step(ways, written & needed == needed)
        ways = [f"{pair} {after[1 << number]}" for number, pair in enumerate(pairs)]
        return self.whole(ways, after.get(0, ""), some)


class _Sorted(_States):
    """Properties in one of two orders: which one is open until a property decides it.

    A place in an order is the number of properties before it; -1 is for an order that is out.
    """

    def __init__(
        self, builder: Builder, hint: str, pairs: list[Pair], other: list[str], extra: str | None
    ) -> None:
        super().__init__(builder, hint, pairs, extra)
        numbers = {name: number for number, (name, _, _) in enumerate(pairs)}
        self.orders = (list(range(len(pairs))), [numbers[name] for name in other])
        # Where each property stands, and how many before each place have to be there.
        self.places = (self.orders[0], [self.orders[1].index(number) for number in self.orders[0]])
        self.needed = [
            list(accumulate((self.required[number] for number in order), initial=0))
            for order in self.orders
        ]
        self.known: dict[tuple[int, int], str] = {}
        self.rows: dict[tuple[int, int], str] = {}

    def rule(self, some: bool) -> str:
        return self.whole(self.ways(0, 0), self.after(0, 0) if self.extra else "", some)

    def ways(self, left: int, right: int) -> list[str]:
        found = []
        for number, pair in enumerate(self.pairs):
            first, second = self.past(0, left, number), self.past(1, right, number)
            if first >= 0 or second >= 0:
                found.append(f"{pair} {self.after(first, second)}")
        return found

    def past(self, order: int, at: int, number: int) -> int:
        """The place behind a property in one order, if it can be the next one there."""
        place, needed = self.places[order][number], self.needed[order]
        if at < 0 or place < at or needed[place] != needed[at]:
            return -1
        return place + 1

    def after(self, left: int, right: int) -> str:
        found = self.known.get((left, right))
        if found is None:
            if left < 0 or right < 0:
                found = self.more + (self.row(1, right) if left < 0 else self.row(0, left))
            else:
                ends = (
                    row[at] == row[-1] for row, at in zip(self.needed, (left, right), strict=True)
                )
                found = self.step(self.ways(left, right), any(ends))
            self.known[left, right] = found
        return found

    def row(self, order: int, at: int) -> str:
        """What may follow from a place in one order on."""
        row = self.orders[order]
        if at == len(row):
            return self.close
        found = self.rows.get((order, at))
        if found is None:
            step = f'"," {self.ws} {self.pairs[row[at]]} {self.more}'.rstrip()
            step = step if self.required[row[at]] else f"({step})?"
            found = self.builder.rule(self.rest, f"{step} {self.row(order, at + 1)}")
            self.rows[order, at] = found
        return found
