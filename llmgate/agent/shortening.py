"""Messages that are too long for the prompt, with their middle left out; storage keeps all of it.

What is left out is said in its place. The JSON of events, results and arguments stays JSON.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from llmgate.types import Message, ToolCall

# Shorter than this a text is not worth cutting: what is said of the cut is as long.
_LEAST = 24
# With less than this of a text the model is told no more than that there was more.
_EXPLAINED = 400
# So many characters are needed to say that something is left out.
_NOTED = 40
# Of what is kept, the beginning gets this share and the end the rest.
_BEGINNING = 2 / 3
# How much less is kept of each text, from one try to the next.
_LESS = 0.7

Count = Callable[[str], Awaitable[int]]


async def within(message: Message, limit: int, count: Count) -> Message:
    """The message with at most `limit` tokens of text, as far as it can be cut down to that.

    The same message, limit and tokenizer give the same text: prompts begin alike.
    """
    text = _all(message)
    if not await _too_long(text, limit, count):
        return message
    keep = min(len(text), limit * 6)
    while keep > _LEAST:
        shorter = shortened(message, keep)
        if not await _too_long(_all(shorter), limit, count):
            return shorter
        keep = int(keep * _LESS)
    return shortened(message, _LEAST)


def fits_surely(message: Message, limit: int) -> bool:
    """Whether the message can't have more than `limit` tokens: a token is a byte or more."""
    size = len(message.content or "") + len(message.reasoning or "")
    for call in message.tool_calls:
        size += len(call.arguments)
    if size * 4 <= limit:
        return True
    return size <= limit and len(_all(message).encode("utf-8", "surrogatepass")) <= limit


def shortened(message: Message, keep: int) -> Message:
    """The message with about `keep` characters of each of its texts."""
    content = message.content
    if content is not None and len(content) > keep:
        content = _content(content, keep)
    reasoning = message.reasoning
    if reasoning is not None:
        reasoning = cut(reasoning, keep)
    calls = tuple(
        msgspec.structs.replace(call, arguments=_arguments(call, keep))
        if len(call.arguments) > keep
        else call
        for call in message.tool_calls
    )
    return msgspec.structs.replace(message, content=content, reasoning=reasoning, tool_calls=calls)


def cut(text: str, keep: int) -> str:
    """The beginning and the end of a text, `keep` characters of it, and what is left out."""
    left_out = len(text) - keep
    if left_out <= _NOTED:
        return text
    begin = int(keep * _BEGINNING)
    end = text[len(text) - (keep - begin) :] if keep > begin else ""
    why = " to fit your context" if keep >= _EXPLAINED else ""
    said = f"[… {left_out} characters left out{why} …]"
    return f"{text[:begin]} {said} {end}".rstrip()


def _all(message: Message) -> str:
    return "\n".join(
        [
            message.content or "",
            message.reasoning or "",
            *(call.arguments for call in message.tool_calls),
        ]
    )


async def _too_long(text: str, limit: int, count: Count) -> bool:
    if len(text.encode("utf-8", "surrogatepass")) <= limit:
        return False
    return await count(text) > limit


def _content(text: str, keep: int) -> str:
    value = _decoded(text)
    return cut(text, keep) if value is None else _object(value, keep)


def _arguments(call: ToolCall, keep: int) -> str:
    value = _decoded(call.arguments)
    return _object({"text": call.arguments} if value is None else value, keep)


def _object(value: dict[str, Any], keep: int) -> str:
    """The JSON text of an object with shorter strings; of a part of it, if that is not enough."""
    text = _dumped({key: _value(item, keep) for key, item in value.items()})
    while len(text) > 2 * keep + _LEAST and keep > _LEAST:
        keep = int(keep * _LESS)
        text = _dumped({key: _value(item, keep) for key, item in value.items()})
    if len(text) <= 2 * keep + 4 * _LEAST:
        return text
    return _dumped({"shortened": cut(text, keep)})


def _value(value: Any, keep: int) -> Any:
    if isinstance(value, str):
        return cut(value, keep)
    if isinstance(value, (list, dict)):
        text = _dumped(value)
        return value if len(text) <= keep else cut(text, keep)
    return value


def _decoded(text: str) -> dict[str, Any] | None:
    """The object that a text is the JSON of, None if it is not."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
