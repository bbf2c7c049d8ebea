"""The list of functions as the model reads it: names, descriptions, parameters with types."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from llmgate.styles import Style
from llmgate.types import Tool, ToolCall
from llmgate.wrappers.spec import Options, Spec
from llmgate.wrappers.writing import write_calls

PREAMBLE = (
    "You can call functions. To call one, answer with JSON only: "
    'an object with the keys "{function}" and "{arguments}".'
)
PREAMBLE_MANY = " Several calls go one per line."
PREAMBLE_MARKED = "You can call functions. To call one, write its name and arguments like this:"
PREAMBLE_MARKED_MANY = (
    "You can call functions, several at once. Write their names and arguments like this:"
)
THOUGHTS = "What you think before you call, in a few private words."
_MAX_DEPTH = 6
_SHOWN_VALUES = 30


def function_list(
    tools: Sequence[Tool], spec: Spec, style: Style, options: Options, *, parallel: bool
) -> str:
    """Preamble and list, as they stand at the end of the system text.

    It does not depend on the request's tool_choice: the prompt's head stays the same from
    turn to turn, and with it the server's prefix cache.
    """
    if style.bare:
        preamble = _bare_preamble(spec, style, options, parallel)
    else:
        preamble = spec.preamble or _marked_preamble(style, parallel)
    inside = {spec.thoughts_key: THOUGHTS} if options.inner_thoughts == "inside" else {}
    render = _json if options.function_list == "json" else _lines
    listed = "\n".join(line for tool in tools for line in render(tool, inside))
    return f"{preamble}\n\nAvailable functions:\n{listed}"


def with_thoughts(tool: Tool, key: str) -> Tool:
    """The tool with a first, required parameter for what the model thinks."""
    own = tool.parameters.get("properties", {})
    if key in own:
        return tool
    parameters = {
        **(tool.parameters or {"type": "object"}),
        "properties": {key: {"type": "string", "description": THOUGHTS}, **own},
        "required": [key, *tool.parameters.get("required", [])],
    }
    return msgspec.structs.replace(tool, parameters=parameters)


def _bare_preamble(spec: Spec, style: Style, options: Options, parallel: bool) -> str:
    preamble = (
        (spec.preamble or PREAMBLE)
        .replace("{function}", style.function_key)
        .replace("{arguments}", style.arguments_key)
    )
    if parallel:
        preamble += PREAMBLE_MANY
    if options.inner_thoughts == "beside":
        preamble += f' Before them comes "{spec.thoughts_key}": {THOUGHTS}'
    return preamble


def _marked_preamble(style: Style, parallel: bool) -> str:
    """An example says more about marks than words do."""
    example = ToolCall("call00001", "FUNCTION", '{"PARAMETER": "VALUE"}')
    written = write_calls(style, [example] * (2 if parallel else 1), {})
    return f"{PREAMBLE_MARKED_MANY if parallel else PREAMBLE_MARKED}\n{written.strip()}"


def _json(tool: Tool, inside: dict[str, str]) -> Iterator[str]:
    for key in inside:
        tool = with_thoughts(tool, key)
    entry = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    yield json.dumps(entry, ensure_ascii=False)


def _lines(tool: Tool, inside: dict[str, str]) -> Iterator[str]:
    yield f"  {tool.name}:"
    if tool.description:
        yield f"    description: {_one_line(tool.description, 4)}"
    yield "    params:"
    own = tool.parameters.get("properties", {})
    for name, description in inside.items():
        if name not in own:
            yield f"      {name}: {description}"
    yield from _properties(tool.parameters, tool.parameters, 6, 0)


def _properties(schema: Any, root: dict[str, Any], indent: int, depth: int) -> Iterator[str]:
    """A line for each property of an object schema, nested ones below it."""
    schema = _resolved(schema, root)
    properties = schema.get("properties")
    if not isinstance(properties, dict) or depth > _MAX_DEPTH:
        return
    required = schema.get("required")
    required = required if isinstance(required, list) else []
    for name, child in properties.items():
        child = _resolved(child, root)
        facts = [_kind(child, root)]
        if name not in required:
            facts.append("optional")
        if "default" in child:
            facts.append(f"default {_value(child['default'])}")
        description = child.get("description")
        text = f" {_one_line(description, indent)}" if isinstance(description, str) else ""
        yield f"{' ' * indent}{name}:{text} ({', '.join(facts)})"
        yield from _properties(_inner(child, root), root, indent + 2, depth + 1)


def _kind(schema: dict[str, Any], root: dict[str, Any]) -> str:
    """The type of a schema in words: `string`, `array of integer`, `one of "a", "b"`."""
    if "const" in schema:
        return f"always {_value(schema['const'])}"
    if isinstance(values := schema.get("enum"), list):
        shown = ", ".join(_value(value) for value in values[:_SHOWN_VALUES])
        return f"one of {shown}" + (", …" if len(values) > _SHOWN_VALUES else "")
    for keyword in ("anyOf", "oneOf"):
        if isinstance(branches := schema.get(keyword), list):
            kinds = (_kind(_resolved(branch, root), root) for branch in branches)
            return " or ".join(dict.fromkeys(kinds))
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(str(name) for name in kind)
    if kind == "array":
        items = _resolved(schema.get("items"), root)
        return f"array of {_kind(items, root)}" if items else "array"
    if isinstance(kind, str):
        form = schema.get("format")
        return f"{kind}, {form}" if isinstance(form, str) else kind
    return "object" if "properties" in schema else "any"


def _inner(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """The schema whose properties are listed below a property: its own, or its items'."""
    return schema.get("items") if schema.get("type") == "array" else schema


def _resolved(schema: Any, root: dict[str, Any]) -> dict[str, Any]:
    """The schema itself, local references followed; what can't be followed shows as empty."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            return schema
        target: Any = root
        for part in reference.removeprefix("#").split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            target = target.get(part) if isinstance(target, dict) else None
        schema = target
    return {}


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _one_line(text: str, indent: int) -> str:
    """Further lines of a description stay below the first, where they can't look like entries."""
    return text.strip().replace("\n", f"\n{' ' * (indent + 4)}")
