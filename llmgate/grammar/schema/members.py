"""Objects whose properties are counted, or in which some must be among the others."""

from __future__ import annotations

from typing import Final

from llmgate.grammar.builder import Builder
from llmgate.grammar.calls.layout import Layout

# An expression that is longer becomes a rule.
_LONGEST_INLINE: Final = 24


class Named:
    """A listed property: the ways to write it, each with what it settles."""

    __slots__ = ("required", "ways")

    def __init__(self, ways: list[tuple[int, str]], required: bool) -> None:
        self.ways = ways
        self.required = required


class Chain:
    """Rules for what may follow, by the place in the list, the count, and what is still missing.

    What has to be there somewhere is a bit of `pending`; each way to write a property names the
    bits that it settles. `free` are properties that may stand among the `extra` ones. With
    `once`, of the extra ones only the first counts towards `least`, since they may be equal.
    """

    def __init__(
        self,
        builder: Builder,
        layout: Layout,
        hint: str,
        named: list[Named],
        free: list[tuple[int, str]],
        extra: str | None,
        least: int,
        most: int | None,
        once: bool,
        lead: str | None,
    ) -> None:
        self.builder = builder
        self.hint = hint
        self.named = named
        self.free = free
        self.extra = extra
        self.least = least
        self.most = most
        self.once = once
        self.lead = lead
        self.cap = most if most is not None else max(1, least)
        self.layout = layout
        self.comma = f"{layout.comma} " if layout.comma else ""
        self.more = builder.rule("more", f"{self.comma}{extra}") if extra is not None else ""
        self.known: dict[tuple[int, int, int], str | None] = {}

    def rule(self, pending: int) -> str | None:
        """The rule for the whole object; None if there is none."""
        found = self._rest(0, 0, pending)
        if found is None:
            return None
        body = self.layout.whole(self.layout.open, self.lead or "", found)
        return self.builder.rule(self.hint, body)

    def _rest(self, place: int, count: int, pending: int) -> str | None:
        """What may follow from a place in the list of names on."""
        state = (place, count, pending)
        if state in self.known:
            return self.known[state]
        if place == len(self.named):
            found = self._region(count, pending)
        else:
            ways = []
            named = self.named[place]
            if self.most is None or count < self.most:
                for settled, pair in named.ways:
                    follow = self._rest(place + 1, self._after(count), pending & ~settled)
                    if follow is not None:
                        ways.append(f"{self._comma(count)}{pair} {follow}")
            if not named.required:
                follow = self._rest(place + 1, count, pending)
                if follow is not None:
                    ways.append(follow)
            found = self._either(ways)
        self.known[state] = found
        return found

    def _region(self, count: int, pending: int) -> str | None:
        """What may follow after the last listed name."""
        if not pending:
            return self._end(count)
        if self.most is not None and count >= self.most:
            return None
        state = (len(self.named), count, pending)
        after = self._after(count)
        name = None
        ways = []
        for settled, pair in self.free:
            if settled & pending == settled:
                follow = self._rest(len(self.named), after, pending & ~settled)
                if follow is not None:
                    ways.append(f"{self._comma(count)}{pair} {follow}")
        if not ways:
            return None
        if self.extra is not None:
            if after == count:
                name = self.builder.name(f"{self.hint}-rest")
                self.known[state] = follow = name
            else:
                follow = self._rest(len(self.named), after, pending)
            if follow is not None:
                ways.append(f"{self._comma(count)}{self.extra} {follow}")
        if name is None:
            return self._either(ways)
        self.builder.define(name, " | ".join(dict.fromkeys(ways)))
        return name

    def _end(self, count: int) -> str | None:
        """Further properties, as many as have to and may be there, and the closing brace."""
        need = max(0, self.least - count)
        left = None if self.most is None else self.most - count
        if (left is not None and need > left) or (need > 1 and self.once):
            return None
        layout = self.layout
        begun = count > 0 or self.lead is not None
        close = layout.whole(layout.gap if begun else "", layout.end)
        if self.extra is None or left == 0:
            return None if need else close
        if count or self.lead is not None:
            return f"{self.builder.repeat(self.more, need, left)} {close}"
        rest = self.builder.repeat(self.more, max(need - 1, 0), None if left is None else left - 1)
        some = layout.whole(self.extra, rest, layout.gap, layout.end)
        return some if need else self._either([some, close])

    def _after(self, count: int) -> int:
        return min(count + 1, self.cap)

    def _comma(self, count: int) -> str:
        return self.comma if count or self.lead is not None else ""

    def _either(self, ways: list[str]) -> str | None:
        ways = list(dict.fromkeys(ways))
        if not ways:
            return None
        if len(ways) == 1 and len(ways[0]) <= _LONGEST_INLINE:
            return ways[0]
        return self.builder.rule(f"{self.hint}-rest", " | ".join(ways))
