"""Merges schemas that hold together: what they refer to, `allOf`, and branches of choices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from llmgate.grammar.schema.facts import KIND, Facts, Group, Located, ObjectPart
from llmgate.grammar.schema.keywords import READ, Atom, branches, count, needs, no_schema, schemas

if TYPE_CHECKING:
    from llmgate.grammar.schema.document import Document

# How a keyword is read: by itself, or with its neighbours.
_ALONE, _OBJECT, _ARRAY, _REFERENCE, _JOINED, _CHOICE, _CONDITION = 0, 1, 2, 4, 8, 16, 32
_APPLIED: Final = _REFERENCE | _JOINED | _CHOICE | _CONDITION
_HOWS: Final[dict[Any, int]] = {
    **dict.fromkeys(READ, _ALONE),
    **dict.fromkeys(
        (
            "properties", "patternProperties", "additionalProperties", "unevaluatedProperties",
            "propertyNames", Atom.PROPERTY,
        ),
        _OBJECT,
    ),
    **dict.fromkeys(
        ("items", "prefixItems", "additionalItems", "unevaluatedItems", "contains"), _ARRAY
    ),
    **dict.fromkeys(("$ref", "$dynamicRef", "$recursiveRef"), _REFERENCE),
    "allOf": _JOINED,
    **dict.fromkeys(("anyOf", "oneOf"), _CHOICE),
    **dict.fromkeys(
        ("not", "if", "dependencies", "dependentRequired", "dependentSchemas"), _CONDITION
    ),
}  # fmt: skip
# The same with the type that it is about, and what reads it.
_HOW: Final = {
    keyword: (how, KIND.get(keyword), READ.get(keyword)) for keyword, how in _HOWS.items()
}
_EXCLUSIVE: Final = ("exclusiveMinimum", "exclusiveMaximum")


def collect(
    facts: Facts, located: Located, document: Document, order: tuple[int, ...] = ()
) -> None:
    """Add what one schema says. Raises `GrammarError` naming the place of what is no schema.

    `order` is the schema's place among those that hold together, to sort properties by.
    """
    schema, path = located
    if schema is True:
        return
    if schema is False:
        facts.never = True
        return
    if not isinstance(schema, dict):
        raise no_schema(schema, path)
    here = id(schema)
    if here in facts.seen:
        facts.never |= here in facts.open
        return
    top = not facts.open
    facts.implied = document.implied
    facts.seen.add(here)
    facts.open.add(here)
    if "$ref" in schema and (document.lone or len(schema) == 1):
        place = order if document.lone else (*order, 1, 0)
        collect(facts, document.resolve(schema, "$ref", path), document, place)
        facts.open.discard(here)
        return
    neighbours = 0
    hints = facts.hints
    for keyword, value in schema.items():
        known = _HOW.get(keyword)
        if known is None:
            continue
        how, kind, read = known
        neighbours |= how
        if kind:
            hints.add(kind)
        if read is not None:
            read(facts, keyword, value, f"{path}/{keyword}" if isinstance(keyword, str) else path)
            if value is True and keyword in _EXCLUSIVE:
                _exclude(facts, schema, keyword)
    if neighbours & _OBJECT:
        _object(facts, schema, path, document, top, (*order, 0))
    if neighbours & _ARRAY:
        _array(facts, schema, path, document)
    if neighbours & _APPLIED:
        _apply(facts, schema, path, document, order, neighbours)
    facts.open.discard(here)


def choose(facts: Facts, group: Group, branch: Located, document: Document) -> Facts:
    """The facts with one branch of their choice `group` merged in."""
    merged = facts.copy()
    merged.groups.remove(group)
    merged.open = set(group.open)
    collect(merged, branch, document, group.order)
    return merged


def _exclude(facts: Facts, schema: dict[str, Any], keyword: str) -> None:
    """A flag of draft 4: the bound beside it is not allowed itself."""
    if keyword == "exclusiveMinimum" and "minimum" in schema:
        READ[keyword](facts, keyword, schema["minimum"], facts.path)
    if keyword == "exclusiveMaximum" and "maximum" in schema:
        READ[keyword](facts, keyword, schema["maximum"], facts.path)


def _object(
    facts: Facts,
    schema: dict[Any, Any],
    path: str,
    document: Document,
    top: bool,
    order: tuple[int, ...],
) -> None:
    properties: dict[str, Located] = {}
    patterns: dict[str, Located] = {}
    additional: Located | None = None
    listed = "properties" in schema
    if listed:
        # Many a schema is read in several branches.
        properties = document.derived(
            (schema, path),
            ("properties", path),
            lambda: schemas(schema["properties"], f"{path}/properties"),
        )
    if "patternProperties" in schema:
        patterns = schemas(schema["patternProperties"], f"{path}/patternProperties")
    if "additionalProperties" in schema:
        additional = (schema["additionalProperties"], f"{path}/additionalProperties")
    elif "unevaluatedProperties" in schema:
        unevaluated = (schema["unevaluatedProperties"], f"{path}/unevaluatedProperties")
        # It sees what stands beside and below it, so at the top it sees everything here.
        if top:
            facts.unevaluated.append(unevaluated)
        else:
            additional = unevaluated
    if "propertyNames" in schema:
        facts.names.append((schema["propertyNames"], f"{path}/propertyNames"))
    if Atom.PROPERTY in schema:
        properties = schema[Atom.PROPERTY]
    if listed or properties or patterns or additional is not None:
        facts.objects.append(ObjectPart(properties, patterns, additional, listed, order))


def _array(facts: Facts, schema: dict[str, Any], path: str, document: Document) -> None:
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
    if "contains" in schema:
        one = (schema["contains"], f"{path}/contains")
        least = count(schema.get("minContains", 1), f"{path}/minContains")
        most = schema.get("maxContains")
        most = None if most is None else count(most, f"{path}/maxContains")
        READ[Atom.CONTAINED](facts, "contains", (one, least, most, 0), f"{path}/contains")


def _apply(
    facts: Facts,
    schema: dict[str, Any],
    path: str,
    document: Document,
    order: tuple[int, ...],
    hows: int,
) -> None:
    """What a schema says by other schemas: references, conjunctions, choices, conditions."""
    if hows & _REFERENCE:
        for number, keyword in enumerate(("$ref", "$dynamicRef", "$recursiveRef")):
            if keyword in schema:
                target = document.resolve(schema, keyword, path)
                collect(facts, target, document, (*order, 1, number))
    if hows & _JOINED:
        for number, branch in enumerate(branches(schema["allOf"], f"{path}/allOf")):
            collect(facts, branch, document, (*order, 2, number))
    if hows & _CHOICE:
        for number, keyword in enumerate(("anyOf", "oneOf")):
            if keyword in schema:
                ways = branches(schema[keyword], f"{path}/{keyword}")
                _choice(facts, keyword, f"{path}/{keyword}", ways, document, (*order, 3, number))
    if hows & _CONDITION:
        _conditions(facts, schema, path, document, order)


def _conditions(
    facts: Facts, schema: dict[str, Any], path: str, document: Document, order: tuple[int, ...]
) -> None:
    if "if" in schema and ("then" in schema or "else" in schema):
        _condition(facts, schema, path, document, (*order, 4))
    for keyword in ("dependencies", "dependentRequired", "dependentSchemas"):
        if keyword in schema:
            place = f"{path}/{keyword}"
            for name, needed in needs(schema[keyword], place).items():
                ways = _dependency((schema, path), keyword, name, needed, document)
                _choice(facts, keyword, place, ways, document, (*order, 5))
    if "not" in schema:
        place = f"{path}/not"
        found = document.alternatives((schema["not"], place))
        if found is None:
            facts.relax("not", "the opposite of this schema can't be said in a grammar", place)
        else:
            _choice(facts, "not", place, found, document, (*order, 6))


def _choice(
    facts: Facts,
    keyword: str,
    path: str,
    ways: list[Located],
    document: Document,
    order: tuple[int, ...],
    condition: tuple[Located, Located] | None = None,
) -> None:
    if not ways:
        facts.never = True
    elif len(ways) == 1:
        collect(facts, ways[0], document, order)
    else:
        facts.groups.append(Group(keyword, path, ways, frozenset(facts.open), order, condition))


def _condition(
    facts: Facts, schema: dict[str, Any], path: str, document: Document, order: tuple[int, ...]
) -> None:
    here = (schema, path)
    condition = (schema["if"], f"{path}/if")
    met = [schema["if"]]
    if document.plainly and isinstance(schema["if"], dict) and "properties" in schema["if"]:
        # What the condition asks about has to be there.
        met.append({"required": list(schemas(schema["if"]["properties"], f"{path}/if"))})
    unmet: list[Any] = [document.opposite(condition)[0]]
    if "then" in schema:
        met.append(schema["then"])
    if "else" in schema:
        unmet.append(schema["else"])
    if "then" not in schema:
        # Where the condition holds there is nothing more to say, so the ways may overlap.
        unmet = [schema["else"]]
    elif document.alternatives(condition) is None:
        facts.relax("then", "the opposite of 'if' can't be said in a grammar", f"{path}/then")
        unmet = unmet[1:]
    ways = [
        document.derived(here, ("then", document.plainly), lambda: {"allOf": met}),
        document.derived(here, "else", lambda: {"allOf": unmet} if unmet else True),
    ]
    decided = (condition, (schema.get("else", True), f"{path}/else"))
    _choice(facts, "if", f"{path}/if", [(way, path) for way in ways], document, order, decided)


def _dependency(
    here: Located, keyword: str, name: str, needed: list[str] | Located, document: Document
) -> list[Located]:
    """The ways to honour a dependency: without the property, or with what it needs."""

    def present() -> dict[Any, Any]:
        if isinstance(needed, list):
            return {"required": [name, *needed]}
        return {"required": [name], "allOf": [needed[0]]}

    return [
        (document.derived(here, (keyword, name, "absent"), lambda: {Atom.ABSENT: [name]}), here[1]),
        (document.derived(here, (keyword, name, "present"), present), here[1]),
    ]
