"""What was made of the messages of a conversation, kept for its next turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from llmgate.types import Message, Tool

T = TypeVar("T")
_MOST = 4096
_MOST_CHARACTERS = 8_000_000
_TOOLSETS = 8


class _Generations(Generic[T]):
    """What was made of messages; what is not asked for while many others come is forgotten."""

    def __init__(self) -> None:
        self._young: dict[Message, T] = {}
        self._old: dict[Message, T] = {}
        self._size = 0

    def of(self, messages: Sequence[Message], make: Callable[[Message], T]) -> list[T]:
        found: list[T] = []
        for message in messages:
            kept = self._young.get(message)
            if kept is None:
                kept = self._old.get(message)
                if kept is None:
                    kept = make(message)
                self._keep(message, kept)
            found.append(kept)
        return found

    def _keep(self, message: Message, made: T) -> None:
        size = _size(message)
        if len(self._young) >= _MOST or self._size + size > _MOST_CHARACTERS:
            self._old, self._young, self._size = self._young, {}, 0
        self._young[message] = made
        self._size += size


class Memory(Generic[T]):
    """What was made of messages for some tools. Of a bounded size, by content."""

    def __init__(self) -> None:
        self._kept: list[tuple[tuple[Tool, ...], _Generations[T]]] = []

    def of(
        self, messages: Sequence[Message], tools: Sequence[Tool], make: Callable[[Message], T]
    ) -> list[T]:
        """What `make` makes of each message; it depends on nothing but that and the tools."""
        return self._for(tuple(tools)).of(messages, make)

    def _for(self, tools: tuple[Tool, ...]) -> _Generations[T]:
        for index, (known, kept) in enumerate(self._kept):
            if known is tools or known == tools:
                if index:
                    self._kept.insert(0, self._kept.pop(index))
                return kept
        made: _Generations[T] = _Generations()
        self._kept.insert(0, (tools, made))
        del self._kept[_TOOLSETS:]
        return made


def _size(message: Message) -> int:
    calls = sum(len(call.arguments) for call in message.tool_calls)
    return len(message.content or "") + len(message.reasoning or "") + calls
