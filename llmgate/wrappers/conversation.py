"""Messages as a template sees them: text with its calls written out in the wrapper's way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from llmgate import repair
from llmgate.errors import OutputError
from llmgate.types import Message, ToolCall
from llmgate.wrappers.spec import Options, Spec

View = dict[str, Any]


def views(messages: Sequence[Message], appendix: str, spec: Spec, options: Options) -> list[View]:
    """One dict a message: `role`, `name`, `content`, `calls`, and `text`, both of them joined.

    `appendix` (the functions) goes to the end of the first system message, which is made if
    there is none.
    """
    shown = [_view(message, spec, options) for message in messages]
    if appendix:
        if not shown or shown[0]["role"] != "system":
            shown.insert(0, _of("system", "", "", None))
        text = shown[0]["content"]
        text = f"{text}\n{appendix}" if text else appendix
        shown[0] = _of("system", text, "", shown[0]["name"])
    return shown


def _view(message: Message, spec: Spec, options: Options) -> View:
    content = message.content or ""
    if message.role in ("user", "tool"):
        content = _packaged(content, options)
    thoughts = content if message.role == "assistant" and message.tool_calls else ""
    if options.inner_thoughts != "off" and thoughts:
        content = ""
    calls = "\n".join(
        write_call(call, thoughts if index == 0 else "", spec, options)
        for index, call in enumerate(message.tool_calls)
    )
    return _of(message.role, content, calls, None if message.role == "tool" else message.name)


def _of(role: str, content: str, calls: str, name: str | None) -> View:
    text = f"{content}\n{calls}" if content and calls else content or calls
    return {"role": role, "name": name, "content": content, "calls": calls, "text": text}


def write_call(call: ToolCall, thoughts: str, spec: Spec, options: Options) -> str:
    """A call as the model would have written it, its arguments to the letter."""
    arguments = _object(call.arguments)
    first = f"{_quoted(spec.thoughts_key)}: {_quoted(thoughts)}"
    head = ""
    if options.inner_thoughts == "beside":
        head = f"{first}, "
    elif options.inner_thoughts == "inside" and spec.thoughts_key not in _decoded(arguments):
        inner = arguments[1:].lstrip()
        arguments = f"{{{first}{inner}" if inner == "}" else f"{{{first}, {inner}"
    text = (
        f"{{{head}{_quoted(spec.function_key)}: {_quoted(call.name)}, "
        f"{_quoted(spec.arguments_key)}: {arguments}}}"
    )
    return reindent(text, options.indent)


def reindent(text: str, indent: int) -> str:
    """JSON text with other white space and nothing else changed."""
    return msgspec.json.format(text, indent=indent)


def _object(arguments: str) -> str:
    """The arguments as the text of an object, mended if a client sends back broken ones."""
    text = arguments.strip() or "{}"
    if isinstance(_decoded(text), dict):
        return text
    try:
        value = repair.loads(text).value
    except OutputError:
        value = text
    return json.dumps(value if isinstance(value, dict) else {"value": value}, ensure_ascii=False)


def _decoded(text: str) -> Any:
    """The value of a JSON text, None where it is not JSON (nothing here needs a null)."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None


def _packaged(content: str, options: Options) -> str:
    """What is shown of content that may be packaged JSON."""
    if options.json_content == "verbatim" or not content.lstrip().startswith("{"):
        return content
    value = _decoded(content)
    if not isinstance(value, dict):
        return content
    if options.json_content == "indented":
        return reindent(content, options.indent)
    message = value.get("message")
    is_user = value.get("type") == "user_message" and isinstance(message, str)
    return str(message) if is_user else content


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
