"""Holds a fixed value against a schema, as a validator does."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from llmgate.grammar.schema.facts import Located, same, type_of
from llmgate.grammar.schema.keywords import branches, count, needs, no_schema, number, schemas
from llmgate.grammar.text.regex import Inexact

if TYPE_CHECKING:
    from llmgate.grammar.schema.document import Document

_DEEPEST: Final = 60


def holds(value: Any, located: Located, document: Document, depth: int = 0) -> bool:
    """Whether the value satisfies the schema, which is one that `collect` takes.

    Raises `Inexact` where that can't be told here.
    """
    schema, path = located
    if isinstance(schema, bool):
        return schema
    if depth > _DEEPEST:
        raise Inexact("it refers to itself without end")
    if not isinstance(schema, dict):
        raise no_schema(schema, path)
    check = _Check(value, schema, path, document, depth)
    if "$ref" in schema and document.lone:
        return check.referred("$ref")
    for keyword, said in schema.items():
        test = _TESTS.get(keyword)
        if test is not None and not test(check, said):
            return False
    return True


class _Check:
    """One value and one schema, and what the keywords' tests need beside their own."""

    __slots__ = ("depth", "document", "kind", "path", "schema", "value")

    def __init__(
        self, value: Any, schema: dict[str, Any], path: str, document: Document, depth: int
    ) -> None:
        self.value = value
        self.schema = schema
        self.path = path
        self.document = document
        self.depth = depth
        self.kind = type_of(value)

    def referred(self, keyword: str) -> bool:
        target = self.document.resolve(self.schema, keyword, self.path)
        return holds(self.value, target, self.document, self.depth + 1)

    def below(self, value: Any, schema: Any) -> bool:
        one = schema if isinstance(schema, tuple) else (schema, self.path)
        return holds(value, one, self.document, self.depth + 1)

    def items_after_prefix(self) -> list[Any]:
        prefix = self.schema.get("prefixItems")
        if prefix is None:
            items = self.schema.get("items")
            prefix = items if isinstance(items, list) else []
        rest: list[Any] = self.value[len(prefix) :]
        return rest


def _type(check: _Check, named: Any) -> bool:
    names = named if isinstance(named, list) else [named]
    if check.kind == "number" and "integer" in names and float(check.value).is_integer():
        return True
    return check.kind in names


def _enum(check: _Check, values: Any) -> bool:
    if check.kind == "string":
        return check.value in values
    return any(same(check.value, one) for one in values)


def _const(check: _Check, value: Any) -> bool:
    if check.kind == "string":
        return bool(check.value == value)
    return same(check.value, value)


def _size(kind: str, test: Callable[[int, int], bool]) -> Callable[[_Check, Any], bool]:
    def run(check: _Check, limit: Any) -> bool:
        return check.kind != kind or test(len(check.value), count(limit, check.path))

    return run


def _bound(test: Callable[[float, float], bool]) -> Callable[[_Check, Any], bool]:
    def run(check: _Check, limit: Any) -> bool:
        if check.kind != "number" or isinstance(limit, bool):
            return True
        return test(check.value, number(limit, check.path))

    return run


def _minimum(check: _Check, limit: Any) -> bool:
    if check.kind != "number":
        return True
    strict = check.schema.get("exclusiveMinimum") is True
    return bool(check.value > limit if strict else check.value >= limit)


def _maximum(check: _Check, limit: Any) -> bool:
    if check.kind != "number":
        return True
    strict = check.schema.get("exclusiveMaximum") is True
    return bool(check.value < limit if strict else check.value <= limit)


def _multiple(check: _Check, divisor: Any) -> bool:
    if check.kind != "number":
        return True
    return (Fraction(str(check.value)) / Fraction(str(divisor))).denominator == 1


def _pattern(check: _Check, source: Any) -> bool:
    from llmgate.grammar.text.language import Language

    return check.kind != "string" or check.value in Language.pattern(source)


def _format(check: _Check, name: Any) -> bool:
    from llmgate.grammar.text.language import Language

    known = Language.of_format(name) if check.kind == "string" else None
    return known is None or check.value in known


def _required(check: _Check, names: Any) -> bool:
    if check.kind != "object" or isinstance(names, bool):
        return True
    return all(name in check.value for name in names)


def _properties(check: _Check, value: Any) -> bool:
    if check.kind != "object":
        return True
    return all(
        check.below(check.value[name], one)
        for name, one in schemas(value, check.path).items()
        if name in check.value
    )


def _patterns(check: _Check, value: Any) -> bool:
    from llmgate.grammar.text.language import Language

    if check.kind != "object":
        return True
    for source, one in schemas(value, check.path).items():
        names = Language.pattern(source)
        if not all(check.below(v, one) for name, v in check.value.items() if name in names):
            return False
    return True


def _additional(check: _Check, schema: Any) -> bool:
    from llmgate.grammar.text.language import Language

    if check.kind != "object":
        return True
    listed = check.schema.get("properties", ())
    names = [Language.pattern(source) for source in check.schema.get("patternProperties", ())]
    return all(
        check.below(one, schema)
        for name, one in check.value.items()
        if name not in listed and not any(name in language for language in names)
    )


def _names(check: _Check, schema: Any) -> bool:
    return check.kind != "object" or all(check.below(name, schema) for name in check.value)


def _dependent(check: _Check, value: Any) -> bool:
    if check.kind != "object":
        return True
    for name, needed in needs(value, check.path).items():
        if name in check.value:
            if isinstance(needed, list):
                if not all(other in check.value for other in needed):
                    return False
            elif not check.below(check.value, needed):
                return False
    return True


def _prefix(check: _Check, value: Any) -> bool:
    if check.kind != "array" or not value:
        return True
    pairs = zip(check.value, branches(value, check.path), strict=False)
    return all(check.below(one, schema) for one, schema in pairs)


def _items(check: _Check, schema: Any) -> bool:
    if isinstance(schema, list):
        return "prefixItems" in check.schema or _prefix(check, schema)
    if check.kind != "array":
        return True
    return all(check.below(one, schema) for one in check.items_after_prefix())


def _rest(check: _Check, schema: Any) -> bool:
    if check.kind != "array" or not isinstance(check.schema.get("items"), list):
        return True
    return all(check.below(one, schema) for one in check.items_after_prefix())


def _contains(check: _Check, schema: Any) -> bool:
    if check.kind != "array":
        return True
    found = sum(check.below(one, schema) for one in check.value)
    least, most = check.schema.get("minContains", 1), check.schema.get("maxContains")
    return bool(found >= least and (most is None or found <= most))


def _unique(check: _Check, wanted: Any) -> bool:
    if check.kind != "array" or wanted is not True:
        return True
    items = check.value
    return not any(same(one, other) for n, one in enumerate(items) for other in items[:n])


def _all(check: _Check, value: Any) -> bool:
    return all(check.below(check.value, one) for one in branches(value, check.path))


def _any(check: _Check, value: Any) -> bool:
    return any(check.below(check.value, one) for one in branches(value, check.path))


def _one(check: _Check, value: Any) -> bool:
    return sum(check.below(check.value, one) for one in branches(value, check.path)) == 1


def _not(check: _Check, schema: Any) -> bool:
    return not check.below(check.value, schema)


def _condition(check: _Check, schema: Any) -> bool:
    branch = "then" if check.below(check.value, schema) else "else"
    return branch not in check.schema or check.below(check.value, check.schema[branch])


def _referred(keyword: str) -> Callable[[_Check, Any], bool]:
    return lambda check, value: check.referred(keyword)


def _unevaluated(kind: str) -> Callable[[_Check, Any], bool]:
    def run(check: _Check, schema: Any) -> bool:
        if check.kind != kind or not check.value or schema is True or schema == {}:
            return True
        raise Inexact("what other schemas evaluated is not followed")

    return run


_TESTS: Final[dict[str, Callable[[_Check, Any], bool]]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "minLength": _size("string", int.__ge__),
    "maxLength": _size("string", int.__le__),
    "minItems": _size("array", int.__ge__),
    "maxItems": _size("array", int.__le__),
    "minProperties": _size("object", int.__ge__),
    "maxProperties": _size("object", int.__le__),
    "minimum": _minimum,
    "maximum": _maximum,
    "exclusiveMinimum": _bound(lambda value, limit: value > limit),
    "exclusiveMaximum": _bound(lambda value, limit: value < limit),
    "multipleOf": _multiple,
    "required": _required,
    "pattern": _pattern,
    "format": _format,
    "properties": _properties,
    "patternProperties": _patterns,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "dependencies": _dependent,
    "dependentRequired": _dependent,
    "dependentSchemas": _dependent,
    "prefixItems": _prefix,
    "items": _items,
    "additionalItems": _rest,
    "contains": _contains,
    "uniqueItems": _unique,
    "$ref": _referred("$ref"),
    "$dynamicRef": _referred("$dynamicRef"),
    "$recursiveRef": _referred("$recursiveRef"),
    "allOf": _all,
    "anyOf": _any,
    "oneOf": _one,
    "not": _not,
    "if": _condition,
    "unevaluatedProperties": _unevaluated("object"),
    "unevaluatedItems": _unevaluated("array"),
}
