"""What a set of schemas, all of which hold, says: one flat record of their keywords."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from llmgate.grammar.values import Relaxed

if TYPE_CHECKING:
    from llmgate.grammar.calls.layout import Layout
    from llmgate.grammar.schema.clashes import Claims
    from llmgate.grammar.text.language import Language

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

    def about(self, name: str, matching: dict[str, bool]) -> list[Located]:
        """What it says of the value of the property `name`; `matching` knows the patterns."""
        if not self.patterns:
            only = self.properties.get(name, self.additional)
            return [] if only is None else [only]
        said = [self.properties[name]] if name in self.properties else []
        said += [schema for source, schema in self.patterns.items() if matching[source]]
        if not said and self.additional is not None:
            said.append(self.additional)
        return said


class Member:
    """Some property with a name in `names` must have a value that satisfies `value`."""

    __slots__ = ("names", "value")

    def __init__(self, names: Language, value: Located) -> None:
        self.names = names
        self.value = value


class Contained:
    """So many of the items from `start` on must satisfy `schema`."""

    __slots__ = ("least", "most", "path", "schema", "start")

    def __init__(
        self, schema: Located, least: int, most: int | None, start: int, path: str
    ) -> None:
        self.schema = schema
        self.least = least
        self.most = most
        self.start = start
        self.path = path


class Group:
    """A choice between branches, and the schemas around it, which no branch may be again.

    `condition` is what decides between them, if there is such a thing, and what has to hold
    besides where it does not.
    """

    __slots__ = (
        "branches", "claims", "condition", "deciding", "keyword", "open", "order", "path",
    )  # fmt: skip

    def __init__(
        self,
        keyword: str,
        path: str,
        branches: list[Located],
        around: frozenset[int],
        order: tuple[int, ...],
        condition: tuple[Located, Located] | None = None,
    ) -> None:
        self.keyword = keyword
        self.path = path
        self.branches = branches
        self.open = around
        self.order = order
        self.condition = condition
        # What is easy to see of the branches and of the condition, once it was asked.
        self.claims: list[Claims] | None = None
        self.deciding: Claims | None = None


class Facts:
    """The keywords of all schemas that hold for one value, merged.

    `relaxed` are keywords that the grammar has no rule for, by the type that they concern
    (an empty string: every type).
    """

    __slots__ = (
        "absent", "arrays", "branched", "chosen", "contained", "formats", "fractional", "groups",
        "high", "hints", "implied", "indivisible", "integral", "layout", "lead", "least", "low",
        "members", "most", "multiples", "names", "narrowed", "never", "objects", "open", "parts",
        "path", "relaxed", "required", "seen", "split", "texts", "types", "unequal", "unevaluated",
        "unique", "values", "widened",
    )  # fmt: skip

    def __init__(self, path: str, parts: tuple[Located, ...] = ()) -> None:
        self.path = path
        # The schemas themselves, to hold fixed values against.
        self.parts = parts
        self.chosen: tuple[Located, ...] = ()
        self.never = False
        self.types: frozenset[str] | None = None
        # The types that the keywords are about, and whether these are meant without `type`.
        self.hints: set[str] = set()
        self.implied = True
        self.values: list[Any] | None = None
        self.unequal: list[Any] = []
        self.groups: list[Group] = []
        self.objects: list[ObjectPart] = []
        self.required: dict[str, None] = {}
        self.absent: dict[str, None] = {}
        # What the names of all properties must be, and properties that there must be.
        self.names: list[Located] = []
        self.members: list[Member] = []
        self.unevaluated: list[Located] = []
        self.arrays: list[tuple[list[Located], Located | None]] = []
        self.contained: list[Contained] = []
        self.unique: str | None = None
        # Per keyword stem ("Length", "Items", "Properties"): the tightest bound.
        self.least: dict[str, int] = {}
        self.most: dict[str, int] = {}
        # The tightest bound of numbers, and whether it is itself excluded.
        self.low: tuple[float, bool] | None = None
        self.high: tuple[float, bool] | None = None
        self.integral = False
        self.fractional = False
        self.multiples: list[float] = []
        self.indivisible: list[float] = []
        # What a string has to be in, with the keyword that says so and its place.
        self.texts: list[tuple[str, str, Language]] = []
        self.formats: list[str] = []
        # Whether its choices could not be held as one language, and are taken one by one.
        self.split = False
        # Whether something is still to be merged in that may be about other types.
        self.widened = False
        # What its first choice makes of it, as far as that was asked, where nothing is added.
        self.branched: list[Facts] = []
        # What is known of the values of required properties: how many of the object parts were
        # looked at, the fixed values that are left, and the types.
        self.narrowed: dict[str, tuple[int, list[Any] | None, frozenset[str] | None]] = {}
        # The key of a string that comes before the schema's own properties.
        self.lead: str | None = None
        # How the object itself is written, where not as JSON.
        self.layout: Layout | None = None
        # Identities of the schemas that are in, and of those that are being read now: one that
        # needs itself to be read has no value.
        self.seen: set[int] = set()
        self.open: set[int] = set()
        self.relaxed: list[tuple[str, Relaxed]] = []

    def copy(self) -> Facts:
        """The same facts, to add a branch to."""
        other = Facts.__new__(Facts)
        # One by one, since this is done more often than anything else.
        other.branched = []
        other.chosen = self.chosen
        other.fractional = self.fractional
        other.high = self.high
        other.implied = self.implied
        other.integral = self.integral
        other.layout = self.layout
        other.lead = self.lead
        other.low = self.low
        other.never = self.never
        other.parts = self.parts
        other.path = self.path
        other.split = self.split
        other.types = self.types
        other.unique = self.unique
        other.values = self.values
        other.widened = self.widened
        other.absent = self.absent.copy()
        other.arrays = self.arrays.copy()
        other.contained = self.contained.copy()
        other.formats = self.formats.copy()
        other.groups = self.groups.copy()
        other.hints = self.hints.copy()
        other.indivisible = self.indivisible.copy()
        other.least = self.least.copy()
        other.members = self.members.copy()
        other.most = self.most.copy()
        other.multiples = self.multiples.copy()
        other.names = self.names.copy()
        other.narrowed = self.narrowed.copy()
        other.objects = self.objects.copy()
        other.open = self.open.copy()
        other.relaxed = self.relaxed.copy()
        other.required = self.required.copy()
        other.seen = self.seen.copy()
        other.texts = self.texts.copy()
        other.unequal = self.unequal.copy()
        other.unevaluated = self.unevaluated.copy()
        return other

    def relax(self, keyword: str, why: str, path: str | None = None) -> None:
        """Note that the grammar does not enforce a keyword."""
        entry = Relaxed(f"{path or self.path}", keyword, why)
        self.relaxed.append((KIND.get(keyword, ""), entry))

    def said(self) -> bool:
        """Whether anything restricts the value."""
        return bool(
            self.types is not None or self.hints or self.relaxed or self.unequal or self.texts
            or self.lead or self.values is not None or self.absent or self.members
            or self.contained or self.fractional or self.indivisible or self.never
        )  # fmt: skip

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
            types = frozenset(self.hints if self.hints and self.implied else TYPES)
        if len(types) == 1:
            return tuple(types)
        if "number" in types:
            types -= {"integer"}
        return tuple([name for name in TYPES if name in types])

    def value_of(self, name: str, matching: dict[str, bool]) -> tuple[Located, ...]:
        """All schemas that the value of the named property must satisfy."""
        out: list[Located] = []
        named = False
        for part in self.objects:
            out += part.about(name, matching)
            named = named or name in part.properties or any(map(matching.get, part.patterns))
        if not named:
            out += self.unevaluated
        return tuple(out) or ((True, self.path),)

    def item_at(self, number: int) -> tuple[Located, ...]:
        """All schemas that the item at that position must satisfy."""
        out: list[Located] = []
        for prefix, rest in self.arrays:
            if number < len(prefix):
                out.append(prefix[number])
            elif rest is not None:
                out.append(rest)
        return tuple(out) or ((True, self.path),)


def same(left: object, right: object) -> bool:
    """Whether two values are equal as JSON: 1 is 1.0, but true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


def type_of(value: object) -> str:
    """The type of a value, in the words of JSON Schema; "number" for all numbers."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def shown(value: object) -> str:
    """A value for an error message, cut where it is long."""
    text = re.sub(r"\s+", " ", repr(value))
    return text if len(text) < 60 else f"{text[:57]}…"
