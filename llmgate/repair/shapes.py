"""What a schema says about the faults in a text: which keys stand where, what a value may be.

It is read for hints, not for validation, so it answers "maybe" where a schema is too clever.
Only references into the schema itself are followed, and its patterns are never run: the
schema is a client's and a pattern can take forever.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

_MOST_PARTS = 200
_MOST_STEPS = 50
_KINDS = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}
_OLD_DRAFT = re.compile(r"draft-0[3-7]")
_NAMES = frozenset(_KINDS.values())
_BESIDE = ("then", "else")


class Shape:
    """What is known of the value at one place.

    `known` maps the keys that some part of the schema names to their schemas, `others` are the
    schemas of further ones; `closed`: there are none; `sealed`: all of them have such a schema.
    `types` are the type names, None for any;
    `texts` the strings that it may be, None for any.
    """

    __slots__ = (
        "closed",
        "items",
        "known",
        "others",
        "prefix",
        "required",
        "sealed",
        "texts",
        "types",
    )

    def __init__(self) -> None:
        self.known: dict[str, list[Any]] = {}
        self.others: list[Any] = []
        self.items: list[Any] = []
        self.prefix: list[list[Any]] = []
        self.required: frozenset[str] = frozenset()
        self.closed = self.sealed = False
        self.types: frozenset[str] | None = None
        self.texts: frozenset[str] | None = None

    def only(self, *types: str) -> bool:
        """Whether the value can have no other types than these."""
        return self.types is not None and self.types.issubset(types)

    def may(self, kind: str) -> bool:
        return self.types is None or kind in self.types


class Shapes:
    """The shapes of one schema, made when they are asked for."""

    def __init__(self, schema: Any) -> None:
        self.schema = schema
        self._made: dict[tuple[int, ...], Shape | None] = {}
        # By the identity of a subschema, so that each is read once however often it is named.
        self._facts: dict[tuple[str, int], Any] = {}
        self._anchors: dict[str, Any] | None = None
        # Until draft 7 nothing counts beside a reference.
        dialect = schema.get("$schema") if isinstance(schema, dict) else None
        self._alone = isinstance(dialect, str) and _OLD_DRAFT.search(dialect) is not None
        self.root = self.of([schema])

    def of(self, schemas: list[Any]) -> Shape | None:
        """The shape that several schemas for the same value have in common, None for any."""
        schemas = [schema for schema in schemas if isinstance(schema, dict) and schema]
        if not schemas:
            return None
        name = tuple(map(id, schemas))
        if name not in self._made:
            shape = Shape()
            for part in self._parts(schemas):
                _collect(part, shape)
            # Several are alternatives more often than conditions.
            shape.closed = all(self._fact("closed", schema, 0) for schema in schemas)
            shape.sealed = all(self._fact("sealed", schema, 0) for schema in schemas)
            shape.types = _any([self._fact("types", schema, 0) for schema in schemas])
            shape.texts = _any([self._fact("texts", schema, 0) for schema in schemas])
            needed = [self._fact("required", schema, 0) or frozenset() for schema in schemas]
            shape.required = frozenset.intersection(*needed)
            self._made[name] = shape
        return self._made[name]

    def member(self, shape: Shape | None, key: str) -> Shape | None:
        """The shape of an object's member."""
        return None if shape is None else self.of(shape.known.get(key, shape.others))

    def item(self, shape: Shape | None, index: int) -> Shape | None:
        """The shape of an array's item."""
        if shape is None:
            return None
        return self.of(shape.prefix[index] if index < len(shape.prefix) else shape.items)

    def strange(self, value: Any, form: Shape | None, outer: list[Shape | None]) -> bool:
        """Whether a member somewhere in a value rather belongs to what is around it."""
        pending = [(value, form, tuple(outer))]
        while pending:
            value, form, around = pending.pop()
            if form is None:
                continue
            inside = (*around, form)
            if isinstance(value, dict):
                if not form.known.keys() >= value.keys():
                    if any(astray(key, form, around) for key in value):
                        return True
                    if self._shut_out(value, form):
                        return True
                pending += [
                    (child, self.member(form, key), inside)
                    for key, child in value.items()
                    if isinstance(child, (dict, list))
                ]
            elif isinstance(value, list):
                pending += [
                    (child, self.item(form, index), inside)
                    for index, child in enumerate(value)
                    if isinstance(child, (dict, list))
                ]
        return False

    def _shut_out(self, value: dict[str, Any], form: Shape) -> bool:
        """Whether a member rather belongs to the object before it, closed too early."""
        before: Any = None
        inner: Shape | None = None
        for key, child in value.items():
            if inner is not None and key not in form.known and isinstance(before, dict):
                missing = key in inner.known and key not in before
                if missing and (form.closed or key in inner.required):
                    return True
            else:
                before, inner = child, self.member(form, key)
        return False

    def _parts(self, schemas: list[Any]) -> list[dict[str, Any]]:
        """All subschemas for the same value: through references and combinations."""
        parts: dict[int, dict[str, Any]] = {}
        pending = list(schemas)
        while pending and len(parts) < _MOST_PARTS:
            schema = pending.pop()
            if not isinstance(schema, dict) or id(schema) in parts:
                continue
            parts[id(schema)] = schema if not self._only_refers(schema) else {}
            references = ("$ref", "$dynamicRef", "$recursiveRef")
            pending += [self._target(schema[word]) for word in references if word in schema]
            for keyword in ("allOf", "anyOf", "oneOf"):
                if isinstance(branches := schema.get(keyword), list):
                    pending += branches
            pending += [schema.get(keyword) for keyword in _BESIDE]
            if isinstance(dependent := schema.get("dependentSchemas"), dict):
                pending += dependent.values()
        return list(parts.values())

    def _target(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        path = unquote(reference[1:])
        if path and not path.startswith("/"):
            return self._anchored(path)
        found = self.schema
        for step in path.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict):
                found = found.get(step)
            elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
                found = found[int(step)]
            else:
                return None
        return found

    def _anchored(self, name: str) -> Any:
        if self._anchors is None:
            self._anchors = {}
            pending = [self.schema]
            while pending:
                item = pending.pop()
                if isinstance(item, dict):
                    for keyword in ("$anchor", "$dynamicAnchor", "$id", "id"):
                        if isinstance(anchor := item.get(keyword), str):
                            self._anchors.setdefault(anchor.removeprefix("#"), item)
                    pending += item.values()
                elif isinstance(item, list):
                    pending += item
        return self._anchors.get(name)

    def _fact(self, kind: str, schema: Any, depth: int) -> Any:
        """A fact about a schema: none about one that refers to itself or is too nested."""
        if not isinstance(schema, dict) or depth > _MOST_STEPS:
            return None
        name = (kind, id(schema))
        if name not in self._facts:
            self._facts[name] = None
            if self._only_refers(schema):
                schema = self._target(schema["$ref"])
                self._facts[name] = self._fact(kind, schema, depth + 1)
                return self._facts[name]
            self._facts[name] = _FACTS[kind](self, schema, depth + 1)
        return self._facts[name]

    def _only_refers(self, schema: dict[str, Any]) -> bool:
        return self._alone and "$ref" in schema

    def _closed(self, schema: dict[str, Any], depth: int) -> bool | None:
        if "patternProperties" in schema:
            return None
        if False in (schema.get("additionalProperties"), schema.get("unevaluatedProperties")):
            return True
        return self._limited("closed", schema, depth)

    def _sealed(self, schema: dict[str, Any], depth: int) -> bool:
        for keyword in ("additionalProperties", "unevaluatedProperties"):
            if keyword in schema and schema[keyword] not in (True, {}):
                return True
        return self._limited("sealed", schema, depth)

    def _limited(self, kind: str, schema: dict[str, Any], depth: int) -> bool:
        """Whether what a schema refers to or combines limits the keys, if it does not itself."""
        if "const" in schema or "enum" in schema:
            return True
        referred = [self._target(schema["$ref"])] if "$ref" in schema else []
        if any(self._fact(kind, part, depth) for part in referred + _list(schema, "allOf")):
            return True
        return any(
            branches and all(self._fact(kind, part, depth) for part in branches)
            for branches in (_list(schema, "anyOf"), _list(schema, "oneOf"))
        )

    def _types(self, schema: dict[str, Any], depth: int) -> frozenset[str] | None:
        types = own_types(schema)
        referred = [self._target(schema["$ref"])] if "$ref" in schema else []
        for part in referred + _list(schema, "allOf"):
            types = _both(types, self._fact("types", part, depth))
        for keyword in ("anyOf", "oneOf"):
            branches = [self._fact("types", part, depth) for part in _list(schema, keyword)]
            types = _both(types, _any(branches))
        return types

    def _required(self, schema: dict[str, Any], depth: int) -> frozenset[str]:
        required = frozenset(key for key in _list(schema, "required") if isinstance(key, str))
        referred = [self._target(schema["$ref"])] if "$ref" in schema else []
        for part in referred + _list(schema, "allOf"):
            required |= self._fact("required", part, depth) or frozenset()
        return required

    def _texts(self, schema: dict[str, Any], depth: int) -> frozenset[str] | None:
        if isinstance(options := schema.get("enum"), list):
            return frozenset(option for option in options if isinstance(option, str))
        if "const" in schema:
            const = schema["const"]
            return frozenset({const} if isinstance(const, str) else ())
        if "$ref" in schema:
            found: frozenset[str] | None = self._fact("texts", self._target(schema["$ref"]), depth)
            return found
        for keyword in ("anyOf", "oneOf"):
            if branches := _list(schema, keyword):
                return _any([self._fact("texts", part, depth) for part in branches])
        return None


_FACTS: dict[str, Callable[[Shapes, dict[str, Any], int], Any]] = {
    "closed": Shapes._closed,
    "required": Shapes._required,
    "sealed": Shapes._sealed,
    "types": Shapes._types,
    "texts": Shapes._texts,
}


def astray(key: str, form: Shape, outer: Sequence[Shape | None]) -> bool:
    """Whether an object is not to have a key, and one around it is."""
    if key in form.known or not (form.known or form.closed):
        return False
    return any(
        shape is not None and takes(shape, key) and (form.closed or key in shape.required)
        for shape in outer
    )


def takes(shape: Shape, key: str) -> bool:
    """Whether an object is said to have a key, or keys that are not named."""
    return key in shape.known or bool(shape.others)


def _collect(schema: dict[str, Any], shape: Shape) -> None:
    """Add what one schema says itself, without what it refers to."""
    if isinstance(properties := schema.get("properties"), dict):
        for key, child in properties.items():
            shape.known.setdefault(key, []).append(child)
    for fixed in (schema.get("const"), *_list(schema, "enum")):
        if isinstance(fixed, dict):
            for key, child in fixed.items():
                shape.known.setdefault(key, []).append({"const": child})
    if isinstance(patterns := schema.get("patternProperties"), dict):
        shape.others += patterns.values()
    for keyword in ("additionalProperties", "unevaluatedProperties"):
        if isinstance(schema.get(keyword), dict):
            shape.others.append(schema[keyword])
    items = schema.get("items")
    prefix = items if isinstance(items, list) else schema.get("prefixItems")
    if isinstance(prefix, list):
        for index, child in enumerate(prefix):
            if index == len(shape.prefix):
                shape.prefix.append([])
            shape.prefix[index].append(child)
        items = schema.get("additionalItems", schema.get("items"))
    if isinstance(items, dict):
        shape.items.append(items)


def _list(schema: dict[str, Any], keyword: str) -> list[Any]:
    found = schema.get(keyword)
    return found if isinstance(found, list) else []


def own_types(schema: dict[str, Any]) -> frozenset[str] | None:
    """The types that a schema names itself, None for any."""
    declared = schema.get("type")
    types = None
    if isinstance(declared, str):
        types = frozenset((declared,))
    elif isinstance(declared, list):
        types = frozenset(name for name in declared if isinstance(name, str))
    if types is not None and not types.issubset(_NAMES):
        types = None
    if isinstance(schema.get("enum"), list):
        types = _both(types, frozenset(_KINDS.get(type(v), "any") for v in schema["enum"]))
    elif "const" in schema:
        types = _both(types, frozenset((_KINDS.get(type(schema["const"]), "any"),)))
    return types


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    # An integer is a number too; a contradiction is no hint at all.
    wide = {name for name in other if name == "integer" and "number" in one}
    wide |= {name for name in one if name == "integer" and "number" in other}
    return frozenset((one & other) | wide) or None


def _any(options: list[frozenset[str] | None]) -> frozenset[str] | None:
    if not options or None in options:
        return None
    return frozenset().union(*(option for option in options if option is not None))
