"""What a set of schemas, all of which hold, says: one flat record of their keywords."""

from __future__ import annotations

import re
from typing import Any, Final

from llmgate.grammar.values import Relaxed

# A schema and the place where it stands.
Located = tuple[Any, str]

TYPES: Final = ("object", "array", "string", "number", "integer", "boolean", "null")
# The keywords that say something about one type only. Where `type` is missing, they tell
# which type is meant.
KIND: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            "properties", "required", "additionalProperties", "patternProperties",
            "propertyNames", "minProperties", "maxProperties", "dependentRequired",
            "dependentSchemas", "dependencies", "unevaluatedProperties",
        ),
        "object",
    ),
    **dict.fromkeys(
        (
            "items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems",
            "contains", "minContains", "maxContains", "unevaluatedItems",
        ),
        "array",
    ),
    **dict.fromkeys(("minLength", "maxLength", "pattern", "format"), "string"),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"
    ),
}  # fmt: skip


class ObjectPart:
    """What one schema says about an object's values; None where it says nothing."""

    __slots__ = ("additional", "listed", "order", "patterns", "properties")

    def __init__(
        self,
        properties: dict[str, Located],
        patterns: dict[str, Located],
        additional: Located | None,
        listed: bool,
        order: tuple[int, ...],
    ) -> None:
        self.properties = properties
        self.patterns = patterns
        self.additional = additional
        # Whether there is a list of properties at all, even an empty one.
        self.listed = listed
        self.order = order


class Group:
    """A choice between branches, and the schemas around it, which no branch may be again."""

    __slots__ = ("branches", "keyword", "open", "order", "path")

    def __init__(
        self,
        keyword: str,
        path: str,
        branches: list[Located],
        around: frozenset[int],
        order: tuple[int, ...],
    ) -> None:
        self.keyword = keyword
        self.path = path
        self.branches = branches
        self.open = around
        self.order = order


class Facts:
    """The keywords of all schemas that hold for one value, merged.

    `relaxed` are keywords that the grammar has no rule for, by the type that they concern
    (an empty string: every type).
    """

    __slots__ = (
        "arrays", "formats", "groups", "high", "hints", "integral", "lead", "least", "low", "most",
        "never", "objects", "open", "path", "relaxed", "required", "seen", "types",
        "unevaluated", "values",
    )  # fmt: skip

    def __init__(self, path: str) -> None:
        self.path = path
        self.never = False
        self.types: frozenset[str] | None = None
        self.hints: set[str] = set()
        self.values: list[Any] | None = None
        self.groups: list[Group] = []
        self.objects: list[ObjectPart] = []
        self.required: dict[str, None] = {}
        self.arrays: list[tuple[list[Located], Located | None]] = []
        # Per keyword stem ("Length", "Items", "Properties"): the tightest bound.
        self.least: dict[str, int] = {}
        self.most: dict[str, int] = {}
        # The tightest bound of numbers, and whether it is itself excluded.
        self.low: tuple[float, bool] | None = None
        self.high: tuple[float, bool] | None = None
        self.integral = False
        self.formats: list[str] = []
        # The key of a string that comes before the schema's own properties.
        self.lead: str | None = None
        self.unevaluated: list[Located] = []
        # Identities of the schemas that are in, and of those that are being read now: one that
        # needs itself to be read has no value.
        self.seen: set[int] = set()
        self.open: set[int] = set()
        self.relaxed: list[tuple[str, Relaxed]] = []

    def copy(self) -> Facts:
        """The same facts, to add a branch to."""
        other = Facts(self.path)
        for name in self.__slots__:
            value = getattr(self, name)
            setattr(other, name, value.copy() if isinstance(value, (list, dict, set)) else value)
        return other

    def relax(self, keyword: str, why: str, path: str | None = None) -> None:
        """Note that the grammar does not enforce a keyword."""
        entry = Relaxed(f"{path or self.path}", keyword, why)
        self.relaxed.append((KIND.get(keyword, ""), entry))

    def restrict(self, types: frozenset[str]) -> None:
        """Allow only these types, besides what was said before."""
        if self.types is None:
            self.types = types
            return
        both = self.types & types
        if "integer" in self.types and "number" in types:
            both |= {"integer"}
        if "integer" in types and "number" in self.types:
            both |= {"integer"}
        self.types = both

    def possible(self) -> tuple[str, ...]:
        """The types that a value may have, in a fixed order, integer only where it is not number.

        Without `type`, the types that the keywords are about: a model that is asked for
        `{"properties": …}` is asked for an object.
        """
        types = self.types
        if types is None:
            types = frozenset(self.hints or TYPES)
        if "number" in types:
            types -= {"integer"}
        return tuple(name for name in TYPES if name in types)


def same(left: object, right: object) -> bool:
    """Whether two values are equal as JSON: 1 is 1.0, but true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


def fits(value: object, facts: Facts) -> bool:
    """Whether a fixed value has a right type, length and size; notes what it was not held to."""
    types = facts.types
    if isinstance(value, str):
        kind, size = "string", len(value)
        stem = "Length"
        for name in facts.formats:
            facts.relax("format", f"{name!r} is not enforced on fixed values")
    elif isinstance(value, list | dict):
        kind, size = ("array", len(value)) if isinstance(value, list) else ("object", len(value))
        stem = "Items" if kind == "array" else "Properties"
        if facts.arrays or facts.objects or facts.required:
            facts.relax("enum", "values are not compared with the keywords beside them")
    elif value is None or isinstance(value, bool):
        return types is None or ("null" if value is None else "boolean") in types
    else:
        assert isinstance(value, int | float)
        whole = float(value).is_integer()
        if facts.integral and not whole:
            return False
        if facts.low is not None and not (value, 0) >= (facts.low[0], facts.low[1]):
            return False
        if facts.high is not None and not (value, facts.high[1]) <= (facts.high[0], False):
            return False
        return types is None or "number" in types or ("integer" in types and whole)
    if size < facts.least.get(stem, 0) or size > facts.most.get(stem, size):
        return False
    return types is None or kind in types


def shown(value: object) -> str:
    """A value for an error message, cut where it is long."""
    text = re.sub(r"\s+", " ", repr(value))
    return text if len(text) < 60 else f"{text[:57]}…"
