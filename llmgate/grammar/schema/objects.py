"""GBNF for JSON objects: named properties in their order, any of the optional ones, then others."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Final, Protocol

from llmgate.grammar.builder import MOST_REPETITIONS, Builder
from llmgate.grammar.calls.layout import Layout
from llmgate.grammar.schema.effort import Effort
from llmgate.grammar.schema.facts import Facts, Located
from llmgate.grammar.schema.keys import Cell, Keys
from llmgate.grammar.schema.members import Chain, Named
from llmgate.grammar.schema.orders import in_order, mixed

if TYPE_CHECKING:
    from llmgate.grammar.schema.document import Document
    from llmgate.grammar.text.language import Language

# Names that are required but listed nowhere may stand in any order, up to so many.
_MOST_LOOSE: Final = 3
_MOST_MEMBERS: Final = 4
# Properties are counted one by one up to here.
_MOST_COUNTED: Final = 60


class Maker(Protocol):
    """What compiles the parts of an object or array."""

    builder: Builder
    document: Document
    closed: bool
    effort: Effort

    def node(self, parts: tuple[Located, ...], hint: str) -> str | None:
        """An expression for what satisfies all of `parts`; None where nothing does."""

    def finite(self, parts: tuple[Located, ...]) -> list[object] | None:
        """The values that satisfy all of `parts`, where they are few and known."""


def object_(maker: Maker, facts: Facts, hint: str) -> str | None:
    """A rule for the objects that the facts allow; None if there are none."""
    return _Object(maker, facts, hint).rule()


class _Object:
    def __init__(self, maker: Maker, facts: Facts, hint: str) -> None:
        self.maker = maker
        self.builder = maker.builder
        self.layout = facts.layout or Layout(maker.builder)
        self.facts = facts
        self.hint = hint
        self.keys = Keys(facts, maker.document)
        self.least = facts.least.get("Properties", 0)
        self.most = facts.most.get("Properties")
        # The names that no other key may be.
        self.taken: list[str] = []

    def rule(self) -> str | None:
        facts = self.facts
        if self.most is not None and self.most < max(self.least, len(facts.required)):
            return None
        if facts.absent and not facts.required.keys().isdisjoint(facts.absent):
            return None
        names, loose = self._names()
        cells = self.keys.others(self.taken, self.maker.closed)
        if len(loose) > _MOST_LOOSE or not cells:
            names += loose
            loose = []
        values = self._values(names)
        if values is None:
            return None
        names = [name for name in names if name in values]
        if self.least <= len(facts.required):
            self.least = 0
        if len(facts.members) > _MOST_MEMBERS:
            facts.relax("not", "too many properties have to be there")
        elif facts.members:
            return self._with_members(names, loose, values, cells)
        extra = self._extra(cells)
        if not loose and not self._counted(len(names), extra):
            if names or facts.lead is not None:
                return self._listed(names, values, extra)
            return self._map(extra)
        free = [(1 << number, self._pair(name, values[name])) for number, name in enumerate(loose)]
        named = [self._named(name, [(0, self._pair(name, values[name]))]) for name in names]
        return self._chain(named, free, extra, (1 << len(loose)) - 1)

    def _names(self) -> tuple[list[str], list[str]]:
        """The names that are listed, in their order, and those that are only required."""
        facts = self.facts
        parts = facts.objects
        if len(parts) > 1:
            parts = sorted(parts, key=lambda part: part.order)
        listed = dict.fromkeys([name for part in parts for name in part.properties])
        if facts.lead is not None:
            listed.pop(facts.lead, None)
        names = list(listed)
        loose = [name for name in facts.required if name not in listed and name != facts.lead]
        self.taken = [*names, *loose]
        if facts.absent:
            self.taken += [name for name in facts.absent if name not in self.taken]
            names = [name for name in names if name not in facts.absent]
        if facts.lead is not None:
            self.taken.append(facts.lead)
        return names, loose

    def _values(self, names: list[str]) -> dict[str, str] | None:
        """Expressions for the values that there can be; None where a required one can't."""
        required = self.facts.required
        found: dict[str, str] = {}
        # What is required comes first: where it has no value, the rest is not worth making.
        for name in dict.fromkeys((*required, *names)):
            if name != self.facts.lead:
                value = self.layout.value(self.maker, self.keys.value(name), name)
                if value is not None:
                    found[name] = value
                elif name in required:
                    return None
        return found

    def _pair(self, name: str, value: str) -> str:
        return self.layout.pair(name, value)

    def _named(self, name: str, ways: list[tuple[int, str]]) -> Named:
        return Named(ways, name in self.facts.required)

    def _extra(self, cells: list[Cell]) -> str | None:
        """A rule for a pair with another key; None where there may be none."""
        found = [self._cell(language, parts) for language, parts in cells]
        ways = list(dict.fromkeys([way for way in found if way is not None]))
        if len(ways) < 2:
            return ways[0] if ways else None
        return self.builder.rule("pair", " | ".join(ways))

    def _cell(self, language: Language | None, parts: tuple[Located, ...]) -> str | None:
        value = self.layout.other_value(self.maker, parts)
        if value is None:
            return None
        name = self._key(language)
        if name is None:
            return None
        if not self.layout.repeats:
            self.facts.relax("additionalProperties", "this call style can't have a key twice")
        return self.layout.other_pair(name, value)

    def _key(self, language: Language | None) -> str | None:
        if language is None:
            return self.layout.free_key(self.taken)
        from llmgate.grammar.text.regex import Inexact

        try:
            return self.layout.key(language)
        except Inexact as error:
            keyword = "patternProperties" if self.keys.patterns else "propertyNames"
            path = f"{self.facts.path}/{keyword}"
            self.facts.relax(keyword, f"keys are not told apart: {error}", path)
            return self.layout.free_key(self.taken)

    def _counted(self, names: int, extra: str | None) -> bool:
        """Whether the number of properties has to be followed."""
        if extra is None and self.most is not None and self.most >= names:
            self.most = None
        if not names and self.facts.lead is None:
            # An object without listed names is counted by repetition.
            if self.least > 1:
                self.facts.relax("minProperties", "the same key may come twice")
            return False
        return self.most is not None or self.least > 1 or (self.least > 0 and bool(self.facts.lead))

    def _chain(
        self, named: list[Named], free: list[tuple[int, str]], extra: str | None, pending: int
    ) -> str | None:
        least, most = self.least, self.most
        if max(least, most or 0) > _MOST_COUNTED:
            if least > _MOST_COUNTED:
                self.facts.relax("minProperties", "so many properties are not counted")
                least = 0
            if most is not None and most > _MOST_COUNTED:
                self.facts.relax("maxProperties", "so many properties are not counted")
                most = None
        once = least > 1 and extra is not None
        if once and len(named) + len(free) < least - 1:
            self.facts.relax("minProperties", "the same key may come twice")
            once = False
        lead = None
        if self.facts.lead is not None:
            lead = self._pair(self.facts.lead, self.layout.thoughts())
        chain = Chain(
            self.builder, self.layout, self.hint, named, free, extra, least, most, once, lead
        )
        return chain.rule(pending)

    def _with_members(
        self, names: list[str], loose: list[str], values: dict[str, str], cells: list[Cell]
    ) -> str | None:
        """An object in which certain other properties have to be, whatever their names are."""
        members = self.facts.members
        if self.least > 1:
            self.facts.relax("minProperties", "the same key may come twice")
            self.least = 0
        bits = [1 << number for number in range(len(members))]
        sets = [
            chosen
            for size in range(len(members) + 1)
            for chosen in combinations(range(len(members)), size)
        ]

        def ways(name: str) -> list[tuple[int, str]]:
            out = []
            for chosen in sets:
                if all(name in members[number].names for number in chosen):
                    more = tuple(members[number].value for number in chosen)
                    value = self.layout.value(self.maker, self.keys.value(name) + more, name)
                    if value is not None:
                        mask = sum(bits[number] for number in chosen)
                        out.append((mask, self._pair(name, value)))
            return out

        free = []
        for number, name in enumerate(loose, len(members)):
            free += [(mask | 1 << number, pair) for mask, pair in ways(name)]
        for chosen in sets[1:]:
            mask = sum(bits[number] for number in chosen)
            for language, parts in cells:
                names_left = self._among(language, [members[number].names for number in chosen])
                more = tuple(members[number].value for number in chosen)
                way = None if names_left is None else self._cell(names_left, parts + more)
                if way is not None:
                    free.append((mask, way))
        named = [self._named(name, ways(name)) for name in names]
        pending = (1 << len(members) + len(loose)) - 1
        return self._chain(named, free, self._extra(cells), pending)

    def _among(self, language: Language | None, others: list[Language]) -> Language | None:
        from llmgate.grammar.text.language import Language
        from llmgate.grammar.text.regex import Inexact

        if language is None:
            language = ~Language.literals(self.taken)
        for other in others:
            language &= other
        try:
            return None if language.is_empty() else language
        except Inexact:
            return language

    def _map(self, extra: str | None) -> str | None:
        """An object without named properties."""
        builder, least, most = self.builder, self.least, self.most
        layout = self.layout
        if extra is None or most == 0:
            return None if least else builder.rule(self.hint, layout.whole(layout.open, layout.end))
        if max(least, most or 0) > MOST_REPETITIONS:
            self.facts.relax("maxProperties", "so many properties are not counted")
            least, most = min(least, MOST_REPETITIONS), None
        if not least and most is None and extra == "member" and layout.repeats:
            return builder.use("object")
        rule = builder.rule("more", layout.whole(layout.comma, extra))
        rest = builder.repeat(rule, max(least - 1, 0), None if most is None else most - 1)
        inside = layout.whole(extra, rest, layout.gap)
        inside = inside if least else f"({inside})?"
        return builder.rule(self.hint, layout.whole(layout.open, inside, layout.end))

    def _listed(self, names: list[str], values: dict[str, str], extra: str | None) -> str:
        """An object with named properties, of which at most one has to be counted."""
        builder, required = self.builder, self.facts.required
        pairs = [(name, self._pair(name, values[name]), name in required) for name in names]
        some = self.least > 0
        if self.facts.lead is not None:
            lead = self._pair(self.facts.lead, self.layout.thoughts())
            pairs.insert(0, (self.facts.lead, lead, True))
        if self.maker.closed or not self.maker.effort.orders:
            return in_order(builder, self.layout, self.hint, pairs, extra, some)
        return mixed(builder, self.hint, pairs, extra, some, list(required))
