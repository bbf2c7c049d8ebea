"""Text as it can be stored, and what of a message searches look at."""

from __future__ import annotations

import msgspec

from llmgate.types import Message, ToolCall

# The function by which an agent speaks to a person, and its argument.
SAY = "send_message"
_SAID = "message"
_FROM_PEOPLE = "event:user_message"
# Turns that came with the agent: nobody has said them.
_SHIPPED = "boot"


def storable(text: str) -> str:
    """The text, with halves of surrogate pairs joined, or replaced where the other is missing.

    Models write such halves as JSON escapes; no store can keep them, and no client read them.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def storable_message(message: Message) -> Message:
    """The message, with all its texts as they can be stored."""
    calls = tuple(
        ToolCall(
            storable(call.id), storable(call.name), storable(call.arguments), _optional(call.error)
        )
        for call in message.tool_calls
    )
    return msgspec.structs.replace(
        message,
        content=_optional(message.content),
        tool_calls=calls,
        tool_call_id=_optional(message.tool_call_id),
        name=_optional(message.name),
        reasoning=_optional(message.reasoning),
    )


def spoken(kind: str, message: Message) -> str:
    """What searches look at: what a person said, or what the agent thought and said.

    Empty for what nobody said: system events, results of functions, turns that came with the
    agent.
    """
    if kind == _SHIPPED:
        return ""
    if message.role == "user":
        if not kind.startswith(_FROM_PEOPLE):
            return ""
        content = message.content or ""
        said = _argument(content)
        return content if said is None else said
    if message.role != "assistant":
        return ""
    parts = [message.content or ""]
    parts += [_argument(call.arguments) or "" for call in message.tool_calls if call.name == SAY]
    return storable("\n".join(part for part in parts if part.strip()))


def _argument(text: str) -> str | None:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    said = value.get(_SAID) if isinstance(value, dict) else None
    return storable(said) if isinstance(said, str) else None


def _optional(text: str | None) -> str | None:
    return None if text is None else storable(text)
