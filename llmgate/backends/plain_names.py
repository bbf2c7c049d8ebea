"""Names of functions for servers that take letters, digits, `_` and `-` only."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from llmgate.types import Message, Request

_LONGEST = 64
_PLAIN = re.compile(rf"[A-Za-z0-9_-]{{1,{_LONGEST}}}")
_OTHER = re.compile(r"[^A-Za-z0-9_-]")


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Other names for those that are not plain, no two the same."""
    names = list(dict.fromkeys(names))
    taken = {name for name in names if _PLAIN.fullmatch(name)}
    others = {}
    for name in names:
        if name in taken:
            continue
        plain = base = _OTHER.sub("_", name)[:_LONGEST] or "_"
        number = 1
        while plain in taken:
            number += 1
            plain = f"{base[: _LONGEST - len(str(number)) - 1]}_{number}"
        taken.add(plain)
        others[name] = plain
    return others


def renamed(request: Request, others: dict[str, str]) -> Request:
    """The request with these other names of its functions."""
    if not others:
        return request
    choice = request.tool_choice
    choice = msgspec.structs.replace(
        choice,
        name=None if choice.name is None else others.get(choice.name, choice.name),
        allowed=tuple(others.get(name, name) for name in choice.allowed),
    )
    return msgspec.structs.replace(
        request,
        tools=tuple(
            msgspec.structs.replace(tool, name=others.get(tool.name, tool.name))
            for tool in request.tools
        ),
        tool_choice=choice,
        messages=tuple(_renamed(message, others) for message in request.messages),
    )


def names_in(request: Request) -> list[str]:
    """The names of all functions that are offered or were called."""
    called = [call.name for message in request.messages for call in message.tool_calls]
    return [*(tool.name for tool in request.tools), *called]


def _renamed(message: Message, others: dict[str, str]) -> Message:
    if not message.tool_calls:
        return message
    calls = tuple(
        msgspec.structs.replace(call, name=others.get(call.name, call.name))
        for call in message.tool_calls
    )
    return msgspec.structs.replace(message, tool_calls=calls)
