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

import msgspec

from llmgate import repair
from llmgate.errors import OutputError
from llmgate.types import JSONSchema, Note
from llmgate.validation.limits import at, fault, resolved
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
    """Coerces values for one compiled schema."""

    def __init__(self, schema: JSONSchema, validator: Validator) -> None:
        self.schema = schema
        self.validator = validator

    def settle(
        self, value: Any, *, below: Path = (), nesting: int = 0, wrap: bool = True
    ) -> tuple[Any, tuple[Note, ...]]:
        """The value after all fixes `below` a path that hold, and a note for each."""
        notes: list[Note] = []
        refused: set[tuple[Path, str]] = set()
        errors = self.errors(value)
        for _ in range(_MAX_ROUNDS):
            inside = [e for e in errors if tuple(e.instance_path)[: len(below)] == below]
            fixes = self.choose(value, inside, refused, nesting, wrap)
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

    def errors(self, value: Any) -> list[ValidationError]:
        return list(islice(self.validator.iter_errors(value), _MAX_ERRORS))

    def choose(
        self,
        value: Any,
        errors: Sequence[ValidationError],
        refused: set[tuple[Path, str]],
        nesting: int,
        wrap: bool,
    ) -> list[Fix]:
        """One fix per path that was not refused, and none below another."""
        chosen: dict[Path, Fix] = {}
        # An enum says more than the type beside it.
        for error in sorted(errors, key=lambda e: e.kind.name not in ("enum", "const")):
            if tuple(error.instance_path) in {fix.of for fix in chosen.values()}:
                continue
            for fix in self.fixes(value, error, nesting, wrap):
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
            if fix.path == fix.of and fix.new is not _GONE and not fix.final:
                better = new_shape.get(fix.of, 0) < old_shape.get(fix.of, 0)
            if not better:
                return value, None
            if fix.path and new.get(fix.path[:-1], 0) > old.get(fix.path[:-1], 0):
                return value, None
            if fix.final and any(path[: len(fix.path)] == fix.path for path in new):
                return value, None
        return trial, after

    def fixes(self, value: Any, error: ValidationError, nesting: int, wrap: bool) -> Iterator[Fix]:
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
            new = self.union(value, error, nesting)
        if new is not _GONE:
            yield Fix(path, path, new, f"{where}: {shortened(old)} became {shortened(new)}.")
        elif name == "type" and "array" in kind["types"] and wrap and old is not None:
            trial = _edited(value, path, [old])
            whole, _ = self.settle(trial, below=path, nesting=nesting, wrap=False)
            new = at(whole, list(path))
            say = f"{where}: {shortened(old)} became {shortened(new)}."
            yield Fix(path, path, new, say, final=True)
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

    def union(self, value: Any, error: ValidationError, nesting: int) -> Any:
        """The value at an error of anyOf or oneOf if just one of its alternatives can be met."""
        branches = error.kind.as_dict().get("context") or []
        if nesting >= _MAX_NESTING or any(not branch for branch in branches):
            return _GONE
        for wrap in (False, True):
            results: list[Any] = []
            for number in range(len(branches)):
                result = self.branch(value, error, number, nesting + 1, wrap)
                if result is not _GONE and not any(_same(result, other) for other in results):
                    results.append(result)
            if results:
                return results[0] if len(results) == 1 else _GONE
        return _GONE

    def branch(
        self, value: Any, error: ValidationError, number: int, nesting: int, wrap: bool
    ) -> Any:
        """The value at the error after coercing it to one alternative, if that can be done."""
        path: Path = tuple(error.instance_path)
        key = (error.instance_path, error.evaluation_path)
        for _ in range(_MAX_ROUNDS):
            fixes = []
            for inner in error.kind.as_dict()["context"][number]:
                answers = list(self.fixes(value, inner, nesting, wrap))
                if not answers or answers[0].path[: len(path)] != path:
                    return _GONE
                # Dropped properties come one by one, everything else is a choice.
                fixes += answers if answers[0].new is _GONE else answers[:1]
            if any(fix.new is _GONE and fix.path == path for fix in fixes):
                return _GONE
            for fix in {fix.path: fix for fix in reversed(fixes)}.values():
                value = _edited(value, fix.path, fix.new)
            errors = self.errors(value)
            left = [e for e in errors if (e.instance_path, e.evaluation_path) == key]
            if not left:
                below = any(tuple(e.instance_path)[: len(path)] == path for e in errors)
                return _GONE if below else at(value, list(path))
            error = left[0]
            if error.kind.as_dict().get("context", [[]])[number : number + 1] in ([], [[]]):
                return _GONE
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
        found = repair.loads(text)
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
