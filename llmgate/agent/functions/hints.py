"""Type hints → forms: what of Python's types models can be asked for, and how."""

from __future__ import annotations

import collections
import collections.abc as abc
import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from llmgate.agent.functions import forms
from llmgate.agent.functions.classes import builder, described_class
from llmgate.agent.functions.definitions import Definitions, foreign, plain
from llmgate.agent.functions.forms import Form, Load, Unusable
from llmgate.agent.functions.moments import MOMENTS
from llmgate.types import Note

_ARRAYS: Mapping[Any, Callable[[list[Any]], Any]] = {
    list: list,
    set: set,
    frozenset: frozenset,
    collections.deque: collections.deque,
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Iterable: list,
    abc.Set: frozenset,
    abc.MutableSet: set,
}
_OBJECTS = (dict, abc.Mapping, abc.MutableMapping)
_WRAPPERS = ("Required", "NotRequired", "ReadOnly", "Final")
_DEEPEST = 40
# What msgspec.Meta, pydantic's Field and annotated-types call it → what JSON Schema does.
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_BOUNDS |= {"multiple_of": "multipleOf"}
_LENGTHS = {"string": "Length", "array": "Items", "object": "Properties"}


class Hints:
    """Turns the hints of one function into forms; classes that name each other are kept apart."""

    def __init__(self) -> None:
        self.definitions = Definitions()
        self._depth = 0

    def form(self, hint: Any) -> Form:
        """The form of a hint. Raises Unusable."""
        self._depth += 1
        try:
            if self._depth > _DEEPEST:
                raise Unusable("it goes on without an end")
            return self._form(hint)
        finally:
            self._depth -= 1

    def _form(self, hint: Any) -> Form:
        hint = None.__class__ if hint is None else hint
        if hint in (Any, object):
            return Form({}, forms.anything)
        if isinstance(hint, type) and hint in forms.PLAIN:
            return forms.PLAIN[hint]
        if isinstance(hint, type) and hint in MOMENTS:
            return MOMENTS[hint]
        origin = get_origin(hint)
        if origin is Annotated:
            return self._annotated(hint)
        if origin is Literal:
            return self._literal(get_args(hint))
        if origin in (typing.Union, types.UnionType):
            return forms.union([self.form(inner) for inner in get_args(hint)])
        if getattr(origin, "_name", None) in _WRAPPERS:
            return self.form(get_args(hint)[0])
        if hasattr(hint, "__supertype__"):
            return self.form(hint.__supertype__)
        if hasattr(hint, "__value__"):
            return self.form(hint.__value__)
        if not isinstance(hint, abc.Hashable):
            raise Unusable(f"{hint!r} is no type")
        if (kind := origin or hint) in _ARRAYS:
            inner = get_args(hint)
            return forms.array(self.form(inner[0]) if inner else None, _ARRAYS[kind])
        if kind is tuple:
            return self._tuple(hint)
        if kind in _OBJECTS:
            return self._mapping(get_args(hint))
        if isinstance(kind, type):
            return self._class(hint, kind)
        raise Unusable(f"{written(hint)} has no form in JSON")

    def _annotated(self, hint: Any) -> Form:
        inner, *marks = get_args(hint)
        form = self.form(inner)
        schema = form.schema
        if extra := bounds(marks, schema):
            schema = {**schema, **extra}
        if description := described(marks):
            schema = {**schema, "description": description}
        return Form(schema, form.load, form.exact)

    def _literal(self, members: tuple[Any, ...]) -> Form:
        values = [member.value if isinstance(member, enum.Enum) else member for member in members]
        return self._choice(values, members, "a Literal")

    def _choice(self, values: list[Any], members: Any, what: str) -> Form:
        if not values or not all(isinstance(v, str | int | float | None) for v in values):
            raise Unusable(f"{what} can only have texts, numbers, truth values and None")
        return forms.one_of([plain(value) for value in values], tuple(members))

    def _tuple(self, hint: Any) -> Form:
        inner = get_args(hint)
        if hint in (tuple, typing.Tuple):  # noqa: UP006 - the old spelling of it
            return forms.array(None, tuple)
        if len(inner) == 2 and inner[1] is Ellipsis:
            return forms.array(self.form(inner[0]), tuple)
        return forms.row([self.form(one) for one in inner])

    def _mapping(self, inner: tuple[Any, ...]) -> Form:
        if not inner:
            return forms.mapping(None, None)
        key, item = self.form(inner[0]), self.form(inner[1])
        if inner[0] is str or not key.schema:
            return forms.mapping(None, item)
        kinds = key.schema.get("type")
        if kinds == "integer" and "enum" not in key.schema:
            return forms.mapping(Form(key.schema, _integer_key), item)
        if kinds != "string":
            raise Unusable(f"{written(inner[0])} can't be the keys of an object")
        return forms.mapping(key, item)

    def _class(self, hint: Any, kind: type) -> Form:
        if issubclass(kind, enum.Enum):
            if issubclass(kind, enum.Flag):
                raise Unusable(f"{written(kind)} is a set of flags")
            return self._choice([member.value for member in kind], list(kind), written(kind))
        made = foreign(hint, self.definitions)
        return made if made is not None else self._object(hint, kind)

    def _object(self, hint: Any, kind: type) -> Form:
        """An object with the fields of a class; a field with a default may be left out."""
        if (name := self.definitions.known(hint)) is not None:
            return self.definitions.form(hint)
        try:
            described = described_class(hint, kind)
        except (NameError, ValueError) as error:
            raise Unusable(f"{kind.__name__}: {error}") from error
        if described is None:
            raise Unusable(f"{written(hint)} has no form in JSON")
        loads: dict[str, Load] = {}
        name = self.definitions.announce(hint, described.name, builder(described, loads))
        properties: dict[str, Any] = {}
        required: list[str] = []
        if described.tag is not None:
            properties[described.tag[0]] = {"const": described.tag[1]}
            required.append(described.tag[0])
        for field in described.fields:
            try:
                form = self.form(field.hint)
                schema = outlined(form.schema, field.description, field.default)
            except (Unusable, ValueError) as error:
                where = f"in the field {field.name!r} of {described.name}"
                raise Unusable(f"{error} ({where})") from error
            loads[field.name] = form.load
            properties[field.name] = schema
            if field.required:
                required.append(field.name)
        whole = {"type": "object", "properties": properties, "required": required}
        if described.description:
            whole["description"] = described.description
        self.definitions.define(name, whole)
        return self.definitions.form(hint)


def outlined(schema: dict[str, Any], description: str | None, default: Any) -> dict[str, Any]:
    """The schema of a parameter or a field, with what is said of it and its default.

    None as a default is not spoken of: leaving the value out says the same. Raises ValueError
    for a default that JSON can't say.
    """
    if default is None:
        schema = without_null(schema)
    if description:
        schema = {**schema, "description": description}
    if default is dataclasses.MISSING or default is None:
        return schema
    return {**schema, "default": plain(default)}


def without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that takes the same values except null."""
    kinds = schema.get("type")
    if isinstance(kinds, list) and "null" in kinds:
        left = [kind for kind in kinds if kind != "null"]
        schema = {**schema, "type": left[0] if len(left) == 1 else left}
        if "enum" in schema:
            schema["enum"] = [value for value in schema["enum"] if value is not None]
    elif {"type": "null"} in (branches := schema.get("anyOf", [])):
        branches = [branch for branch in branches if branch != {"type": "null"}]
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        schema = {**branches[0], **rest} if len(branches) == 1 else {**rest, "anyOf": branches}
    return schema


def described(marks: abc.Iterable[Any]) -> str:
    """What marks of Annotated say in words: a text, msgspec's Meta, pydantic's Field, or Doc."""
    for mark in marks:
        for said in (
            mark,
            getattr(mark, "description", None),
            getattr(mark, "documentation", None),
        ):
            if isinstance(said, str) and said.strip():
                return " ".join(said.split())
    return ""


def bounds(marks: abc.Iterable[Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """What marks of Annotated demand of a value, as keywords of JSON Schema."""
    kinds = schema.get("type")
    names = kinds if isinstance(kinds, list) else [kinds]
    found: dict[str, Any] = {}
    for mark in marks:
        if isinstance(mark, str | type):
            continue
        for key, keyword in _BOUNDS.items():
            if isinstance(value := getattr(mark, key, None), int | float):
                found[keyword] = value
        for name in names:
            for key, least in (("min_length", "min"), ("max_length", "max")):
                if name in _LENGTHS and isinstance(value := getattr(mark, key, None), int):
                    found[least + _LENGTHS[name]] = value
        if "string" in names and isinstance(pattern := getattr(mark, "pattern", None), str):
            found["pattern"] = pattern
        found |= bounds(getattr(mark, "metadata", None) or (), schema)
    return found


def written(hint: Any) -> str:
    """A hint as one would write it."""
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)


def _integer_key(value: Any, where: str, notes: list[Note]) -> int:
    try:
        return int(value)
    except ValueError:
        forms.wrong(where, value, "a whole number")
