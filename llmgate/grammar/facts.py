"""What a set of schemas, all of which hold, says: one flat record of their keywords."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final

from llmgate.errors import GrammarError, suggestion
from llmgate.grammar.refs import References
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

    __slots__ = ("additional", "listed", "patterns", "properties")

    def __init__(
        self,
        properties: dict[str, Located],
        patterns: dict[str, Located],
        additional: Located | None,
        listed: bool,
    ) -> None:
        self.properties = properties
        self.patterns = patterns
        self.additional = additional
        # Whether there is a list of properties at all, even an empty one.
        self.listed = listed


class Group:
    """A choice between branches, and the schemas around it, which no branch may be again."""

    __slots__ = ("branches", "keyword", "open", "path")

    def __init__(
        self, keyword: str, path: str, branches: list[Located], around: frozenset[int]
    ) -> None:
        self.keyword = keyword
        self.path = path
        self.branches = branches
        self.open = around


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


def collect(facts: Facts, located: Located, references: References) -> None:
    """Add what one schema says. Raises `GrammarError` naming the place of what is no schema."""
    schema, path = located
    if schema is True:
        return
    if schema is False:
        facts.never = True
        return
    if not isinstance(schema, dict):
        raise GrammarError(
            f"{path}: a schema must be an object, true or false, not {_shown(schema)}."
        )
    here = id(schema)
    if here in facts.seen:
        facts.never |= here in facts.open
        return
    top = not facts.open
    facts.seen.add(here)
    facts.open.add(here)
    for keyword, value in schema.items():
        read = _READ.get(keyword)
        if read is not None:
            kind = KIND.get(keyword)
            if kind:
                facts.hints.add(kind)
            read(facts, keyword, value, f"{path}/{keyword}")
    if not facts.hints.isdisjoint(("object", "array")):
        _containers(facts, schema, path, top)
    if "$ref" in schema:
        collect(facts, references.resolve(schema["$ref"], f"{path}/$ref"), references)
    for keyword in ("$dynamicRef", "$recursiveRef"):
        if keyword in schema:
            collect(facts, references.resolve(schema[keyword], f"{path}/{keyword}"), references)
    if "allOf" in schema:
        for branch in branches(schema["allOf"], f"{path}/allOf"):
            collect(facts, branch, references)
    facts.open.discard(here)


def branches(value: object, path: str) -> list[Located]:
    """The schemas of an `anyOf`, `oneOf` or `allOf`."""
    if not isinstance(value, list) or not value:
        raise GrammarError(f"{path}: must be a list of at least one schema, not {_shown(value)}.")
    return [(branch, f"{path}/{number}") for number, branch in enumerate(value)]


def schemas(value: object, path: str) -> dict[str, Located]:
    """The schemas of `properties` and the like."""
    if not isinstance(value, dict):
        raise GrammarError(f"{path}: must be an object of schemas, not {_shown(value)}.")
    return {name: (schema, f"{path}/{name}") for name, schema in value.items()}


def _containers(facts: Facts, schema: dict[str, Any], path: str, top: bool) -> None:
    properties = schemas(schema.get("properties", {}), f"{path}/properties")
    patterns = schemas(schema.get("patternProperties", {}), f"{path}/patternProperties")
    additional: Located | None = None
    if "additionalProperties" in schema:
        additional = (schema["additionalProperties"], f"{path}/additionalProperties")
    elif "unevaluatedProperties" in schema:
        unevaluated = (schema["unevaluatedProperties"], f"{path}/unevaluatedProperties")
        # It sees what stands beside and below it, so at the top it sees everything here.
        if top:
            facts.unevaluated.append(unevaluated)
        else:
            additional = unevaluated
    listed = "properties" in schema
    if listed or patterns or additional is not None:
        facts.objects.append(ObjectPart(properties, patterns, additional, listed))
    prefix: list[Located] = []
    rest: Located | None = None
    items = schema.get("items")
    if "prefixItems" in schema:
        prefix = branches(schema["prefixItems"], f"{path}/prefixItems")
    elif isinstance(items, list):
        prefix = branches(items, f"{path}/items") if items else []
        if "additionalItems" in schema:
            rest = (schema["additionalItems"], f"{path}/additionalItems")
    if "items" in schema and not isinstance(items, list):
        rest = (items, f"{path}/items")
    elif rest is None and "unevaluatedItems" in schema:
        if prefix:
            rest = (schema["unevaluatedItems"], f"{path}/unevaluatedItems")
        else:
            facts.relax("unevaluatedItems", "what other schemas say of items is not seen", path)
    if prefix or rest is not None:
        facts.arrays.append((prefix, rest))


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


def _type(facts: Facts, keyword: str, value: Any, path: str) -> None:
    named = value if isinstance(value, list) else [value]
    for name in named:
        if not isinstance(name, str) or name not in TYPES:
            hint = suggestion(name, TYPES) if isinstance(name, str) else None
            raise GrammarError(f"{path}: {_shown(name)} is not a type of JSON Schema.", hint=hint)
    if not named:
        raise GrammarError(f"{path}: must name at least one type.")
    facts.restrict(frozenset(named))


def _enum(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if keyword == "enum" and not isinstance(value, list):
        raise GrammarError(f"{path}: must be a list of values, not {_shown(value)}.")
    allowed = value if keyword == "enum" else [value]
    before = facts.values
    facts.values = [
        one for one in allowed if before is None or any(same(one, other) for other in before)
    ]


def _group(facts: Facts, keyword: str, value: Any, path: str) -> None:
    facts.groups.append(Group(keyword, path, branches(value, path), frozenset(facts.open)))


def _required(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise GrammarError(f"{path}: must be a list of property names, not {_shown(value)}.")
    facts.required.update(dict.fromkeys(value))


def _count(facts: Facts, keyword: str, value: Any, path: str) -> None:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or value < 0:
        raise GrammarError(f"{path}: must be a whole number from 0 on, not {_shown(value)}.")
    stem, number = keyword[3:], int(value)
    if keyword.startswith("min"):
        facts.least[stem] = max(number, facts.least.get(stem, 0))
    else:
        facts.most[stem] = min(number, facts.most.get(stem, number))


def _bound(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if isinstance(value, bool) and keyword.startswith("exclusive"):
        # Draft 4: a flag beside `minimum`, whose bound is then relaxed to the inclusive one.
        if value:
            facts.relax(keyword, "a flag of draft 4", path)
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise GrammarError(f"{path}: must be a number, not {_shown(value)}.")
    new = (value, keyword.startswith("exclusive"))
    if keyword.lower().endswith("minimum"):
        old = facts.low
        facts.low = new if old is None or new > old else old
    else:
        old = facts.high
        tighter = old is None or (value, not new[1]) < (old[0], not old[1])
        facts.high = new if tighter else old


def _multiple(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise GrammarError(f"{path}: must be a number above 0, not {_shown(value)}.")
    if float(value).is_integer():
        facts.integral = True
    if value != 1:
        facts.relax(keyword, "multiples are not counted", path)


def _format(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if not isinstance(value, str):
        raise GrammarError(f"{path}: must be a string, not {_shown(value)}.")
    facts.formats.append(value)


def _pattern(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if not isinstance(value, str):
        raise GrammarError(f"{path}: must be a string, not {_shown(value)}.")
    facts.relax(keyword, f"the expression {value!r} is not translated", path)


def _not(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if value is True or value == {}:
        facts.never = True
    elif value is not False:
        facts.relax(keyword, "exclusions are not translated", path)


def _unique(facts: Facts, keyword: str, value: Any, path: str) -> None:
    if value:
        facts.relax(keyword, "equal items are not compared", path)


def _unsupported(why: str) -> Callable[[Facts, str, Any, str], None]:
    return lambda facts, keyword, value, path: facts.relax(keyword, why, path)


def _noted(facts: Facts, keyword: str, value: Any, path: str) -> None:
    """Read later, with its neighbours."""


def _shown(value: object) -> str:
    text = re.sub(r"\s+", " ", repr(value))
    return text if len(text) < 60 else f"{text[:57]}…"


_READ: Final[dict[str, Callable[[Facts, str, Any, str], None]]] = {
    "type": _type,
    "enum": _enum,
    "const": _enum,
    "anyOf": _group,
    "oneOf": _group,
    "required": _required,
    "format": _format,
    "pattern": _pattern,
    "multipleOf": _multiple,
    "not": _not,
    "uniqueItems": _unique,
    **dict.fromkeys(
        (
            "properties", "patternProperties", "additionalProperties", "unevaluatedProperties",
            "items", "prefixItems", "additionalItems", "unevaluatedItems",
        ),
        _noted,
    ),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        _count,
    ),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _bound),
    **dict.fromkeys(("then", "else"), _unsupported("conditions are not followed")),
    "contains": _unsupported("what has to be among the items is not checked"),
    "propertyNames": _unsupported("the names of further properties are not limited"),
    **dict.fromkeys(
        ("dependentRequired", "dependentSchemas", "dependencies"),
        _unsupported("what depends on other properties is not followed"),
    ),
}  # fmt: skip
