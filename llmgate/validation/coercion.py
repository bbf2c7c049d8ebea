"""Coercion led by the validator's errors: what it accepts is never touched.

Each error names a path and what was expected there, which gives the fixes that could be tried.
A fix stays if the errors at its path become fewer and none appears around it. Unions and
wrapping into an array are tried to the end first, and stay only if all is well below them.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from llmgate import repair
from llmgate.errors import OutputError
from llmgate.types import JSONSchema, Note
from llmgate.validation.limits import at, fault, fetch_nothing, resolved
from llmgate.validation.words import rendered, shortened

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

Path = tuple[str | int, ...]

# Errors looked at in one round, rounds, and unions inside unions: bounds on the work, which
# real arguments stay far below.
_MAX_ERRORS = 500
_MAX_ROUNDS = 50
_MAX_NESTING = 3
_SHAPE = frozenset({"type", "enum", "const", "anyOf", "oneOf"})
_WHOLE = "urn:llmgate:schema"
_GONE: Any = object()
_NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,300})(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_BOOLEANS = {"true": True, "false": False}


class Fix(msgspec.Struct, frozen=True):
    """A change of the value at `path` that answers an error at `of`."""

    of: Path
    path: Path
    new: Any
    say: str
    # Whether the new value has to be valid as it is: it is not the model's own.
    final: bool = False


class Coercion:
    """Coerces values for one compiled schema, or for the part of it that `validator` checks."""

    def __init__(self, schema: JSONSchema, validator: Validator) -> None:
        self.schema = schema
        self.validator = validator
        self.nesting = 0
        self.parts: dict[Path, Validator] = {}

    def part(self, path: Path) -> Coercion | None:
        """The coercion for the subschema at a path of the whole schema, None if there is none."""
        from jsonschema_rs import ReferencingError, Registry, ValidationError, validator_for

        if path not in self.parts:
            steps = (str(step).replace("~", "~0").replace("/", "~1") for step in path)
            outer = {"$ref": f"{_WHOLE}#{''.join(f'/{quote(step)}' for step in steps)}"}
            if isinstance(self.schema, dict) and "$schema" in self.schema:
                outer["$schema"] = self.schema["$schema"]
            registry = Registry([(_WHOLE, self.schema)], retriever=fetch_nothing)
            try:
                validator = validator_for(outer, registry=registry, retriever=fetch_nothing)
            except (ValidationError, ReferencingError):
                return None  # in a schema with an $id inside, paths start there
            self.parts[path] = validator
        part = Coercion(self.schema, self.parts[path])
        part.parts = self.parts
        part.nesting = self.nesting + 1
        return part

    def settle(self, value: Any, *, wrap: bool = True) -> tuple[Any, tuple[Note, ...]]:
        """The value after all fixes that hold, and a note for each."""
        notes: list[Note] = []
        refused: set[tuple[Path, str]] = set()
        errors = self.errors(value)
        for _ in range(_MAX_ROUNDS):
            fixes = self.choose(value, errors, refused, wrap)
            if not fixes:
                break
            held = fixes
            trial, after = self.tried(value, errors, fixes)
            if after is None:
                held, trial, after = [], value, errors
                for fix in fixes:
                    single, left = self.tried(trial, after, [fix])
                    if left is None:
                        refused.add((fix.path, fix.say))
                    else:
                        held.append(fix)
                        trial, after = single, left
            value, errors = trial, after
            notes += [Note("coerced", fix.say) for fix in held]
        return value, tuple(notes)

    def met(self, value: Any, wrap: bool) -> Any:
        """The value settled, if it is valid then."""
        settled, _ = self.settle(value, wrap=wrap)
        return settled if self.validator.is_valid(settled) else _GONE

    def errors(self, value: Any) -> list[ValidationError]:
        return list(islice(self.validator.iter_errors(value), _MAX_ERRORS))

    def choose(
        self,
        value: Any,
        errors: Sequence[ValidationError],
        refused: set[tuple[Path, str]],
        wrap: bool,
    ) -> list[Fix]:
        """One fix per path that was not refused, and none below another."""
        chosen: dict[Path, Fix] = {}
        # An enum says more than the type beside it.
        for error in sorted(errors, key=lambda e: e.kind.name not in ("enum", "const")):
            if tuple(error.instance_path) in {fix.of for fix in chosen.values()}:
                continue
            for fix in self.fixes(value, error, wrap):
                if (fix.path, fix.say) not in refused:
                    chosen.setdefault(fix.path, fix)
                    if fix.new is not _GONE:
                        break
        return [
            fix
            for path, fix in chosen.items()
            if not any(path[:n] in chosen for n in range(len(path)))
        ]

    def tried(
        self, value: Any, errors: Sequence[ValidationError], fixes: Sequence[Fix]
    ) -> tuple[Any, list[ValidationError] | None]:
        """The value with the fixes and its errors; None for these if a fix does not hold."""
        trial = value
        for fix in fixes:
            trial = _edited(trial, fix.path, fix.new)
        after = self.errors(trial)
        old, new = _counted(errors), _counted(after)
        old_shape, new_shape = _counted(errors, _SHAPE), _counted(after, _SHAPE)
        for fix in fixes:
            better = new.get(fix.of, 0) < old.get(fix.of, 0)
            # "5" became 5, which is too small: still the better thing to say to the model.
            if fix.path == fix.of and fix.new is not _GONE:
                better = new_shape.get(fix.of, 0) < old_shape.get(fix.of, 0)
            if not better:
                return value, None
            if fix.path and new.get(fix.path[:-1], 0) > old.get(fix.path[:-1], 0):
                return value, None
            if fix.final and any(path[: len(fix.path)] == fix.path for path in new):
                return value, None
        return trial, after

    def fixes(self, value: Any, error: ValidationError, wrap: bool) -> Iterator[Fix]:
        """What could be done about one error, the best first."""
        path: Path = tuple(error.instance_path)
        where = rendered(path) or "the value"
        old = at(value, list(path))
        kind = error.kind.as_dict()
        name = error.kind.name
        new = _GONE
        if name == "type":
            new = _converted(old, kind["types"])
        elif name == "enum":
            new = _member(old, kind["options"])
        elif name == "const":
            new = _member(old, [kind["expected_value"]])
        elif name in ("anyOf", "oneOf"):
            new = self.union(old, error)
        if name == "type" and new is _GONE and "array" in kind["types"] and wrap:
            new = self.wrapped(old, error)
        if new is not _GONE:
            yield Fix(path, path, new, f"{where}: {shortened(old)} became {shortened(new)}.")
        elif name == "additionalProperties" and isinstance(old, dict):
            for key in kind["unexpected"]:
                gone = f"{rendered((*path, key))}: {shortened(old[key])} was dropped, since no "
                yield Fix(path, (*path, key), _GONE, gone + "such property is allowed.")
        elif name == "required":
            key = kind["property"]
            default = self.default(error, key)
            if default is not _GONE:
                say = f"{rendered((*path, key))}: missing, so its default {shortened(default)} "
                yield Fix(path, (*path, key), default, say + "was filled in.", final=True)
        if old is None and path and isinstance(path[-1], str):
            say = f"{where}: null was dropped, since the property may be left out but not null."
            yield Fix(path, path, _GONE, say)

    def wrapped(self, old: Any, error: ValidationError) -> Any:
        """An array of the one value, if that is valid after coercion."""
        if old is None or self.nesting >= _MAX_NESTING:
            return _GONE
        part = self.part(tuple(error.schema_path[:-1]))
        return part.met([old], wrap=False) if part else _GONE

    def union(self, old: Any, error: ValidationError) -> Any:
        """The value at an error of anyOf or oneOf if just one of its alternatives can be met."""
        branches = error.kind.as_dict().get("context") or []
        if self.nesting >= _MAX_NESTING or not all(branches):
            return _GONE
        parts = [self.part((*error.schema_path, n)) for n in range(len(branches))]
        for wrap in (False, True):
            results: list[Any] = []
            for part in parts:
                result = part.met(old, wrap) if part else _GONE
                if result is not _GONE and not any(_same(result, other) for other in results):
                    results.append(result)
            if results:
                return results[0] if len(results) == 1 else _GONE
        return _GONE

    def default(self, error: ValidationError, name: str) -> Any:
        """A copy of the default that the schema gives to a property, if it gives one."""
        node = at(self.schema, [*error.schema_path[:-1], "properties", name])
        for _ in range(_MAX_NESTING):
            if not isinstance(node, dict):
                break
            if "default" in node:
                return json.loads(json.dumps(node["default"]))
            node = resolved(node.get("$ref"), self.schema)
        return _GONE


def _counted(
    errors: Sequence[ValidationError], kinds: frozenset[str] | None = None
) -> Counter[Path]:
    return Counter(tuple(e.instance_path) for e in errors if not kinds or e.kind.name in kinds)


def _edited(value: Any, path: Path, new: Any) -> Any:
    """A copy of the value with something new at a path; what is beside the path is shared."""
    holder: Any = [value]
    root, step = holder, 0
    key: str | int = step
    for following in path:
        holder[key] = holder[key].copy()
        holder, key = holder[key], following
    if new is _GONE:
        holder.pop(key, None)
    else:
        holder[key] = new
    return root[0]


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and type(one) is type(other)


def _converted(old: Any, types: Sequence[str]) -> Any:
    """The value as one of the types, if there is just one way to see it so."""
    found: list[Any] = []
    # An integer is a number, so "5" is one thing for both.
    for kind in sorted(types, key=lambda t: t != "integer"):
        new = _as(old, kind)
        if new is not _GONE and not (kind == "number" and new in found):
            found.append(new)
    return found[0] if len(found) == 1 else _GONE


def _as(old: Any, kind: str) -> Any:
    """A value as a JSON type, if nothing is lost by that."""
    text = old.strip() if isinstance(old, str) else None
    match kind:
        case "boolean" if text is not None:
            return _BOOLEANS.get(text.lower(), _GONE)
        case "integer" | "number":
            number = _number(text) if text is not None else old
            if isinstance(number, bool) or not isinstance(number, int | float):
                return _GONE
            if kind == "integer" and isinstance(number, float):
                exact = number.is_integer() and abs(number) < 2**53
                return int(number) if exact else _GONE
            return number
        case "string" if isinstance(old, bool | int | float):
            return json.dumps(old)
        case "object" | "array" if text and text[0] in "{[" and text[-1] in "}]":
            return _parsed(text, dict if kind == "object" else list)
    return _GONE


def _number(text: str) -> Any:
    if not _NUMBER.fullmatch(text):
        return _GONE
    try:
        return int(text)
    except ValueError:
        number = float(text)
        return number if math.isfinite(number) else _GONE


def _parsed(text: str, kind: type) -> Any:
    try:
        found = repair.loads(text, max_depth=repair.MAX_DEPTH)
    except OutputError:
        return _GONE
    whole = len(found.values) == 1 and not found.truncated and not fault(found.value)
    return found.value if whole and isinstance(found.value, kind) else _GONE


def _member(old: Any, options: Sequence[Any]) -> Any:
    """The one member of an enum that a value means: case and white space around don't count."""
    if old is None or isinstance(old, dict | list):
        return _GONE
    text = _text(old)
    for fold in (str.strip, lambda t: t.strip().casefold()):
        found = [
            option
            for option in options
            if option is not None
            and not isinstance(option, dict | list)
            and fold(_text(option)) == fold(text)
        ]
        if found:
            return found[0] if len(found) == 1 else _GONE
    return _GONE


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
