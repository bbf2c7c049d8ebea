"""Merges schemas that hold together: what they refer to, `allOf`, and branches of choices."""

from __future__ import annotations

from typing import Any

from llmgate.errors import GrammarError
from llmgate.grammar.facts import KIND, Facts, Group, Located, ObjectPart, shown
from llmgate.grammar.keywords import READ
from llmgate.grammar.refs import References


def collect(
    facts: Facts, located: Located, references: References, order: tuple[int, ...] = ()
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
        raise GrammarError(
            f"{path}: a schema must be an object, true or false, not {shown(schema)}."
        )
    here = id(schema)
    if here in facts.seen:
        facts.never |= here in facts.open
        return
    top = not facts.open
    facts.seen.add(here)
    facts.open.add(here)
    if "$ref" in schema and references.lone:
        target = references.resolve(schema["$ref"], f"{path}/$ref")
        collect(facts, target, references, order)
        facts.open.discard(here)
        return
    for keyword, value in schema.items():
        read = READ.get(keyword)
        if read is not None:
            kind = KIND.get(keyword)
            if kind:
                facts.hints.add(kind)
            read(facts, keyword, value, f"{path}/{keyword}")
    if not facts.hints.isdisjoint(("object", "array")):
        _containers(facts, schema, path, top, (*order, 0))
    for number, keyword in enumerate(("$ref", "$dynamicRef", "$recursiveRef")):
        if keyword in schema:
            target = references.resolve(schema[keyword], f"{path}/{keyword}")
            collect(facts, target, references, (*order, 1, number))
    if "allOf" in schema:
        for number, branch in enumerate(branches(schema["allOf"], f"{path}/allOf")):
            collect(facts, branch, references, (*order, 2, number))
    for number, keyword in enumerate(("anyOf", "oneOf")):
        if keyword in schema:
            place = f"{path}/{keyword}"
            ways, around = branches(schema[keyword], place), frozenset(facts.open)
            facts.groups.append(Group(keyword, place, ways, around, (*order, 3, number)))
    facts.open.discard(here)


def choose(facts: Facts, group: Group, branch: Located, references: References) -> Facts:
    """The facts with one branch of their choice `group` merged in."""
    merged = facts.copy()
    merged.groups.remove(group)
    merged.open = set(group.open)
    collect(merged, branch, references, group.order)
    return merged


def branches(value: object, path: str) -> list[Located]:
    """The schemas of an `anyOf`, `oneOf` or `allOf`."""
    if not isinstance(value, list) or not value:
        raise GrammarError(f"{path}: must be a list of at least one schema, not {shown(value)}.")
    return [(branch, f"{path}/{number}") for number, branch in enumerate(value)]


def schemas(value: object, path: str) -> dict[str, Located]:
    """The schemas of `properties` and the like."""
    if not isinstance(value, dict):
        raise GrammarError(f"{path}: must be an object of schemas, not {shown(value)}.")
    return {name: (schema, f"{path}/{name}") for name, schema in value.items()}


def _containers(
    facts: Facts, schema: dict[str, Any], path: str, top: bool, order: tuple[int, ...]
) -> None:
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
        facts.objects.append(ObjectPart(properties, patterns, additional, listed, order))
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
