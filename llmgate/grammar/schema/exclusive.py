"""Keeps the branches of a `oneOf` apart: what each must not be, so that no other one holds."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Final

from llmgate.grammar.schema.clashes import hopeless
from llmgate.grammar.schema.collect import collect
from llmgate.grammar.schema.disjoint import apart, apart_parts, chosen_from
from llmgate.grammar.schema.facts import Facts, Group, Located
from llmgate.grammar.schema.keywords import Atom

if TYPE_CHECKING:
    from llmgate.grammar.schema.document import Document

# Keywords that limit a value without looking into it, and remarks.
_LIMITS: Final = frozenset(
    (
        "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
        "minLength", "maxLength", "description", "title", "default", "examples", "$comment",
    )
)  # fmt: skip
# Up to so many combinations of ways to fail the other branches, all of them are kept.
_MOST_WAYS: Final = 8


class Beside:
    """Another branch that may hold too.

    `ways` are the schemas of what it refuses, `complete` says whether of all that, and
    `natural` are those that people have in mind.
    """

    __slots__ = ("complete", "natural", "ways")

    def __init__(self, ways: list[Located], complete: bool) -> None:
        self.ways = ways
        self.complete = complete
        self.natural = ways

    def keep_natural(self, plain: list[bool], left_out: Callable[[object], bool]) -> None:
        """Keep only the ways that people have in mind: a property that is absent, or is another.

        A property that would have to be there with a value that is wrong for the other branch is
        left out, unless there is no other way: this allows less than the schema does. `plain`
        says of each of the ways whether it is none of these.
        """
        if any(plain) and not all(plain):
            self.natural = [
                way
                for way, is_plain in zip(self.ways, plain, strict=True)
                if is_plain or not all(left_out(one) for one in _wrong(way))
            ]


def leave_out(
    facts: Facts, group: Group, refused: list[list[Located]], document: Document
) -> Facts:
    """The facts without what other branches take: one of the ways to be refused by each."""
    facts = facts.copy()
    for ways in refused:
        facts.open = set(group.open)
        if len(ways) == 1:
            collect(facts, ways[0], document, group.order)
        else:
            around = frozenset(group.open)
            facts.groups.append(Group("not", group.path, ways, around, group.order))
    return facts


def separated(
    facts: Facts, group: Group, document: Document
) -> list[tuple[Located, Facts, list[Beside]]]:
    """The branches that can hold at all, merged in, with the other branches that may hold too."""
    merged = [chosen_from(facts, group, branch, document) for branch in group.branches]
    kept = [number for number, one in enumerate(merged) if not hopeless(one, document)]
    beside = _beside(merged, kept, document)
    # What is left out of a branch may be of types that its own keywords are not about.
    if _widen(merged, beside):
        beside = _beside(merged, kept, document)
        _widen(merged, beside)
        beside = _beside(merged, kept, document)
    out = []
    for number, others in beside.items():
        found = [_refused(merged[number], group.branches[other], document) for other in others]
        plain = [[_plainly(way, merged[number], document) for way in one.ways] for one in found]
        for one, known in zip(found, plain, strict=True):
            one.keep_natural(known, _involved)
        if document.plainly or prod(len(one.natural) for one in found) > _MOST_WAYS:
            for one, known in zip(found, plain, strict=True):
                one.keep_natural(known, _anything)
        out.append((group.branches[number], merged[number], found))
    return out


def _widen(merged: list[Facts], beside: dict[int, list[int]]) -> bool:
    """Note which branches are to be told apart from others; whether that makes a difference."""
    for number, others in beside.items():
        merged[number].widened = bool(others)
        merged[number].branched.clear()
    return any(one.widened and one.hints and one.types is None for one in merged)


def _beside(merged: list[Facts], kept: list[int], document: Document) -> dict[int, list[int]]:
    """For each branch the others that may hold together with it."""
    beside: dict[int, list[int]] = {number: [] for number in kept}
    for place, number in enumerate(kept):
        for other in kept[place + 1 :]:
            if not apart(merged[number], merged[other], document):
                beside[number].append(other)
                beside[other].append(number)
    return beside


def _anything(schema: object) -> bool:
    return True


def _involved(schema: object) -> bool:
    """Whether there is more to a schema than limits of single values."""
    return isinstance(schema, dict) and not _LIMITS.issuperset(schema)


def _refused(facts: Facts, other: Located, document: Document) -> Beside:
    ways, complete = document.refused(other)
    return Beside([way for way in ways if not _clashes(facts, way[0])], complete)


def _clashes(facts: Facts, schema: object) -> bool:
    """Whether it is easy to see that a way to fail can't be taken."""
    if not isinstance(schema, dict):
        return False
    types = schema.get("type")
    if types is not None and facts.types is not None:
        named = {types} if isinstance(types, str) else set(types)
        if named.isdisjoint(facts.types) and not ("number" in named and "integer" in facts.types):
            return True
    absent = schema.get(Atom.ABSENT, ())
    return any(name in facts.required for name in absent) or any(
        name in facts.absent for name in schema.get("required", ())
    )


def _wrong(way: Located) -> list[object]:
    """The schemas that a property's value is not to satisfy."""
    if not isinstance(way[0], dict):
        return []
    found = [below for below, _ in way[0].get(Atom.PROPERTY, {}).values()]
    if Atom.MEMBER in way[0]:
        found.append(way[0][Atom.MEMBER][1][0])
    if Atom.CONTAINED in way[0]:
        found.append(way[0][Atom.CONTAINED][0][0])
    return [one.get("not", one) for one in found if isinstance(one, dict)]


def _plainly(way: Located, facts: Facts, document: Document) -> bool:
    schema = way[0]
    if not isinstance(schema, dict):
        return True
    if Atom.MEMBER in schema or Atom.CONTAINED in schema:
        return False
    for name, below in schema.get(Atom.PROPERTY, {}).items():
        mine = tuple(part.properties[name] for part in facts.objects if name in part.properties)
        wrong = below[0].get("not") if isinstance(below[0], dict) else None
        if not mine or wrong is None or not apart_parts(mine, ((wrong, below[1]),), document):
            return False
    return True
