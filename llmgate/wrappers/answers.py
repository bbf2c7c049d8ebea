"""What an answer has to be, and how a whole text is judged by that: mended, coerced, checked."""

from __future__ import annotations

import json
import secrets
from typing import Any

import msgspec

from llmgate import repair
from llmgate.errors import OutputError, suggestion
from llmgate.types import Note
from llmgate.validation import Checker
from llmgate.wrappers.scanner import CallScanner, Unreadable, ends_in_string
from llmgate.wrappers.spec import Options, Spec
from llmgate.wrappers.tools import Toolset

# What models trained on other layouts write for our two keys.
_NAME_KEYS = ("name", "tool", "function_name")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input")


class Task(msgspec.Struct, frozen=True):
    """What one answer has to be.

    `tools` are the ones it may call (None: no calls), `only` the one that it has to, `checker`
    is that of the schema which a text answer has to satisfy. `live`: a complete grammar holds
    the backend, so that pieces may be passed on before the whole is judged.
    """

    spec: Spec
    options: Options
    tools: Toolset | None = None
    only: str | None = None
    must_call: bool = False
    parallel: bool = False
    checker: Checker | None = None
    live: bool = False

    def scanner(self) -> CallScanner:
        """A scanner for one call."""
        keep = () if self.tools is None else self.tools.with_parameter(self.spec.thoughts_key)
        return CallScanner(self.spec, self.options.inner_thoughts, keep)

    def check_call(self, name: str, arguments: str) -> None:
        """Raise `OutputError` if a call that was passed on as it came is not valid."""
        assert self.tools is not None
        self._known(name, arguments)
        value = _strict(arguments)
        problems = self.tools.checkers[name].problems(value)
        if problems:
            raise OutputError(_invalid(self.spec.arguments_key, name, problems), text=arguments)

    def check_text(self, text: str) -> None:
        """Raise `OutputError` if a text that was passed on as it came breaks the schema."""
        assert self.checker is not None
        if problems := self.checker.problems(_strict(text)):
            raise OutputError(f"the answer is not valid: {'; '.join(problems)}", text=text)

    def mend_text(self, text: str) -> tuple[str, tuple[Note, ...]]:
        """The text answer that satisfies the schema. Raises `OutputError` if there is none."""
        assert self.checker is not None
        found = repair.loads(text)
        _refuse_cut_string(found, text)
        value, notes = found.value, found.notes
        if problems := self.checker.problems(value):
            value, coerced = self.checker.coerce(value)
            notes += coerced
            problems = self.checker.problems(value)
        if problems:
            raise OutputError(f"the answer is not valid: {'; '.join(problems)}", text=text)
        return (json.dumps(value, ensure_ascii=False) if notes else text), notes

    def read_calls(self, text: str) -> tuple[tuple[Call, ...], tuple[Note, ...]]:
        """The calls in a whole answer; none if it is an answer in words.

        Raises `OutputError`, whose message tells the model what was wrong with its call.
        """
        try:
            found = repair.loads(text)
        except OutputError:
            return (), ()
        values = [v for v in found.values if isinstance(v, dict) and self._named(v) is not None]
        if not values:
            return (), ()
        _refuse_cut_string(found, text)
        notes = list(found.notes)
        if len(values) > 1 and not self.parallel:
            notes.append(Note("dropped", f"one call was asked for, {len(values) - 1} more dropped"))
            values = values[:1]
        calls = tuple(self._call(value, text, notes) for value in values)
        written = None if notes else self._as_written(text)
        return ((written,) if written else calls), tuple(notes)

    def _named(self, value: dict[str, Any]) -> str | dict[str, Any] | None:
        """What stands where a call names its function; None if this is no call."""
        for key in (self.spec.function_key, *_NAME_KEYS):
            name = value.get(key)
            if isinstance(name, dict) and self._named(name) is not None:
                return name
            if isinstance(name, str) and (key == self.spec.function_key or self._has(name)):
                return name
        return None

    def _call(self, value: dict[str, Any], text: str, notes: list[Note]) -> Call:
        spec, thinks = self.spec, self.options.inner_thoughts != "off"
        name = self._named(value)
        while isinstance(name, dict):  # the model began the object again after its prefix
            notes.append(Note("repaired", "a call inside the call's name was taken out"))
            value, name = name, self._named(name)
        self._known(name := str(name), text)
        arguments = self._arguments(value, notes)
        thoughts = value.get(spec.thoughts_key) if thinks else None
        assert self.tools is not None
        if thinks and name not in self.tools.with_parameter(spec.thoughts_key):
            thoughts = arguments.pop(spec.thoughts_key, thoughts)
        checker = self.tools.checkers[name]
        if problems := checker.problems(arguments):
            arguments, coerced = checker.coerce(arguments)
            notes.extend(coerced)
            problems = checker.problems(arguments)
        if problems:
            raise OutputError(_invalid(spec.arguments_key, name, problems), text=text)
        written = json.dumps(arguments, ensure_ascii=False)
        return Call(name, written, thoughts if isinstance(thoughts, str) else "")

    def _arguments(self, value: dict[str, Any], notes: list[Note]) -> dict[str, Any]:
        for key in (self.spec.arguments_key, *_ARGUMENT_KEYS):
            if key not in value:
                continue
            found = value[key]
            if isinstance(found, str) and found.lstrip().startswith("{"):
                found = repair.loads(found).value
                notes.append(Note("coerced", f"{key}: JSON inside a string was read as JSON"))
            if found is None:
                return {}
            if isinstance(found, dict):
                return dict(found)
            shown = json.dumps(found, ensure_ascii=False)[:80]
            raise OutputError(f"{key} must be a JSON object, not {shown}.")
        # No arguments' object at all: they stand beside the name, or there are none.
        names = {self.spec.function_key, self.spec.thoughts_key, *_NAME_KEYS}
        beside = {key: argument for key, argument in value.items() if key not in names}
        if beside:
            notes.append(Note("repaired", "arguments beside the function's name were taken"))
        return beside

    def _known(self, name: str, text: str) -> None:
        assert self.tools is not None
        if not self._has(name):
            hint = suggestion(name, self.tools.by_name)
            raise OutputError(f"there is no function {name!r}.", hint=hint, text=text)
        if self.only not in (None, name):
            raise OutputError(f"the function to call is {self.only!r}, not {name!r}.", text=text)

    def _has(self, name: str) -> bool:
        return self.tools is not None and name in self.tools.by_name

    def _as_written(self, text: str) -> Call | None:
        """The call to the letter, if the text is one of the expected shape and nothing else."""
        scanner = self.scanner()
        try:
            events = list(scanner.feed(text))
        except Unreadable:
            return None
        if not scanner.done or scanner.rest.strip():
            return None
        name, arguments, thoughts = (
            "".join(event.text for event in events if event.kind == kind)
            for kind in ("name", "arguments", "thoughts")
        )
        return Call(name, arguments or "{}", thoughts)


class Call(msgspec.Struct, frozen=True):
    """A call that has passed its tool's schema."""

    name: str
    arguments: str
    thoughts: str = ""


def new_call_id() -> str:
    """An identifier for a call, in the form that clients know."""
    return f"call_{secrets.token_hex(12)}"


def _refuse_cut_string(found: repair.Repaired, text: str) -> None:
    """Missing brackets can be put back, but what a cut string would have said is lost."""
    if found.truncated and ends_in_string(text):
        raise OutputError("the answer is cut off in the middle of a string.", text=text)


def _strict(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OutputError(f"the answer is not JSON: {error}.", text=text) from error


def _invalid(key: str, name: str, problems: list[str]) -> str:
    return f"the {key} of {name!r} are not valid: {'; '.join(problems)}"
