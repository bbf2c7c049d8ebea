"""What does not satisfy a schema, as schemas: one for each keyword that may fail."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from llmgate.grammar.schema.facts import TYPES, Located
from llmgate.grammar.schema.keywords import (
    Atom,
    branches,
    count,
    divisor,
    needs,
    no_schema,
    number,
    schemas,
)
from llmgate.grammar.text.regex import Inexact

if TYPE_CHECKING:
    from llmgate.grammar.schema.document import Document

_TYPES: Final = tuple(name for name in TYPES if name != "integer")
_MOST_PAIRS: Final = 15
_MOST_STRUCTURED: Final = 3
# Among the ways in which a keyword may fail: there are others.
_INCOMPLETE: Final = object()
_Make = Callable[[dict[str, Any], Any, str, "Document"], list[Any]]


def negation(located: Located, document: Document) -> tuple[list[Located], bool]:
    """Schemas whose values are refused by `located`, and whether these are all such values."""
    schema, path = located
    if isinstance(schema, bool):
        return ([] if schema else [(True, path)]), True
    if not isinstance(schema, dict):
        raise no_schema(schema, path)
    out: list[Located] = []
    complete = True
    if "$ref" in schema and document.lone:
        return document.refused(document.resolve(schema, "$ref", path))
    for keyword, value in schema.items():
        make = _FAILING.get(keyword)
        if make is not None:
            try:
                ways = make(schema, value, path, document)
            except Inexact:
                ways = [_INCOMPLETE]
            complete = complete and _INCOMPLETE not in ways
            out += [(way, path) for way in ways if way is not _INCOMPLETE]
    below: list[Located] = []
    if "allOf" in schema:
        below = branches(schema["allOf"], f"{path}/allOf")
    for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
        if keyword in schema:
            below.append(document.resolve(schema, keyword, path))
    for one in below:
        others, all_of_them = document.refused(one)
        out += others
        complete = complete and all_of_them
    return out, complete


def _type(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    named = set(value) if isinstance(value, list) else {value}
    others = [name for name in TYPES if name not in named and name != "integer"]
    out: list[Any] = []
    if "number" not in named and "integer" in named:
        others.remove("number")
        out.append({"type": "number", Atom.FRACTIONAL: True})
    if others:
        out.append({"type": others})
    return out


def _values(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    if not isinstance(value, list):
        return []
    single = [one for one in value if not isinstance(one, (dict, list))]
    structured = [one for one in value if isinstance(one, (dict, list))]
    if not structured:
        return [{Atom.UNEQUAL: single}]
    if len(structured) > _MOST_STRUCTURED:
        return [{Atom.UNEQUAL: value}]
    different = {"allOf": [{"anyOf": _different(one, path)} for one in structured]}
    return [{Atom.UNEQUAL: single, **different}]


def _value(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    return _values(schema, [value], path, document)


def _different(value: Any, path: str) -> list[Any]:
    """Schemas for what is not equal to an array or object."""
    if isinstance(value, list):
        out: list[Any] = [{"type": [name for name in _TYPES if name != "array"]}]
        if value:
            out.append({"type": "array", "maxItems": len(value) - 1})
        out.append({"type": "array", "minItems": len(value) + 1})
        for number, one in enumerate(value):
            items = [*([True] * number), {"not": {"const": one}}]
            out.append({"type": "array", "minItems": number + 1, "prefixItems": items})
        return out
    from llmgate.grammar.text.language import Language

    out = [{"type": [name for name in _TYPES if name != "object"]}]
    for name, one in value.items():
        other = {name: ({"not": {"const": one}}, path)}
        out.append({"type": "object", Atom.ABSENT: [name]})
        out.append({"type": "object", "required": [name], Atom.PROPERTY: other})
    return [*out, _member(~Language.literals(value), (True, path))]


def _least(kind: str, stem: str) -> _Make:
    def make(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
        least = count(value, f"{path}/min{stem}")
        return [{"type": kind, f"max{stem}": least - 1}] if least else []

    return make


def _most(kind: str, stem: str) -> _Make:
    def make(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
        return [{"type": kind, f"min{stem}": count(value, f"{path}/max{stem}") + 1}]

    return make


def _bound(other: str, flag: str) -> _Make:
    """A bound fails beyond it; `flag` is the keyword that excluded the bound in draft 4."""

    def make(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
        if isinstance(value, bool):
            return []
        inclusive = flag and schema.get(flag) is not True
        name = f"exclusive{other.capitalize()}" if inclusive else other
        return [{"type": "number", name: number(value, path)}]

    return make


def _multiple(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    return [{"type": "number", Atom.INDIVISIBLE: divisor(value, f"{path}/multipleOf")}]


def _pattern(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    from llmgate.grammar.text.language import Language

    return [{"type": "string", Atom.UNLIKE: ~Language.pattern(value)}]


def _format(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    from llmgate.grammar.text.language import Language

    known = Language.of_format(value)
    return [] if known is None else [{"type": "string", Atom.OTHER_FORMAT: ~known}]


def _required(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    if isinstance(value, bool):
        return []
    # Each way says which of the names is the first that is missing.
    return [
        {"type": "object", "required": value[:number], Atom.ABSENT: [name]}
        for number, name in enumerate(value)
    ]


def _properties(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    out: list[Any] = []
    for name, one in schemas(value, f"{path}/properties").items():
        if not _anything(one):
            below = {name: document.opposite(one)}
            out.append({"type": "object", "required": [name], Atom.PROPERTY: below})
    return out


def _patterns(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    from llmgate.grammar.text.language import Language

    return [
        _member(Language.pattern(source), document.opposite(one))
        for source, one in schemas(value, f"{path}/patternProperties").items()
        if not _anything(one)
    ]


def _additional(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    from llmgate.grammar.text.language import Language

    one = (value, f"{path}/additionalProperties")
    if _anything(one):
        return []
    names = ~Language.literals(schema.get("properties", ()))
    for source in schema.get("patternProperties", ()):
        names -= Language.pattern(source)
    return [_member(names, document.opposite(one))]


def _names(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    from llmgate.grammar.schema.names import language

    one = (value, f"{path}/propertyNames")
    return [] if _anything(one) else [_member(~language((one,), document), (True, path))]


def _member(names: Any, value: Located) -> dict[Any, Any]:
    return {"type": "object", Atom.MEMBER: (names, value)}


def _dependent(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    out: list[Any] = []
    for name, needed in needs(value, f"{path}/dependencies").items():
        if isinstance(needed, list):
            out += [{"type": "object", "required": [name], Atom.ABSENT: [one]} for one in needed]
        else:
            below = document.opposite(needed)[0]
            out.append({"type": "object", "required": [name], "allOf": [below]})
    return out


def _items(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    if isinstance(value, list):
        return _prefix(schema, value, path, document)
    prefix = schema.get("prefixItems", ())
    return _later((value, f"{path}/items"), len(prefix), document)


def _prefix(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    out: list[Any] = []
    for place, one in enumerate(branches(value, f"{path}/items") if value else ()):
        if not _anything(one):
            items = [*([True] * place), document.opposite(one)[0]]
            out.append({"type": "array", "minItems": place + 1, "prefixItems": items})
    return out


def _rest(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    items = schema.get("items")
    if not isinstance(items, list) or "prefixItems" in schema:
        return []
    return _later((value, f"{path}/additionalItems"), len(items), document)


def _later(one: Located, start: int, document: Document) -> list[Any]:
    if _anything(one):
        return []
    return [{"type": "array", Atom.CONTAINED: (document.opposite(one), 1, None, start)}]


def _contains(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    least = count(schema.get("minContains", 1), f"{path}/minContains")
    most = schema.get("maxContains")
    one = (value, f"{path}/contains")
    out: list[Any] = []
    if least == 1:
        out.append({"type": "array", "items": document.opposite(one)[0]})
    elif least > 1:
        out.append({"type": "array", Atom.CONTAINED: (one, 0, least - 1, 0)})
    if most is not None:
        out.append(
            {
                "type": "array",
                Atom.CONTAINED: (one, count(most, f"{path}/maxContains") + 1, None, 0),
            }
        )
    return out


def _any(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    return [{"allOf": [document.opposite(one)[0] for one in branches(value, f"{path}/anyOf")]}]


def _one(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    pairs = list(combinations(value, 2))
    some = [{"allOf": list(pair)} for pair in pairs[:_MOST_PAIRS]]
    more = [_INCOMPLETE] if len(pairs) > _MOST_PAIRS else []
    return [*_any(schema, value, path, document), *some, *more]


def _not(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    return [value]


def _condition(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    out: list[Any] = []
    if "then" in schema:
        out.append({"allOf": [value, document.opposite((schema["then"], f"{path}/then"))[0]]})
    if "else" in schema:
        unmet = document.opposite((value, f"{path}/if"))[0]
        out.append({"allOf": [unmet, document.opposite((schema["else"], f"{path}/else"))[0]]})
    return out


def _unique(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    if value is not True:
        return []
    raise Inexact("that items are equal can't be said")


def _unevaluated(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    if _anything((value, path)):
        return []
    raise Inexact("what was evaluated can't be turned round")


def _derived(schema: dict[str, Any], value: Any, path: str, document: Document) -> list[Any]:
    raise Inexact("it is the opposite of something itself")


def _anything(one: Located) -> bool:
    return one[0] is True or one[0] == {}


_FAILING: Final[dict[Any, _Make]] = {
    "type": _type,
    "enum": _values,
    "const": _value,
    "minLength": _least("string", "Length"),
    "maxLength": _most("string", "Length"),
    "minItems": _least("array", "Items"),
    "maxItems": _most("array", "Items"),
    "minProperties": _least("object", "Properties"),
    "maxProperties": _most("object", "Properties"),
    "minimum": _bound("maximum", "exclusiveMinimum"),
    "maximum": _bound("minimum", "exclusiveMaximum"),
    "exclusiveMinimum": _bound("maximum", ""),
    "exclusiveMaximum": _bound("minimum", ""),
    "multipleOf": _multiple,
    "pattern": _pattern,
    "format": _format,
    "required": _required,
    "properties": _properties,
    "patternProperties": _patterns,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "dependencies": _dependent,
    "dependentRequired": _dependent,
    "dependentSchemas": _dependent,
    "items": _items,
    "prefixItems": _prefix,
    "additionalItems": _rest,
    "contains": _contains,
    "anyOf": _any,
    "oneOf": _one,
    "not": _not,
    "if": _condition,
    "uniqueItems": _unique,
    "unevaluatedProperties": _unevaluated,
    "unevaluatedItems": _unevaluated,
    **dict.fromkeys(Atom, _derived),
}
