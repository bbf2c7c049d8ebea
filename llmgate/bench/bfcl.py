"""Files of the Berkeley Function-Calling Leaderboard (versions 3 and 4), read as cases.

A line has an `id`, the `question` (messages), and the `function`s in a dialect of JSON Schema
with the types of Python, Java or JavaScript. The right answers, `ground_truth`, are in the same
line or, under the same `id`, in the file of the same name in a folder `possible_answer`. Cases of
the irrelevance category have none: no call is right there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from llmgate.bench.cases import Case, Expect, ExpectedCall, Language
from llmgate.errors import ConfigError
from llmgate.types import Message, Tool

_TYPES = {
    "dict": "object",
    "hashmap": "object",
    "hashtable": "object",
    "object": "object",
    "float": "number",
    "double": "number",
    "number": "number",
    "integer": "integer",
    "int": "integer",
    "byte": "integer",
    "short": "integer",
    "long": "integer",
    "bigint": "integer",
    "bool": "boolean",
    "boolean": "boolean",
    "tuple": "array",
    "list": "array",
    "set": "array",
    "queue": "array",
    "stack": "array",
    "arraylist": "array",
    "array": "array",
    "string": "string",
    "char": "string",
    "null": "null",
}
_LANGUAGE_NAMES: dict[Language, str] = {"java": "Java", "javascript": "JavaScript"}
_NO_ANSWERS = "irrelevance"


class _Function(msgspec.Struct, frozen=True):
    name: str
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    description: str = ""


class _Line(msgspec.Struct, frozen=True):
    id: str
    question: list[list[Message]]
    function: list[_Function]
    ground_truth: list[dict[str, dict[str, list[Any]]]] | None = None


class _Answers(msgspec.Struct, frozen=True):
    id: str
    ground_truth: list[dict[str, dict[str, list[Any]]]]


def read(path: Path) -> tuple[Case, ...]:
    """The cases of a file. Raises `ConfigError` that names the file and the line."""
    beside: dict[str, list[dict[str, dict[str, list[Any]]]]] = {}
    answers = path.parent / "possible_answer" / path.name
    if answers.is_file():
        beside = {found.id: found.ground_truth for _, found in _lines(answers, _Answers)}
    cases = []
    for number, line in _lines(path, _Line):
        where = f"{path}, line {number}"
        truth = line.ground_truth if line.ground_truth is not None else beside.get(line.id)
        if truth is None and _NO_ANSWERS not in line.id and _NO_ANSWERS not in path.stem:
            raise ConfigError(
                f"{where}: {line.id!r} has no ground_truth.",
                hint=f"The right answers are looked for in the line itself and in {answers}.",
            )
        if len(line.question) != 1:
            raise ConfigError(
                f"{where}: {line.id!r} has {len(line.question)} turns.",
                hint="Only the leaderboard's categories of one turn can be read.",
            )
        cases.append(_case(path.stem, line, truth or []))
    return tuple(cases)


def schema_of(given: Any) -> Any:
    """A schema of the leaderboard's as JSON Schema: its types are those of programming languages.

    What may be anything gets no type; what is no schema comes back as it is.
    """
    if not isinstance(given, Mapping):
        return given
    made: dict[str, Any] = {}
    for key, value in given.items():
        if key == "type":
            if isinstance(value, str) and (named := _TYPES.get(value.lower())):
                made[key] = named
        elif key == "properties" and isinstance(value, Mapping):
            made[key] = {name: schema_of(inner) for name, inner in value.items()}
        elif key in ("items", "additionalProperties"):
            made[key] = schema_of(value)
        elif key == "required" and not isinstance(value, list):
            continue  # some lines have it inside a property, as a boolean
        elif key == "enum" and not isinstance(value, list):
            continue
        elif key not in ("optional", "format"):
            made[key] = value
    return made


def _lines(path: Path, shape: type[Any]) -> Iterator[tuple[int, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read {path}: {error}.") from error
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, msgspec.json.decode(line, type=shape)
        except msgspec.DecodeError as error:
            raise ConfigError(f"{path}, line {number}: {error}.") from error


def _case(suite: str, line: _Line, truth: list[dict[str, dict[str, list[Any]]]]) -> Case:
    language = _language(line.id)
    functions = {function.name: function for function in line.function}
    expected = tuple(
        ExpectedCall(name, arguments, _types(functions.get(name), arguments, language))
        for call in truth
        for name, arguments in call.items()
    )
    return Case(
        id=line.id,
        suite=suite,
        messages=tuple(line.question[0]),
        tools=tuple(_tool(function, language) for function in line.function),
        expect=Expect("calls", expected) if expected else Expect("no_call"),
        language=language,
    )


def _language(name: str) -> Language:
    if "javascript" in name:
        return "javascript"
    return "java" if "java" in name else "python"


def _tool(function: _Function, language: Language) -> Tool:
    parameters = function.parameters
    if language == "python":
        return Tool(function.name, function.description, schema_of(parameters))
    properties = {
        name: {"type": "string", "description": _described(schema, language)}
        for name, schema in parameters.get("properties", {}).items()
    }
    required = parameters.get("required", [])
    made = {"type": "object", "properties": properties, "required": required}
    return Tool(function.name, function.description, made)


def _described(schema: Mapping[str, Any], language: Language) -> str:
    """What a parameter is for, and how its value has to be written."""
    kind = _type_name(schema)
    wanted = "any type" if kind.lower() == "any" else f"the type {kind}"
    how = f"A {_LANGUAGE_NAMES[language]} expression of {wanted}, written in this text."
    return f"{schema.get('description', '')} {how}".strip()


def _types(
    function: _Function | None, arguments: Mapping[str, Any], language: Language
) -> dict[str, str]:
    """The language's own type of each argument; none for Python, whose types JSON Schema has."""
    if function is None or language == "python":
        return {}
    properties = function.parameters.get("properties", {})
    return {name: _type_name(properties[name]) for name in arguments if name in properties}


def _type_name(schema: Mapping[str, Any]) -> str:
    kind = str(schema.get("type", "any"))
    items = schema.get("items")
    inner = items.get("type") if isinstance(items, Mapping) else None
    return f"{kind}<{inner}>" if isinstance(inner, str) else kind
