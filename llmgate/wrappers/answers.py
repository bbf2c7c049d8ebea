"""What an answer has to be, and how a whole text is judged by that: mended, coerced, checked."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

import msgspec

from llmgate import repair
from llmgate.errors import OutputError, suggestion
from llmgate.styles import Pair, Style
from llmgate.types import JSONSchema, Note
from llmgate.validation import Checker
from llmgate.wrappers.scanner import StyleScanner, Unreadable, ends_in_string
from llmgate.wrappers.spec import Thoughts
from llmgate.wrappers.tools import Toolset

# What models trained on other layouts write for a style's two keys.
_NAME_KEYS = ("name", "tool", "function_name", "tool_name", "function")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input", "params")


_NAMED = re.compile(rf"""["'](?:{"|".join(_NAME_KEYS)})["']\s*:\s*["']([^"'\\]+)["']""")


class Task(msgspec.Struct, frozen=True):
    """What one answer has to be.

    `tools` are the ones that are listed (None: no calls), `only` the names of those that it may
    call, empty for all, `checker` is that of the schema which a text answer has to satisfy.
    `live`: a complete grammar holds the backend, so that pieces may be passed on before the whole
    is judged.
    """

    style: Style
    reasoning: tuple[Pair, ...] = ()
    thoughts: Thoughts = "off"
    thoughts_key: str = "inner_thoughts"
    tools: Toolset | None = None
    only: tuple[str, ...] = ()
    must_call: bool = False
    parallel: bool = False
    checker: Checker | None = None
    live: bool = False

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """The schemas of the tools' arguments by the tools' names."""
        return {} if self.tools is None else self.tools.schemas

    @property
    def one_function(self) -> bool:
        """Whether there is no choice between functions."""
        return len(self.only or self.schemas) == 1

    def scanner(self) -> StyleScanner:
        """A scanner for one call."""
        return StyleScanner(
            self.style, self.schemas, place=self.thoughts, thoughts_key=self.thoughts_key
        )

    def check_call(self, name: str, arguments: str) -> None:
        """Raise `OutputError` if a call that was passed on as it came is not valid."""
        self._known(name, arguments)
        self.check_value(name, _strict(arguments), arguments)

    def check_value(self, name: str, value: Any, arguments: str) -> None:
        """As `check_call`, where the arguments have been decoded."""
        assert self.tools is not None
        self._known(name, arguments)
        problems = self.tools.checkers[name].problems(value)
        if problems:
            raise OutputError(_invalid(name, problems), text=arguments)

    def check_text(self, text: str) -> None:
        """Raise `OutputError` if a text that was passed on as it came breaks the schema."""
        assert self.checker is not None
        if problems := self.checker.problems(_strict(text)):
            raise OutputError(f"the answer is not valid: {'; '.join(problems)}", text=text)

    def mend_text(self, text: str) -> tuple[str, tuple[Note, ...]]:
        """The text answer that satisfies the schema. Raises `OutputError` if there is none."""
        assert self.checker is not None
        found = repair.loads(text, schema=self.checker.schema, max_depth=repair.MAX_DEPTH)
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
        if calls := self._as_written(text):
            if self.parallel or len(calls) == 1:
                return calls, ()
            return calls[:1], (dropped(len(calls) - 1),)
        try:
            found = repair.loads(text, schema=self._call_schema(text), max_depth=repair.MAX_DEPTH)
        except OutputError:
            return (), ()
        listed = [v for one in found.values for v in (one if isinstance(one, list) else [one])]
        values = [v for v in listed if isinstance(v, dict) and self._named(v) is not None]
        if len(values) == 1 and self.only_thoughts(text) is not None:
            return (), ()
        if not values:
            return (), ()
        _refuse_cut_string(found, text)
        notes = list(found.notes)
        if len(values) > 1 and not self.parallel:
            notes.append(dropped(len(values) - 1))
            values = values[:1]
        calls = tuple(self._call(value, text, notes) for value in values)
        return calls, tuple(notes)

    def _call_schema(self, text: str) -> JSONSchema | None:
        """What the object of a bare call looks like that names a function we know."""
        if not (found := _NAMED.search(text)) or found[1] not in self.schemas:
            return None
        keys = (self.style.function_key, *_NAME_KEYS)
        properties: dict[str, Any] = {key: {"type": "string"} for key in keys}
        for key in (self.style.arguments_key, *_ARGUMENT_KEYS):
            properties[key] = self.schemas[found[1]]
        if self.thoughts != "off":
            properties[self.thoughts_key] = {"type": "string"}
        return {"type": "object", "properties": properties}

    def only_thoughts(self, text: str) -> str | None:
        """What an object says that has thoughts beside and names no function; else None.

        Models that may think without calling write it so: MemGPT's "noforce" wrappers.
        """
        if self.thoughts != "beside" or self.must_call or not text.lstrip().startswith("{"):
            return None
        try:
            value = repair.loads(text, max_depth=repair.MAX_DEPTH).value
        except OutputError:
            return None
        if not isinstance(value, dict) or value.get(self.style.function_key) not in (None, "none"):
            return None
        thoughts = value.get(self.thoughts_key)
        return thoughts if isinstance(thoughts, str) else None

    def judge(
        self, name: str, arguments: dict[str, Any], thoughts: str, text: str, notes: list[Note]
    ) -> Call:
        """The valid call that was meant; what had to be changed is added to `notes`.

        Raises `OutputError`, whose message tells the model what was wrong with its call.
        """
        self._known(name, text)
        assert self.tools is not None
        checker = self.tools.checkers[name]
        if problems := checker.problems(arguments):
            arguments, coerced = checker.coerce(arguments)
            notes.extend(coerced)
            problems = checker.problems(arguments)
        if problems:
            raise OutputError(_invalid(name, problems), text=text)
        return Call(name, json.dumps(arguments, ensure_ascii=False), thoughts)

    def judge_written(self, name: str, arguments: str, thoughts: str, notes: list[Note]) -> Call:
        """As `judge`, for arguments whose text is kept to the letter where it is valid."""
        self._known(name, arguments)
        assert self.tools is not None
        try:
            value = json.loads(arguments)
        except (ValueError, RecursionError):
            found = repair.loads(arguments, schema=self.schemas[name], max_depth=repair.MAX_DEPTH)
            _refuse_cut_string(found, arguments)
            value = found.value
            notes.extend(found.notes)
        if not isinstance(value, dict):
            raise OutputError(f"the arguments of {name!r} must be a JSON object.", text=arguments)
        if not notes and not self.tools.checkers[name].problems(value):
            return Call(name, arguments, thoughts)
        return self.judge(name, value, thoughts, arguments, notes)

    def _named(self, value: dict[str, Any]) -> str | dict[str, Any] | None:
        """What stands where a call names its function; None if this is no call."""
        for key in dict.fromkeys((self.style.function_key, *_NAME_KEYS)):  # each once: they nest
            name = value.get(key)
            if isinstance(name, dict) and self._named(name) is not None:
                return name
            # An object with a "name" may be anything, one with arguments too is a call.
            own = key == self.style.function_key and (
                key == "function" or self.style.arguments_key in value
            )
            if isinstance(name, str) and (own or self._has(name)):
                return name
        return None

    def _call(self, value: dict[str, Any], text: str, notes: list[Note]) -> Call:
        key = self.thoughts_key
        name = self._named(value)
        while isinstance(name, dict):  # the model began the object again after its prefix
            notes.append(Note("repaired", "a call inside the call's name was taken out"))
            value, name = name, self._named(name)
        self._known(name := str(name), text)
        arguments = self._arguments(value, notes)
        thoughts = value.get(key) if self.thoughts != "off" else None
        assert self.tools is not None
        if self.thoughts != "off" and name not in self.tools.with_parameter(key):
            thoughts = arguments.pop(key, thoughts)
        return self.judge(
            name, arguments, thoughts if isinstance(thoughts, str) else "", text, notes
        )

    def _arguments(self, value: dict[str, Any], notes: list[Note]) -> dict[str, Any]:
        for key in (self.style.arguments_key, *_ARGUMENT_KEYS):
            if key not in value:
                continue
            found = value[key]
            if isinstance(found, str) and found.lstrip().startswith("{"):
                found = repair.loads(found, max_depth=repair.MAX_DEPTH).value
                notes.append(Note("coerced", f"{key}: JSON inside a string was read as JSON"))
            if found is None:
                return {}
            if isinstance(found, dict):
                return dict(found)
            shown = json.dumps(found, ensure_ascii=False)[:80]
            raise OutputError(f"{key} must be a JSON object, not {shown}.")
        # No arguments' object at all: they stand beside the name, or there are none.
        names = {self.style.function_key, self.thoughts_key, *_NAME_KEYS}
        beside = {key: argument for key, argument in value.items() if key not in names}
        if beside:
            notes.append(Note("repaired", "arguments beside the function's name were taken"))
        return beside

    def _known(self, name: str, text: str) -> None:
        assert self.tools is not None
        if not self._has(name):
            hint = suggestion(name, self.tools.by_name)
            raise OutputError(f"there is no function {name!r}.", hint=hint, text=text)
        if self.only and name not in self.only:
            names = " or ".join(map(repr, self.only))
            raise OutputError(f"the function to call is {names}, not {name!r}.", text=text)

    def _has(self, name: str) -> bool:
        return self.tools is not None and name in self.tools.by_name

    def _as_written(self, text: str) -> tuple[Call, ...]:
        """The calls to the letter, if the text is valid calls of the style and nothing else."""
        calls: list[Call] = []
        notes: list[Note] = []
        while text := text.strip():
            scanner = self.scanner()
            try:
                events = list(scanner.feed(text))
            except Unreadable:
                return ()
            if not scanner.done:
                return ()
            name, arguments, thoughts = (
                "".join(event.text for event in events if event.kind == kind)
                for kind in ("name", "arguments", "thoughts")
            )
            if not self._has(name):
                return ()
            try:
                calls.append(self.judge_written(name, arguments or "{}", thoughts, notes))
            except OutputError:
                return ()
            text = scanner.rest
        return () if notes else tuple(calls)


def dropped(count: int) -> Note:
    """The note on calls that nobody asked for."""
    return Note("dropped", f"one call was asked for, {count} more dropped")


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


def _invalid(name: str, problems: list[str]) -> str:
    return f"the arguments of {name!r} are not valid: {'; '.join(problems)}"
