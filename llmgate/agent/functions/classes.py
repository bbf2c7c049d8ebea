"""The fields of classes that stand for JSON objects: dataclasses, Structs, TypedDicts, tuples."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any, get_origin

import msgspec

from llmgate.agent.functions import forms
from llmgate.agent.functions.docstrings import parse
from llmgate.agent.functions.forms import Load
from llmgate.types import Note

MISSING = dataclasses.MISSING
_FACTORIES = (list, dict, set, tuple, frozenset)


class Field(msgspec.Struct, frozen=True):
    """A field: `name` is that in JSON, `attribute` that in Python.

    `default` is MISSING where there is none or it can't be shown.
    """

    name: str
    attribute: str
    hint: Any
    required: bool
    default: Any = MISSING
    description: str = ""


class Described(msgspec.Struct, frozen=True):
    """A class with its fields; `make` builds it from keyword arguments.

    `tag` is the field that says which class an object is of, and what stands there.
    """

    name: str
    make: Callable[..., Any]
    fields: tuple[Field, ...]
    description: str = ""
    tag: tuple[str, str | int] | None = None


def described_class(hint: Any, kind: type) -> Described | None:
    """The class with its fields, None if it is of no kind that is known.

    Raises NameError for hints that can't be resolved, ValueError for a Struct written as a list.
    """
    doc = parse(kind.__doc__)
    # What dataclasses and named tuples write of themselves says nothing.
    said = "" if doc.summary.startswith(f"{kind.__name__}(") else doc.summary
    tag = None
    if issubclass(kind, msgspec.Struct):
        config = kind.__struct_config__
        if config.array_like:
            raise ValueError(f"{kind.__name__} is written as a list")
        if config.tag is not None and config.tag_field is not None:
            tag = (config.tag_field, config.tag)
        fields = [_of_struct(field) for field in msgspec.structs.fields(hint)]
        make: Callable[..., Any] = kind
    elif dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        fields = [_of_dataclass(field, hints) for field in dataclasses.fields(kind) if field.init]
        make = kind
    elif typing.is_typeddict(kind):
        fields = _of_typed_dict(kind)
        make = dict
    elif issubclass(kind, tuple) and (names := getattr(kind, "_fields", None)):
        hints = typing.get_type_hints(kind, include_extras=True)
        own = getattr(kind, "_field_defaults", {})
        fields = [
            Field(name, name, hints.get(name, Any), name not in own, own.get(name, MISSING))
            for name in names
        ]
        make = kind
    else:
        return None
    told = [
        msgspec.structs.replace(field, description=doc.entries[field.attribute])
        if not field.description and field.attribute in doc.entries
        else field
        for field in fields
    ]
    return Described(kind.__name__, make, tuple(told), said, tag)


def builder(described: Described, loads: Mapping[str, Load]) -> Load:
    """What makes an instance of an object; `loads` is for the fields, by their names in JSON."""
    attributes = {field.name: field.attribute for field in described.fields}
    tag = described.tag

    def load(value: Any, where: str, notes: list[Note]) -> Any:
        if not isinstance(value, dict):
            forms.wrong(where, value, "an object")
        if tag is not None and value.get(tag[0]) != tag[1]:
            forms.wrong(f"{where}.{tag[0]}", value.get(tag[0]), repr(tag[1]))
        known = {
            attributes[name]: loads[name](entry, f"{where}.{name}", notes)
            for name, entry in value.items()
            if name in attributes
        }
        gone = [name for name in value if name not in attributes and (not tag or name != tag[0])]
        if gone:
            listed = ", ".join(map(repr, gone))
            notes.append(Note("dropped", f"{where} has no {listed}, so that was left out."))
        try:
            return described.make(**known)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where}: {error}") from error

    return load


def _of_struct(field: msgspec.structs.FieldInfo) -> Field:
    default = MISSING if field.default is msgspec.NODEFAULT else field.default
    if field.default_factory in _FACTORIES:
        default = field.default_factory()
    return Field(field.encode_name, field.name, field.type, field.required, default)


def _of_dataclass(field: dataclasses.Field[Any], hints: Mapping[str, Any]) -> Field:
    default, factory = field.default, field.default_factory
    required = default is MISSING and factory is MISSING
    for known in _FACTORIES:
        if factory is known:
            default = known()
    said = field.metadata.get("description")
    description = said if isinstance(said, str) else ""
    return Field(field.name, field.name, hints[field.name], required, default, description)


def _of_typed_dict(kind: type) -> list[Field]:
    needed: frozenset[str] = getattr(kind, "__required_keys__", frozenset())
    fields = []
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        # Where hints are texts, the class itself has not seen these words.
        word = getattr(get_origin(hint), "_name", None)
        required = word == "Required" or (name in needed and word != "NotRequired")
        fields.append(Field(name, name, hint, required))
    return fields
