"""The classes that a function's hints name: their schemas, where those of others come from."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

import msgspec

from llmgate.agent.functions.forms import Form, Load, Unusable, wrong
from llmgate.types import Note

_REF = "#/$defs/"
_ONE = ("items", "additionalProperties", "not", "propertyNames", "contains", "if", "then", "else")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "$defs", "patternProperties", "dependentSchemas")
# Names for people, and a hint that only says again what the branches do.
_NEEDLESS = ("title", "discriminator")


class Definitions:
    """Schemas by name; each class is described once, so that classes may name themselves."""

    def __init__(self) -> None:
        self.schemas: dict[str, dict[str, Any]] = {}
        self._names: dict[Any, str] = {}
        self._loads: dict[Any, Load] = {}

    def known(self, kind: Any) -> str | None:
        """The name of a class that was announced."""
        return self._names.get(kind)

    def form(self, kind: Any) -> Form:
        """The form of a class that was announced: its schema is a reference."""
        return Form({"$ref": _REF + self._names[kind]}, self._loads[kind])

    def announce(self, kind: Any, wanted: str, load: Load) -> str:
        """Give a class its name, before its fields are looked at."""
        name = self._free(wanted)
        self._names[kind] = name
        self._loads[kind] = load
        self.schemas[name] = {}
        return name

    def define(self, name: str, schema: dict[str, Any]) -> None:
        """Say what an announced name stands for."""
        self.schemas[name] = schema

    def adopt(self, schema: dict[str, Any], others: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        """Take over a schema that somebody else made, and the definitions that it names."""
        names = {name: self._free(name) if name in self.schemas else name for name in others}
        for name, other in others.items():
            self.schemas[names[name]] = _renamed(other, names)
        return _renamed(schema, names)

    def settled(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema with the definitions in their places; those that go round stay in `$defs`."""
        reached = {name: self._reached(name) for name in self.schemas}
        round_ = {name for name, others in reached.items() if name in others}
        whole: dict[str, Any] = self._inlined(schema, round_)
        used = set(_named(whole))
        while more := {n for one in used for n in _named(self.schemas[one]) if n in round_} - used:
            used |= more
        if not used:
            return whole
        kept = {name: self._inlined(self.schemas[name], round_) for name in sorted(used)}
        return {**whole, "$defs": kept}

    def _free(self, name: str) -> str:
        tried, count = name, 1
        while tried in self.schemas:
            count += 1
            tried = f"{name}{count}"
        return tried

    def _reached(self, start: str) -> set[str]:
        found: set[str] = set()
        pending = list(_named(self.schemas[start]))
        while pending:
            name = pending.pop()
            if name not in found and name in self.schemas:
                found.add(name)
                pending += _named(self.schemas[name])
        return found

    def _inlined(self, schema: Any, kept: set[str]) -> Any:
        if not isinstance(schema, dict):
            return schema
        name = _name_in(schema)
        if name is not None and name not in kept and name in self.schemas:
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            return {**self._inlined(self.schemas[name], kept), **beside}
        return _mapped(schema, lambda inner: self._inlined(inner, kept))


def foreign(kind: Any, definitions: Definitions) -> Form | None:
    """The form of a pydantic model, None for other classes: pydantic need not be there."""
    if not hasattr(kind, "model_json_schema"):
        return None
    if definitions.known(kind) is None:
        name = definitions.announce(kind, kind.__name__, _model_load(kind))
        try:
            schema = dict(kind.model_json_schema(ref_template=_REF + "{model}"))
        # What pydantic raises for types that have no schema, or names that it can't resolve.
        except (TypeError, ValueError, RuntimeError, NameError) as error:
            said = str(error).partition("\n")[0]
            raise Unusable(f"{kind.__name__} has no JSON Schema: {said}") from error
        others = schema.pop("$defs", {})
        definitions.define(name, definitions.adopt(schema, others))
    return definitions.form(kind)


def plain(value: Any) -> Any:
    """A Python value as JSON has it. Raises ValueError for one that it does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} has no form in JSON")
    try:
        return msgspec.json.decode(msgspec.json.encode(value, enc_hook=_encoded))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{value!r} has no form in JSON") from error


def closed(schema: Any) -> Any:
    """The schema with no other properties in objects than those that it lists."""
    if not isinstance(schema, dict):
        return schema
    done = _mapped(schema, closed)
    if "properties" in done and "additionalProperties" not in done:
        done["additionalProperties"] = False
    return done


def _model_load(kind: Any) -> Load:
    def load(value: Any, where: str, notes: list[Note]) -> Any:
        if not isinstance(value, dict | list | str | int | float):
            wrong(where, value, "an object")
        try:
            return kind.model_validate(value)
        except ValueError as error:
            listed = error.errors() if hasattr(error, "errors") else []
            reasons = [
                ".".join([where, *map(str, one.get("loc", ()))]) + f": {one.get('msg', '')}"
                for one in listed[:3]
            ]
            raise ValueError("; ".join(reasons) or f"{where}: {error}") from error

    return load


def _encoded(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _mapped(schema: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """A copy of a schema with each schema right inside it changed."""
    done: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _NEEDLESS and isinstance(value, str | dict):
            continue
        if key in _ONE:
            done[key] = change(value)
        elif key in _LISTS and isinstance(value, list):
            done[key] = [change(one) for one in value]
        elif key in _MAPS and isinstance(value, dict):
            done[key] = {name: change(one) for name, one in value.items()}
        else:
            done[key] = value
    return done


def _renamed(schema: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    def inside(inner: Any) -> Any:
        return _renamed(inner, names) if isinstance(inner, dict) else inner

    done = _mapped(schema, inside)
    name = _name_in(schema)
    if name is not None and name in names:
        done["$ref"] = _REF + names[name]
    return done


def _name_in(schema: Mapping[str, Any]) -> str | None:
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith(_REF):
        return reference.removeprefix(_REF)
    return None


def _named(schema: Any) -> Iterator[str]:
    """The names of the definitions that a schema refers to."""
    found: list[str] = []

    def visit(inner: Any) -> Any:
        if isinstance(inner, dict):
            if (name := _name_in(inner)) is not None:
                found.append(name)
            _mapped(inner, visit)
        return inner

    visit(schema)
    return iter(found)
