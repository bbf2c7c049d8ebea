"""The dialect of `POST /v1/chat/completions`: decoding its bodies.

Source: openai-python `src/openai/types/chat`. Local servers' extras (`top_k`, `min_p`,
`repeat_penalty`, `grammar`) are understood too.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from llmgate.errors import RequestError, Unsupported, suggestion
from llmgate.types import (
    JSONSchema,
    Message,
    Note,
    Request,
    Role,
    Sampling,
    Tool,
    ToolCall,
    ToolChoice,
)
from llmgate.wire.bodies import decoded

_TOOL_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
_AUTHOR_NAME = re.compile(r"[^\s<|\\/>]{1,64}")
# Asked for by some clients, but without influence on the answer.
_BENIGN = frozenset(
    {
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_options",
        "prompt_cache_retention",
        "moderation",
        "cache_prompt",
    }
)
# The values of these parameters that ask for nothing special.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "modalities": (None, ["text"]),
    "n": (None, 1),
}
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(msgspec.Struct):
    type: str = "function"
    function: _Function | None = None


class _Called(msgspec.Struct):
    name: str
    arguments: str | dict[str, Any] | None = None


class _ToolCall(msgspec.Struct):
    function: _Called
    id: str | None = None


class _Part(msgspec.Struct):
    type: str
    text: str | None = None
    refusal: str | None = None


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[_Part] | None = None
    name: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: _Called | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


class _JSONSchemaFormat(msgspec.Struct):
    schema: dict[str, Any] | bool
    name: str | None = None
    strict: bool | None = None


class _ResponseFormat(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JSONSchemaFormat | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


Fraction = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Limit = Annotated[int, Meta(ge=-1)]
Stops = Annotated[list[str], Meta(max_length=16)]


class _Body(msgspec.Struct):
    model: str
    messages: Annotated[list[_Message], Meta(min_length=1)]
    tools: list[_Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[_Function] | None = None
    function_call: str | dict[str, Any] | None = None
    response_format: _ResponseFormat | None = None
    stop: str | Stops | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: int | None = None
    max_tokens: Limit | None = None
    max_completion_tokens: Limit | None = None
    temperature: Annotated[float, Meta(ge=0, le=5)] | None = None
    top_p: Fraction | None = None
    top_k: Annotated[int, Meta(ge=-1)] | None = None
    min_p: Fraction | None = None
    repeat_penalty: Annotated[float, Meta(gt=0)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    grammar: str | None = None
    prompt_cache_key: str | None = None


_HONOURED = frozenset(field for field in _Body.__struct_fields__ if field not in _NEUTRAL)


class ChatRequest(msgspec.Struct, frozen=True):
    """A decoded body: the request, and how its answer is to be written.

    `legacy`: the client used `functions`, so its answer has `function_call`.
    """

    request: Request
    stream: bool = False
    include_usage: bool = False
    legacy: bool = False


def decode(raw: bytes) -> ChatRequest:
    """A body as a request. Raises `RequestError` naming the field that can't be used."""
    data, body = decoded(raw, _Body)
    if body.n is not None and body.n != 1:
        raise Unsupported("Only n=1 is offered.", param="n")
    tools, choice = _tools(body)
    schema = _schema(body)
    if body.grammar is not None and (schema is not None or (tools and choice.mode != "none")):
        raise RequestError(
            "grammar can't be combined with tools or response_format: they make their own.",
            param="grammar",
        )
    return ChatRequest(
        request=Request(
            model=body.model,
            messages=tuple(_message(m, i) for i, m in enumerate(body.messages)),
            tools=tools,
            tool_choice=choice,
            parallel=body.parallel_tool_calls,
            schema=schema,
            grammar=body.grammar,
            stop=_stop(body.stop),
            sampling=_sampling(body),
            notes=tuple(_ignored(data)),
            conversation=body.prompt_cache_key or None,
        ),
        stream=bool(body.stream),
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        legacy=body.functions is not None and body.tools is None,
    )


def _stop(stop: str | list[str] | None) -> tuple[str, ...]:
    """The stop strings; an empty one would end every answer before it begins."""
    return tuple(text for text in ([stop] if isinstance(stop, str) else stop or []) if text)


def _sampling(body: _Body) -> Sampling:
    return Sampling(
        max_tokens=_limit(body),
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=None if body.top_k is None else max(body.top_k, 0),  # -1 is vLLM's "all"
        min_p=body.min_p,
        repeat_penalty=body.repeat_penalty or body.repetition_penalty,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        seed=body.seed,
    )


def _limit(body: _Body) -> int | None:
    """The most tokens to generate; -1 is what clients of local servers send for no limit."""
    for field in ("max_completion_tokens", "max_tokens"):
        limit: int | None = getattr(body, field)
        if limit == 0:
            raise RequestError(f"{field}: 0 leaves no room for an answer.", param=field)
        if limit is not None:
            return limit if limit > 0 else None
    return None


def _ignored(data: dict[str, Any]) -> list[Note]:
    """A note for each parameter that is not honoured."""
    known = _HONOURED
    if data.get("tools") is not None:
        known -= {"functions", "function_call"}
    return [
        Note("ignored_parameter", f"{name} is not supported and was ignored")
        for name, value in data.items()
        if name not in known and name not in _BENIGN and value not in _NEUTRAL.get(name, (None,))
    ]


def _message(message: _Message, index: int) -> Message:
    where = f"messages[{index}]"
    role = _ROLES[message.role]
    content = _text(message.content, f"{where}.content")
    if content is None and role != "assistant":
        raise RequestError(f"{where}.content is missing.", param=f"{where}.content")
    if message.name is not None and not _AUTHOR_NAME.fullmatch(message.name):
        raise RequestError(
            f"{where}.name: {message.name!r} may not have spaces, slashes, or any of <|>.",
            param=f"{where}.name",
        )
    called = message.tool_calls or []
    if message.function_call is not None:
        called = [*called, _ToolCall(message.function_call)]
    return Message(
        role=role,
        content=content,
        tool_calls=tuple(
            ToolCall(c.id or f"call_{index}_{i}", c.function.name, _arguments(c.function.arguments))
            for i, c in enumerate(called)
        ),
        tool_call_id=message.tool_call_id,
        name=message.name,
        reasoning=message.reasoning or message.reasoning_content,
    )


def _text(content: str | list[_Part] | None, where: str) -> str | None:
    if not isinstance(content, list):
        return content
    texts = []
    for i, part in enumerate(content):
        text = part.text if part.type in ("text", "input_text") else part.refusal
        if text is None:
            raise Unsupported(
                f"{where}[{i}]: parts of type {part.type!r} are not supported, only text.",
                param=f"{where}[{i}]",
            )
        texts.append(text)
    return "\n".join(texts)


def _arguments(arguments: str | dict[str, Any] | None) -> str:
    if isinstance(arguments, str):
        return arguments
    return msgspec.json.encode(arguments or {}).decode()


def _tools(body: _Body) -> tuple[tuple[Tool, ...], ToolChoice]:
    if body.tools is None and body.functions is not None:
        field, functions, wanted = "functions", body.functions, body.function_call
        choice_field = "function_call"
    else:
        field, functions, wanted = "tools", [], body.tool_choice
        choice_field = "tool_choice"
        for i, tool in enumerate(body.tools or []):
            if tool.type != "function" or tool.function is None:
                raise Unsupported(
                    f"tools[{i}]: only tools of type 'function' are supported, not {tool.type!r}.",
                    param=f"tools[{i}].type",
                )
            functions.append(tool.function)
    for i, function in enumerate(functions):
        if not _TOOL_NAME.fullmatch(function.name):
            raise RequestError(
                f"{field}[{i}]: the name {function.name!r} must be 1 to 128 letters, digits or "
                "any of _ . : / -",
                param=f"{field}[{i}].name",
            )
    tools = tuple(
        Tool(f.name, f.description or "", f.parameters or {}, f.strict) for f in functions
    )
    return _choose(wanted, tools, choice_field)


def _choose(
    wanted: str | dict[str, Any] | None, tools: tuple[Tool, ...], field: str
) -> tuple[tuple[Tool, ...], ToolChoice]:
    """The tools that the model is shown, and which of them may or has to be called."""
    if isinstance(wanted, dict) and wanted.get("type") == "allowed_tools":
        return tools, _allowed(wanted.get("allowed_tools", wanted), tools, field)
    if isinstance(wanted, dict):
        name = _named(wanted, field)
        _known(name, tools, field)
        return tools, ToolChoice("required", name)
    match wanted:
        case None | "auto":
            return tools, ToolChoice("auto")
        case "none":
            return tools, ToolChoice("none")
        case "required" if tools:
            return tools, ToolChoice("required")
        case "required":
            raise RequestError(f"{field} is 'required', but there are no tools.", param=field)
    raise RequestError(
        f"{field}: {wanted!r} is not one of 'none', 'auto', 'required' or a named function.",
        param=field,
    )


def _allowed(choice: Any, tools: tuple[Tool, ...], field: str) -> ToolChoice:
    """The choice between some of the tools, all of which the model is shown."""
    field = f"{field}.allowed_tools"
    if not isinstance(choice, dict):
        raise RequestError(f"{field} must be an object with mode and tools.", param=field)
    mode, entries = choice.get("mode", "auto"), choice.get("tools")
    if mode not in ("auto", "required"):
        raise RequestError(
            f"{field}.mode: {mode!r} is not one of 'auto' or 'required'.", param=f"{field}.mode"
        )
    if not isinstance(entries, list) or not entries:
        raise RequestError(f"{field}.tools must name a function.", param=f"{field}.tools")
    names = [_named(entry, f"{field}.tools[{i}]") for i, entry in enumerate(entries)]
    for i, name in enumerate(names):
        _known(name, tools, f"{field}.tools[{i}]")
    return ToolChoice(mode, allowed=tuple(dict.fromkeys(names)))


def _named(choice: Any, field: str) -> str:
    """The function that a choice names, in the shape of `tool_choice` or `function_call`."""
    inner = choice.get("function", choice) if isinstance(choice, dict) else None
    name = inner.get("name") if isinstance(inner, dict) else None
    if not isinstance(name, str):
        raise RequestError(f"{field}: {choice!r} names no function.", param=field)
    return name


def _known(name: str, tools: tuple[Tool, ...], field: str) -> None:
    names = [tool.name for tool in tools]
    if name not in names:
        raise RequestError(
            f"{field}: there is no function {name!r}.", hint=suggestion(name, names), param=field
        )


def _schema(body: _Body) -> JSONSchema | None:
    form = body.response_format
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return {"type": "object"}
    if form.json_schema is None:
        raise RequestError(
            "response_format.json_schema is missing.", param="response_format.json_schema"
        )
    return form.json_schema.schema
