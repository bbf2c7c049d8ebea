"""Calls among JSON values that are not what the scanner expects: mended, nested, oddly keyed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from llmgate.errors import OutputError
from llmgate.styles import Style
from llmgate.types import Note
from llmgate.wrappers import rough
from llmgate.wrappers.rough import Cut
from llmgate.wrappers.spec import Thoughts

# A text with more calls than this is noise, or hostile.
MOST_CALLS = 128
# What models trained on other layouts write for a style's two keys.
_NAME_KEYS = ("name", "tool_name", "function_name", "function", "tool", "recipient_name")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input", "params")
_OTHER_KEYS = ("id", "tool_call_id", "call_id", "index", "type")
_NAMESPACE = re.compile(r"\A(?:functions?|tools?|default_api)[.:/]")
_NUMBER = re.compile(r":[0-9]{1,9}\Z")
_QUOTED = re.compile(r"""["']([\w./:-]{1,256})["']""")
_HALF_A_PAIR = re.compile(r"[\ud800-\udfff]")
_CUT_SAYS = {
    "string": "the call of {!r} is cut off in the middle of a string",
    "between": "the call of {!r} is cut off",
}


class RoughCall(msgspec.Struct, frozen=True):
    """A call as far as it could be read. `cut`: whether it ends too early, and where.

    The notes say what was mended (`repaired`), or that the call is cut off (`truncated`).
    """

    name: str
    arguments: dict[str, Any]
    thoughts: str = ""
    notes: tuple[Note, ...] = ()
    cut: Cut = "no"


class ObjectReader:
    """Reads the calls that are JSON objects with a name in them."""

    def __init__(
        self, style: Style, schemas: Mapping[str, Mapping[str, Any]], place: Thoughts, key: str
    ) -> None:
        self._style = style
        self._schemas = schemas
        self._place = place
        self._thoughts_key = key

    def _objects(self, text: str, *, ended: bool) -> list[RoughCall]:
        """The calls among the JSON values of a text."""
        try:
            found = rough.mended(text, self._shape(text), ended=ended)
        except OutputError:
            return []
        values = [value for value in _flat(found.values) if self._says_name(value)]
        cut = rough.cut_of(found, text)
        if cut != "no" and values and not self._has_arguments(values[-1]):
            values.pop()  # its name may be half of one
        calls: list[RoughCall] = []
        for number, value in enumerate(values, 1):
            notes = list(found.notes) if number == 1 else []
            calls.append(self._object(value, cut if number == len(values) else "no", notes))
        return calls

    def _has_arguments(self, value: dict[str, Any]) -> bool:
        return any(isinstance(member, dict | list) for member in value.values()) or len(value) > 1

    def _shape(self, text: str) -> dict[str, Any]:
        """What the objects in a text look like, so that a string's end is found more surely."""
        quoted = set(_QUOTED.findall(text))
        names = [name for name in self._schemas if name in quoted]
        arguments = dict(self._schemas[names[0]]) if len(names) == 1 else {}
        if self._style.head == "keyed":
            return {"properties": dict.fromkeys(names, arguments)}
        properties = {self._style.function_key: {"type": "string"}, self._thoughts_key: {}}
        return {"properties": {**properties, self._style.arguments_key: arguments}}

    def _says_name(self, value: dict[str, Any]) -> str | dict[str, Any] | None:
        """What stands where a call names its function; None if the value is no call."""
        style = self._style
        for key in dict.fromkeys((style.function_key, *_NAME_KEYS)):  # each once: they nest
            name = value.get(key)
            if isinstance(name, dict) and self._says_name(name) is not None:
                return name
            if not isinstance(name, str):
                continue
            # An object with a "name" may be anything, one with arguments too is a call.
            own = not style.bare or key == "function" or style.arguments_key in value
            if (key == style.function_key and own) or self._function(name, []) in self._schemas:
                return name
        if len(value) == 1 and isinstance(next(iter(value.values())), dict):
            name = next(iter(value))
            if style.head == "keyed" or self._function(name, []) in self._schemas:
                return str(name)
        return None

    def _object(self, value: dict[str, Any], cut: Cut, notes: list[Note]) -> RoughCall:
        said = self._says_name(value)
        thoughts = value.get(self._thoughts_key) if self._place != "off" else None
        while isinstance(said, dict):  # a call inside the call, as the chat API has it
            notes.append(Note("repaired", "a call inside the call's name was taken out"))
            value, said = said, self._says_name(said)
            thoughts = value.get(self._thoughts_key, thoughts) if self._place != "off" else None
        name = str(said)
        if len(value) == 1 and name in value:
            arguments = value[name]
        else:
            arguments, inner = self._object_arguments(value, notes)
            cut = cut if inner == "no" else inner
        return self._call(self._function(name, notes), arguments, thoughts, cut, notes)

    def _object_arguments(
        self, value: dict[str, Any], notes: list[Note]
    ) -> tuple[dict[str, Any], Cut]:
        """Raises `OutputError` for arguments that are no object."""
        for key in (self._style.arguments_key, *_ARGUMENT_KEYS):
            if key not in value:
                continue
            found = value[key]
            if found is None or found == "":
                return {}, "no"
            if isinstance(found, str) and (inner := rough.json_object(found, {}, ended=False)):
                inner.note("the arguments were JSON inside a string")
                notes.extend(inner.notes)
                return inner.arguments, inner.cut
            if isinstance(found, dict):
                return dict(found), "no"
            shown = json.dumps(found, ensure_ascii=False)[:80]
            raise OutputError(f"{key} must be a JSON object, not {shown}.")
        # No arguments' object at all: they stand beside the name, or there are none.
        names = {self._style.function_key, *_NAME_KEYS, *_OTHER_KEYS}
        if self._place != "off":
            names.add(self._thoughts_key)
        beside = {key: argument for key, argument in value.items() if key not in names}
        if beside:
            notes.append(Note("repaired", "arguments beside the function's name were taken"))
        return beside, "no"

    def _function(self, name: str, notes: list[Note]) -> str:
        """The function that a name means: one that there is, or the name as it is."""
        if name in self._schemas:
            return name
        shorter = _NUMBER.sub("", _NAMESPACE.sub("", name, count=1))
        if shorter in self._schemas:
            notes.append(Note("repaired", f"{name!r} was read as {shorter!r}"))
            return shorter
        return name

    def _call(
        self, name: str, arguments: dict[str, Any], thoughts: Any, cut: Cut, notes: list[Note]
    ) -> RoughCall:
        """A call without the thoughts among its arguments, and with a note if it is cut."""
        key, schema = self._thoughts_key, self._schemas.get(name, {})
        if self._place != "off" and key not in schema.get("properties", {}):
            thoughts = arguments.pop(key, thoughts)
        if cut != "no":
            notes.append(Note("truncated", _CUT_SAYS[cut].format(name)))
        said = thoughts if isinstance(thoughts, str) else ""
        return RoughCall(name, sendable(arguments), said, tuple(notes), cut)


def sendable(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments without halves of surrogate pairs: these can be neither stored nor sent."""
    text = json.dumps(arguments, ensure_ascii=False)
    if not _HALF_A_PAIR.search(text):
        return arguments
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return dict(json.loads(whole))


def _flat(values: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """The objects among values, those in lists and in a message's `tool_calls` too."""
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        elif isinstance(value, dict):
            inner = value.get("tool_calls")
            yield from _flat(inner) if isinstance(inner, list) else (value,)
