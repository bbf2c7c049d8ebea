"""Messages that are too long for the prompt, with their middle left out; storage keeps all of it.

What is left out is said in its place. The JSON of events, results and arguments stays JSON.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from llmgate.memory.conversation import Logged
from llmgate.types import Message, ToolCall

# Shorter than this a text is not worth cutting: what is said of the cut is as long.
_LEAST = 24
# With less than this of a text the model is told no more than that there was more.
_EXPLAINED = 400
# So many characters are needed to say that something is left out.
_NOTED = 40
# The keys, quotes and notes around the texts in an object, for each of them.
_FRAME = 120
_MEMBERS = 8
# Of what is kept, the beginning gets this share and the end the rest.
_BEGINNING = 2 / 3
# How much less is kept of each text, from one try to the next.
_LESS = 0.7

Count = Callable[[str], Awaitable[int]]


class Shown:
    """How messages stand in the prompt: as they were stored, unless they are too long for it.

    What was found out of a message is kept, for as long as the message is the same.
    """

    def __init__(self) -> None:
        self._limit = 0
        self._known: dict[int, tuple[Message, Message]] = {}

    def __call__(self, entry: Logged) -> Message:
        """The message as it is to be sent, once it was prepared."""
        known = self._known.get(entry.position)
        return entry.message if known is None else known[1]

    def shortens(self, entry: Logged) -> bool:
        """Whether something of the message is left out."""
        known = self._known.get(entry.position)
        # Not compared with the entry: one that was read anew is equal, and another object.
        return known is not None and known[1] is not known[0]

    async def prepare(self, logged: Sequence[Logged], limit: int, count: Count) -> None:
        """Shorten those of the messages that have more than `limit` tokens."""
        if limit != self._limit:
            self._known.clear()
            self._limit = limit
        for entry in logged:
            message = entry.message
            known = self._known.get(entry.position)
            if known is None or (known[0] is not message and known[0] != message):
                shown = message
                if not fits_surely(message, limit):
                    shown = await within(message, limit, count)
                self._known[entry.position] = message, shown


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
    """The JSON text of an object whose long members share what is kept.

    Where it has so many members that this is not enough, it is the beginning of the text.
    """
    long = sum(len(_text(item)) > _LEAST + _NOTED for item in value.values())
    each = max(_LEAST, keep // max(1, long))
    text = _dumped({key: _value(item, each) for key, item in value.items()})
    # Quotes inside of quotes take more room than they did.
    if len(text) <= 2 * keep + min(1 + long, _MEMBERS) * _FRAME:
        return text
    return _dumped({"shortened": cut(text, keep)})


def _value(value: Any, keep: int) -> Any:
    text = _text(value)
    if len(text) <= keep or not isinstance(value, (str, list, dict)):
        return value
    return cut(text, keep)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _dumped(value)


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
