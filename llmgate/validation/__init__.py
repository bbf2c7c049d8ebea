"""JSON values against JSON Schemas: what is wrong, in words for a model, and lossless coercion.

The schema comes from a client and the value from a model, so neither is trusted: both are
measured before jsonschema-rs sees them, and nothing is ever fetched.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec

from llmgate.errors import RequestError
from llmgate.types import JSONSchema, Note
from llmgate.validation.limits import explosion, fault, fetch_nothing
from llmgate.validation.words import clipped, problem, rendered, shortened

if TYPE_CHECKING:
    from jsonschema_rs import Validator

__all__ = ["Checker", "coerce"]

_MAX_PROBLEMS = 8


class Checker(msgspec.Struct, frozen=True):
    """A compiled schema."""

    schema: JSONSchema
    validator: Validator

    @classmethod
    def of(cls, schema: Any, *, param: str | None = None) -> Checker:
        """Compile a schema; its `$schema` says which draft, 2020-12 where it says nothing.

        Raises RequestError, with `param` as the field at fault, if it is not a schema, refers
        to something outside itself, or is too deep or large to be used safely.
        """
        from jsonschema_rs import ReferencingError, ValidationError, validator_for

        where = param or "The schema"
        if not isinstance(schema, dict | bool):
            raise RequestError(
                f"{where} is not a JSON Schema but {shortened(schema)}.",
                hint="A schema is an object, true or false.",
                param=param,
            )
        if reason := fault(schema, schema=True) or explosion(schema):
            raise RequestError(f"{where} can't be used as a JSON Schema: {reason}.", param=param)
        try:
            validator = validator_for(schema, retriever=fetch_nothing)
        except ValidationError as error:
            at = f" at {rendered(error.instance_path)}" if error.instance_path else ""
            raise RequestError(
                f"{where} is not a valid JSON Schema{at}: {clipped(error.message)}.", param=param
            ) from error
        except (ReferencingError, ValueError, RecursionError) as error:
            raise RequestError(
                f"{where} can't be used as a JSON Schema: {clipped(str(error))}.", param=param
            ) from error
        return cls(schema, validator)

    def problems(self, value: Any) -> list[str]:
        """What keeps a value from being valid: at most eight, each with its path, else none."""
        if reason := fault(value):
            return [f"the value can't be checked: {reason}"]
        if self.validator.is_valid(value):
            return []
        errors = itertools.islice(self.validator.iter_errors(value), _MAX_PROBLEMS)
        return [problem(error) for error in errors]

    def coerce(self, value: Any) -> tuple[Any, tuple[Note, ...]]:
        """What the function `coerce` does, without compiling the schema again."""
        if fault(value) or self.validator.is_valid(value):
            return value, ()
        from llmgate.validation.coercion import Coercion

        return Coercion(self.schema, self.validator).settle(value)


def coerce(value: Any, schema: JSONSchema) -> tuple[Any, tuple[Note, ...]]:
    """Turn a value into what the schema wants, where that loses and invents nothing.

    Only what the schema refuses is touched, never in place, and each change is a note: texts
    of numbers, booleans, objects and arrays become those, numbers become texts, one value
    becomes an array of one, a text becomes the enum member that it means, properties that are
    not allowed go, as does null for an optional property, and a missing required property
    gets its `default`. A valid value comes back itself, without notes; one that can't be made
    valid comes back as far as it got.

    Raises RequestError if the schema is not one.
    """
    return Checker.of(schema).coerce(value)
