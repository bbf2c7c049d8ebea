"""What servers with `/v1/chat/completions` are sent: a request's messages as their JSON.

Source: openai-python `src/openai/types/chat`, and the documents of the servers in the table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from llmgate.backends.chat_rows import Row
from llmgate.backends.strict import strict
from llmgate.types import JSONSchema, Message, Note, Request, Sampling, Tool, ToolCall, ToolChoice

_ANY_OBJECT: tuple[JSONSchema, ...] = (True, {}, {"type": "object"})
_SCHEMA_NAME = "answer"


class Asked(msgspec.Struct, frozen=True):
    """A body, and what of the request it could not say."""

    body: dict[str, Any]
    notes: tuple[Note, ...] = ()


def asked(request: Request, row: Row, model: str, *, constrain: bool = True) -> Asked:
    """The request as this kind of server is sent it; what nobody chose is left out.

    Without `constrain` no schema is sent.
    """
    fields, notes = sampled(request.sampling, row)
    schema = request.schema if constrain else None
    tools, choice = _tools(request, row)
    fields |= {
        "stop": list(request.stop[: row.stops]) or None,
        "tools": [tool_of(tool, subset=row.subset) for tool in tools] or None,
        "tool_choice": choice if tools else None,
        "parallel_tool_calls": request.parallel if tools else None,
        "response_format": None if schema is None else _format(schema, row),
    }
    body = {
        "model": model,
        "messages": [message_of(message) for message in told(request, row)],
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: value for name, value in fields.items() if value is not None},
    }
    return Asked(body, tuple(notes))


def sampled(sampling: Sampling, row: Row) -> tuple[dict[str, Any], list[Note]]:
    """How the next token is chosen in the server's words, and notes on what it has no word for."""
    fields: dict[str, Any] = {row.limit: sampling.max_tokens}
    notes = []
    for name in sampling.__struct_fields__:
        value = getattr(sampling, name)
        if value is None or name == "max_tokens":
            continue
        for word in row.sampling.get(name, ()):
            fields[word] = value
        if name not in row.sampling:
            message = f"{name} is unknown to {row.kind} and was left out"
            notes.append(Note("ignored_parameter", message))
    return fields, notes


def told(request: Request, row: Row) -> Sequence[Message]:
    """The messages, with the schema of the answer where the model would not see it."""
    if request.schema is None:
        return request.messages
    if row.shows_schema and not (row.objects and request.schema in _ANY_OBJECT):
        return request.messages
    if request.schema in _ANY_OBJECT:
        # OpenAI refuses to be asked for JSON by messages that don't say so.
        if any(re.search("json", message.content or "", re.I) for message in request.messages):
            return request.messages
        instruction = "Answer with a JSON object."
    else:
        written = msgspec.json.encode(request.schema).decode()
        instruction = f"Answer with JSON that matches this schema: {written}"
    first, *others = request.messages or (Message("system", ""),)
    if first.role != "system":
        return (Message("system", instruction), *request.messages)
    text = f"{first.content}\n{instruction}" if first.content else instruction
    return (msgspec.structs.replace(first, content=text), *others)


def message_of(message: Message) -> dict[str, Any]:
    """One message."""
    written: dict[str, Any] = {"role": message.role, "content": message.content or ""}
    if message.role == "tool":
        return {**written, "tool_call_id": message.tool_call_id or ""}
    if message.name is not None:
        written["name"] = message.name
    if message.tool_calls:
        written["content"] = message.content or None
        written["tool_calls"] = [_call(call) for call in message.tool_calls]
    return written


def tool_of(tool: Tool, *, subset: bool = False) -> dict[str, Any]:
    """One tool. In the strict `subset` it is sent where the client wants it strict."""
    parameters = tool.parameters or {"type": "object", "properties": {}}
    function: dict[str, Any] = {"name": tool.name, "parameters": parameters}
    if tool.description:
        function["description"] = tool.description
    if subset and tool.strict and (narrowed := strict(parameters)) is not None:
        function |= {"parameters": narrowed, "strict": True}
    return {"type": "function", "function": function}


def _tools(request: Request, row: Row) -> tuple[tuple[Tool, ...], str | dict[str, Any] | None]:
    """The tools to send, and the choice between them.

    All of them, so that the server's cache stays warm, where it can be told which may be called.
    """
    choice: ToolChoice = request.tool_choice
    word = None if choice.mode == "auto" else choice.mode
    names = choice.allowed if choice.name is None else (choice.name,)
    if not names or choice.mode == "none":
        return request.tools, word
    if choice.forced and len(names) == 1 and row.choices == "named":
        return request.tools, _named(names[0])
    if row.allows:
        named = [_named(name) for name in names]
        allowed = {"mode": choice.mode, "tools": named}
        return request.tools, {"type": "allowed_tools", "allowed_tools": allowed}
    return tuple(tool for tool in request.tools if tool.name in names), word


def _named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def _format(schema: JSONSchema, row: Row) -> dict[str, Any]:
    """The schema of the answer. Where it is not in the strict subset it is a hint."""
    if row.objects and schema in _ANY_OBJECT:
        return {"type": "json_object"}
    sent: JSONSchema = {} if schema is True else schema
    held = True
    if row.subset:
        narrowed = strict(sent)
        sent, held = (sent, False) if narrowed is None else (narrowed, True)
    named = {"name": _SCHEMA_NAME, "strict": held, "schema": sent}
    return {"type": "json_schema", "json_schema": named}


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}
