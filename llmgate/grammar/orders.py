"""In which orders the named properties of an object may stand.

Always in the order of the schema, each optional one or not. Where objects are open, other
properties may stand anywhere; a few named ones may stand in any order, and more of them also
with the required ones first, in the order in which those are listed: people and models often
write them so.
"""

from __future__ import annotations

from typing import Final

from llmgate.grammar.builder import Builder
from llmgate.grammar.layout import Layout

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
        self.ws = builder.use("ws")
        self.names = [name for name, _, _ in pairs]
        self.required = [needed for _, _, needed in pairs]
        self.pairs = [pair for _, pair, _ in pairs]
        if len(pairs) > 2:
            self.pairs = [builder.rule("pair", pair) for pair in self.pairs]
        self.extra = extra
        self.more = f'{builder.rule("more", f""""," {self.ws} {extra}""")}* ' if extra else ""

    def step(self, ways: list[str], end: bool) -> str:
        """What may follow a property: others, then one of these ways, or the end."""
        close = f'{self.ws} "}}"'
        if not ways:
            return f"{self.more}{close}"
        following = f'"," {self.ws} {ways[0] if len(ways) == 1 else f"({self.either(ways)})"}'
        if end:
            following = f"({following} | {close})" if self.more else f"{following} | {close}"
        return self.builder.rule(f"{self.hint}-rest", f"{self.more}{following}")

    def whole(self, ways: list[str], none: str, some: bool) -> str:
        """The object, from its brace on; `none` may follow where others come first."""
        if self.extra is not None:
            ways.append(f"{self.extra} {none}")
        if not some and not any(self.required):
            ways.append('"}"')
        return self.builder.rule(self.hint, f'"{{" {self.ws} ({self.either(ways)})')

    def either(self, ways: list[str]) -> str:
        return " | ".join(ways)


class _Free(_States):
    """Properties in any order."""

    def rule(self, some: bool) -> str:
        ways = [f"{pair} {self.after(1 << n)}" for n, pair in enumerate(self.pairs)]
        return self.whole(ways, self.after(0) if self.extra is not None else "", some)

    def after(self, written: int) -> str:
        ways = [
            f"{pair} {self.after(written | 1 << n)}"
            for n, pair in enumerate(self.pairs)
            if not written >> n & 1
        ]
        missing = any(needed and not written >> n & 1 for n, needed in enumerate(self.required))
        return self.step(ways, not missing)


class _Sorted(_States):
    """Properties in one of two orders: which one is open until a property decides it."""

    def __init__(
        self, builder: Builder, hint: str, pairs: list[Pair], other: list[str], extra: str | None
    ) -> None:
        super().__init__(builder, hint, pairs, extra)
        self.orders = [list(range(len(pairs))), [self.names.index(name) for name in other]]
        self.known: dict[tuple[int | None, int | None], str] = {}

    def rule(self, some: bool) -> str:
        return self.whole(self.ways((0, 0)), self.after((0, 0)), some)

    def ways(self, state: tuple[int | None, int | None]) -> list[str]:
        found = []
        for number, pair in enumerate(self.pairs):
            left, right = (self.past(one, at, number) for one, at in enumerate(state))
            if left is not None or right is not None:
                found.append(f"{pair} {self.after((left, right))}")
        return found

    def past(self, order: int, at: int | None, number: int) -> int | None:
        """The place behind a property in one order, if it can be the next one there."""
        if at is None:
            return None
        row = self.orders[order]
        place = row.index(number)
        if place < at or any(self.required[skipped] for skipped in row[at:place]):
            return None
        return place + 1

    def after(self, state: tuple[int | None, int | None]) -> str:
        if state not in self.known:
            if None in state:
                order = 0 if state[1] is None else 1
                found = f"{self.more}{self.row(order, state[order] or 0)}"
            else:
                found = self.step(self.ways(state), self.ends(state))
            self.known[state] = found
        return self.known[state]

    def ends(self, state: tuple[int | None, int | None]) -> bool:
        return any(
            at is not None and not any(self.required[n] for n in self.orders[order][at:])
            for order, at in enumerate(state)
        )

    def row(self, order: int, at: int) -> str:
        """What may follow from a place in one order on."""
        row = self.orders[order]
        if at == len(row):
            return f'{self.ws} "}}"'
        number = row[at]
        step = f'"," {self.ws} {self.pairs[number]} {self.more}'.rstrip()
        step = step if self.required[number] else f"({step})?"
        return self.builder.rule(f"{self.hint}-rest", f"{step} {self.row(order, at + 1)}")
