"""JSON Schemas of whole answers, for backends that take those in place of grammars."""

from __future__ import annotations

from typing import Any

import msgspec

from llmgate.styles import Style
from llmgate.types import JSONSchema, Request, Tool
from llmgate.wrappers.spec import Options, Spec

_MOST_CALLS = 16
_REF = "$ref"


class Held(msgspec.Struct, frozen=True):
    """The beginning of an answer, which the prompt writes, and the schema of what follows it."""

    prefill: str
    schema: JSONSchema


def answer_schema(
    request: Request, tools: tuple[Tool, ...], style: Style, options: Options, spec: Spec
) -> Held | None:
    """What holds an answer to this request where only a schema can; None where no schema does.

    That is an answer that has to be JSON, or a forced call whose style writes it as JSON behind
    a mark that the prompt can begin. `tools` are those that may be called, `request.parallel` is
    settled. A call or text, as with `auto`, is none that a schema could hold.
    """
    if not tools:
        return None if request.schema is None else Held("", request.schema)
    if not request.tool_choice.forced:
        return None
    wanted = request.tool_choice.name
    tools = tuple(tool for tool in tools if wanted in (None, tool.name))
    if any(_anchored(tool.parameters) for tool in tools):
        return None
    if style.head == "named":
        return _named(tools, style, options, spec)
    parts = _Parts()
    ways = [_call(tool, style, options, spec, parts) for tool in tools]
    call = ways[0] if len(ways) == 1 else {"anyOf": ways}
    # A list that the style's mark begins is better written as one list.
    mark = style.open or style.begin
    if style.begin and style.open:
        mark = style.open + style.begin
    if not mark.rstrip().endswith("["):
        return Held(mark, parts.with_root(call))
    most = _MOST_CALLS if request.parallel else 1
    calls = {"type": "array", "items": call, "minItems": 1, "maxItems": most}
    return Held(mark.rstrip()[:-1], parts.with_root(calls))


def _named(tools: tuple[Tool, ...], style: Style, options: Options, spec: Spec) -> Held | None:
    """Where the name stands in front of the arguments, which function it is must be clear."""
    if len(tools) != 1 or style.arguments != "json" or "{" in style.open + style.begin:
        return None
    if options.inner_thoughts == "beside":
        return None
    (tool,) = tools
    parts = _Parts()
    schema = _arguments(tool, options, spec, parts)
    middle = style.middle.replace("{n}", str(style.first))
    if "{" in middle:
        return None
    return Held(f"{style.open}{style.begin}{tool.name}{middle}", parts.with_root(schema))


class _Parts:
    """The schemas that others refer to: inside another schema their references lead elsewhere."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def inside(self, schema: dict[str, Any]) -> dict[str, Any]:
        """What stands for a schema inside another one."""
        if not _mentions(schema, _REF):
            return {key: value for key, value in schema.items() if key != "$schema"}
        name = f"part{len(self._kept)}"
        self._kept[name] = _moved(schema, f"#/$defs/{name}")
        return {_REF: f"#/$defs/{name}"}

    def with_root(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema with all that it refers to."""
        return {**schema, "$defs": self._kept} if self._kept else schema


def _call(tool: Tool, style: Style, options: Options, spec: Spec, parts: _Parts) -> dict[str, Any]:
    """The schema of one call's object."""
    arguments = _arguments(tool, options, spec, parts)
    if style.head == "keyed":
        return _object({tool.name: arguments})
    properties: dict[str, Any] = {}
    if options.inner_thoughts == "beside":
        properties[spec.thoughts_key] = {"type": "string"}
    properties[style.function_key] = {"const": tool.name}
    properties[style.arguments_key] = arguments
    return _object(properties)


def _arguments(tool: Tool, options: Options, spec: Spec, parts: _Parts) -> dict[str, Any]:
    """The schema of a tool's arguments, with the thoughts where they stand among them."""
    schema = tool.parameters or {"type": "object"}
    properties = schema.get("properties", {})
    if options.inner_thoughts == "inside" and spec.thoughts_key not in properties:
        schema = {
            **schema,
            "properties": {spec.thoughts_key: {"type": "string"}, **properties},
            "required": [spec.thoughts_key, *schema.get("required", ())],
        }
    return parts.inside(schema)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _anchored(schema: Any) -> bool:
    """Whether references in a schema may count from somewhere else than its root."""
    return any(_mentions(schema, key) for key in ("$id", "id", "$anchor", "$dynamicRef"))


def _mentions(value: Any, key: str) -> bool:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if isinstance(one.get(key), str):
                return True
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return False


def _moved(value: Any, root: str) -> Any:
    """A schema whose references count from `root`; deeper than any tool's schema is refused."""
    if isinstance(value, list):
        return [_moved(item, root) for item in value]
    if not isinstance(value, dict):
        return value
    moved = {key: _moved(item, root) for key, item in value.items() if key != "$schema"}
    target = value.get(_REF)
    if isinstance(target, str) and target.startswith("#"):
        moved[_REF] = root + target[1:]
    return moved
