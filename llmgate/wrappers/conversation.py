"""Messages as a template sees them: text with its calls written out in the wrapper's way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from llmgate import repair
from llmgate.errors import OutputError
from llmgate.styles import Style
from llmgate.types import JSONSchema, Message, Tool, ToolCall
from llmgate.wrappers.memory import Memory
from llmgate.wrappers.spec import Options, Spec
from llmgate.wrappers.turns import Turn
from llmgate.wrappers.writing import write_calls

# How many first messages are kept.
_HEADS = 64

View = dict[str, Any]
Schemas = Mapping[str, JSONSchema]


class Views:
    """The messages as one template with its options sees them; each one is made once."""

    def __init__(self, spec: Spec, style: Style, options: Options) -> None:
        self._spec = spec
        self._style = style
        self._options = options
        self._kept: Memory[Turn] = Memory()
        # The first messages with their appendices, as those of most requests are the same.
        self._headed: dict[tuple[str, str | None], Turn] = {}

    def of(self, messages: Sequence[Message], appendix: str, tools: Sequence[Tool]) -> list[Turn]:
        """One dict a message: `role`, `name`, `content`, `calls`, and `text`, both of them joined.

        `packaged` is the `type` of content that is packaged JSON, else None.

        `appendix` (the functions) goes to the end of the first system message, which is made if
        there is none.
        """
        schemas = {tool.name: tool.parameters for tool in tools}
        shown = self._kept.of(messages, tools, lambda message: Turn(self._view(message, schemas)))
        if appendix:
            if not shown or shown[0]["role"] != "system":
                shown.insert(0, Turn(_of("system", "", "", None)))
            text = shown[0]["content"]
            text = f"{text}\n{appendix}" if text else appendix
            shown[0] = self._head(text, shown[0]["name"])
        return shown

    def _head(self, text: str, name: str | None) -> Turn:
        kept = self._headed.get((text, name))
        if kept is None:
            if len(self._headed) >= _HEADS:
                self._headed.clear()
            kept = self._headed[text, name] = Turn(_of("system", text, "", name))
        return kept

    def _view(self, message: Message, schemas: Schemas) -> View:
        return _view(message, self._spec, self._style, self._options, schemas)


def _view(
    message: Message,
    spec: Spec,
    style: Style,
    options: Options,
    schemas: Schemas,
) -> View:
    content = message.content or ""
    packaged = _package_type(content) if message.role == "user" else None
    if message.role in ("user", "tool"):
        content = _packaged(content, options)
    thoughts = content if message.role == "assistant" and message.tool_calls else ""
    # Thoughts that have no place in the call itself are the words before it.
    beside = options.inner_thoughts == "beside" and style.head == "object"
    if beside or options.inner_thoughts == "inside":
        content = "" if thoughts else content
    else:
        thoughts = ""
    calls = ""
    if message.tool_calls:
        calls = write_calls(
            style,
            mended(message.tool_calls),
            schemas,
            thoughts=thoughts,
            thoughts_key=spec.thoughts_key,
            place=options.inner_thoughts,
            indent=options.indent,
        )
    name = None if message.role == "tool" else message.name
    return {**_of(message.role, content, calls, name), "packaged": packaged}


def _of(role: str, content: str, calls: str, name: str | None) -> View:
    text = f"{content}\n{calls}" if content and calls else content or calls
    return {
        "role": role,
        "name": name,
        "content": content,
        "calls": calls,
        "text": text,
        "packaged": None,
    }


def reindent(text: str, indent: int) -> str:
    """JSON text with other white space and nothing else changed."""
    return msgspec.json.format(text, indent=indent)


def mended(calls: Sequence[ToolCall]) -> list[ToolCall]:
    """The calls, each with arguments that are a JSON object."""
    return [msgspec.structs.replace(c, arguments=arguments_text(c.arguments)) for c in calls]


def arguments_text(arguments: str) -> str:
    """The arguments as the text of an object, mended if a client sends back broken ones."""
    text = arguments.strip() or "{}"
    if isinstance(_decoded(text), dict):
        return text
    try:
        value = repair.loads(text, max_depth=repair.MAX_DEPTH).value
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


def _package_type(content: str) -> str | None:
    value = _decoded(content) if content.lstrip().startswith("{") else None
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else None
