"""Tools in the form that chat templates know, and simpler ones for templates that fail on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llmgate.types import Tool
from llmgate.wrappers.kinds import resolved

# given: the schema as it came. completed: each property has a description and a type, and no
# reference is left. simple: the properties of the arguments themselves, one type each.
Detail = Literal["given", "completed", "simple"]
_MAX_DEPTH = 6


def tool_views(
    tools: Sequence[Tool], detail: Detail, key: str = "", description: str = ""
) -> list[dict[str, Any]]:
    """Tools as dicts of the OpenAI API; with `key` each gets one more parameter, the first."""
    return [_view(tool, detail, key, description) for tool in tools]


def _view(tool: Tool, detail: Detail, key: str, description: str) -> dict[str, Any]:
    parameters = tool.parameters
    if detail == "completed":
        parameters = _completed(parameters, parameters, 0)
    elif detail == "simple":
        parameters = _simple(parameters)
    # Templates go through the properties without looking whether there are any.
    if "properties" not in parameters and parameters.get("type", "object") == "object":
        parameters = {"type": "object", **parameters, "properties": {}}
    if key and key not in parameters.get("properties", {}):
        own = {key: {"type": "string", "description": description}}
        parameters = {
            **parameters,
            "properties": {**own, **parameters.get("properties", {})},
            "required": list(dict.fromkeys([key, *parameters.get("required", [])])),
        }
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters,
    }
    return {"type": "function", "function": function}


def _completed(schema: Any, root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """A schema in which nothing is missing that a template may count on."""
    schema = resolved(schema, root)
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return {"type": "string", "description": ""}
    done = {k: v for k, v in schema.items() if k not in ("$defs", "definitions", "$ref")}
    done["type"] = _type(schema)
    if depth:
        done.setdefault("description", "")
    if done["type"] == "object":
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        done["properties"] = {
            name: _completed(child, root, depth + 1) for name, child in properties.items()
        }
        done.setdefault("required", [])
        if not isinstance(done.get("additionalProperties"), Mapping):
            done["additionalProperties"] = {"type": "string", "description": ""}
    if done["type"] == "array":
        done["items"] = _completed(schema.get("items", {}), root, depth + 1)
    return done


def _simple(schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    shown = {}
    for name, child in (properties if isinstance(properties, Mapping) else {}).items():
        child = resolved(child, schema)
        child = child if isinstance(child, Mapping) else {}
        shown[name] = {"type": _type(child), "description": str(child.get("description", ""))}
    required = [name for name in schema.get("required", []) if name in shown]
    return {"type": "object", "properties": shown, "required": required}


def _type(schema: Mapping[str, Any]) -> str:
    """One type for a schema that may allow several."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"
