"""A form: the JSON Schema of a type hint, and how its JSON values become Python's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import msgspec

from llmgate.types import Note
from llmgate.validation.words import listed, shortened

# A value, its name for messages, and a list that notes are added to. Raises ValueError.
Load = Callable[[Any, str, list[Note]], Any]


class Unusable(TypeError):
    """A hint that models can't be asked for; the message says why."""


class Form(msgspec.Struct, frozen=True):
    """`exact` is the type whose values come through unchanged, for unions of numbers."""

    schema: dict[str, Any]
    load: Load
    exact: type | None = None


def wrong(where: str, value: Any, wanted: str) -> NoReturn:
    """Raise the ValueError for a value that is not what it has to be."""
    raise ValueError(f"{where}: {shortened(value)} is not {wanted}")


def text(value: Any, where: str, notes: list[Note]) -> str:
    """A text, as it is."""
    return value if isinstance(value, str) else wrong(where, value, "a text")


def boolean(value: Any, where: str, notes: list[Note]) -> bool:
    """A truth value, as it is."""
    return value if isinstance(value, bool) else wrong(where, value, "true or false")


def integer(value: Any, where: str, notes: list[Note]) -> int:
    """A whole number: JSON Schema counts 1.0 among them."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    wrong(where, value, "a whole number")


def number(value: Any, where: str, notes: list[Note]) -> float:
    """Any number, as a float."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            converted = float(value)
        except OverflowError:
            wrong(where, value, "a number that Python can hold")
        if math.isfinite(converted):
            return converted
    wrong(where, value, "a number")


def nothing(value: Any, where: str, notes: list[Note]) -> None:
    """null."""
    if value is not None:
        wrong(where, value, "null")


def anything(value: Any, where: str, notes: list[Note]) -> Any:
    """Any JSON value, as it is."""
    return value


PLAIN = {
    str: Form({"type": "string"}, text),
    bool: Form({"type": "boolean"}, boolean, bool),
    int: Form({"type": "integer"}, integer, int),
    float: Form({"type": "number"}, number, float),
    type(None): Form({"type": "null"}, nothing),
}


def one_of(values: Sequence[Any], members: Sequence[Any]) -> Form:
    """One of several values, each of which stands for a member."""
    kinds = list(dict.fromkeys(_type_name(value) for value in values))
    schema = {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": list(values)}

    def load(value: Any, where: str, notes: list[Note]) -> Any:
        for known, member in zip(values, members, strict=True):
            if known == value and isinstance(known, bool) == isinstance(value, bool):
                return member
        wrong(where, value, listed(values))

    return Form(schema, load)


def union(forms: Sequence[Form]) -> Form:
    """What any one of several forms takes."""
    schemas = [form.schema for form in forms]
    null = {"type": "null"}
    rest = [schema for schema in schemas if schema != null]
    if all(set(schema) == {"type"} and isinstance(schema["type"], str) for schema in schemas):
        schema: dict[str, Any] = {"type": [schema["type"] for schema in schemas]}
    elif len(rest) == 1 and isinstance(rest[0].get("type"), str):
        schema = {**rest[0], "type": [rest[0]["type"], "null"]}
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    elif any(not schema for schema in schemas):
        schema = {}
    else:
        schema = {"anyOf": schemas}

    def load(value: Any, where: str, notes: list[Note]) -> Any:
        # 1 is an int and a float: the one that loses nothing comes first.
        same = [form for form in forms if form.exact is type(value)]
        reasons = []
        for form in [*same, *forms]:
            own: list[Note] = []
            try:
                loaded = form.load(value, where, own)
            except ValueError as error:
                reasons.append(str(error))
            else:
                notes += own
                return loaded
        raise ValueError(reasons[-1] if rest else f"{where}: nothing can stand there")

    return Form(schema, load)


def array(item: Form | None, make: Callable[[list[Any]], Any]) -> Form:
    """A list of values of one form, made into a list, a tuple or a set."""
    schema: dict[str, Any] = {"type": "array"}
    if item is not None and item.schema:
        schema["items"] = item.schema
    one = item.load if item is not None else anything

    def load(value: Any, where: str, notes: list[Note]) -> Any:
        if not isinstance(value, list):
            wrong(where, value, "a list")
        made = make([one(entry, f"{where}[{n}]", notes) for n, entry in enumerate(value)])
        if (gone := len(value) - len(made)) > 0:
            notes.append(Note("coerced", f"{where}: {gone} repeated values count once."))
        return made

    return Form(schema, load)


def row(forms: Sequence[Form], make: Callable[[list[Any]], Any] = tuple) -> Form:
    """As many values as there are forms, one of each."""
    schema = {
        "type": "array",
        "prefixItems": [form.schema for form in forms],
        "items": False,
        "minItems": len(forms),
        "maxItems": len(forms),
    }
    if not forms:
        schema = {"type": "array", "maxItems": 0}

    def load(value: Any, where: str, notes: list[Note]) -> Any:
        if not isinstance(value, list) or len(value) != len(forms):
            wrong(where, value, f"a list of {len(forms)} values")
        pairs = zip(forms, value, strict=True)
        return make([form.load(one, f"{where}[{n}]", notes) for n, (form, one) in enumerate(pairs)])

    return Form(schema, load)


def mapping(key: Form | None, item: Form | None) -> Form:
    """An object of any keys; `key` makes them what Python has as keys."""
    schema: dict[str, Any] = {"type": "object"}
    if item is not None and item.schema:
        schema["additionalProperties"] = item.schema
    if key is not None and "enum" in key.schema:
        schema["propertyNames"] = {"enum": key.schema["enum"]}
    one = item.load if item is not None else anything

    def load(value: Any, where: str, notes: list[Note]) -> Any:
        if not isinstance(value, dict):
            wrong(where, value, "an object")
        return {
            name if key is None else key.load(name, f"a key of {where}", notes): one(
                entry, f"{where}.{name}", notes
            )
            for name, entry in value.items()
        }

    return Form(schema, load)


def _type_name(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "integer", float: "number"}
    return names.get(type(value), "null")
