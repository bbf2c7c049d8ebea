"""The frames of an answer, whatever format they are in: found, changed and written again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from wire_servers.base import EVENTS, LINES, Asked, Reply, WireServer, event

# What the made-up model says where nothing else is asked of it.
SAID = "I like the garden and the river."
_COUNTS = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens"),
    *("tokens_evaluated", "tokens_predicted", "cache_n", "prompt_n"),
    *("prompt_eval_count", "eval_count"),
)


class Wire:
    """One answer of a server that is to go wrong."""

    def __init__(self, server: WireServer, asked: Asked, reply: Reply) -> None:
        self.server = server
        self.asked = asked
        self.reply = reply

    @property
    def whole(self) -> bool:
        """Whether the answer is one document."""
        return self.reply.type not in (EVENTS, LINES)

    async def frames(self) -> list[bytes]:
        """The frames of the answer as it should be."""
        if isinstance(self.reply.frames, AsyncIterator):
            return [frame async for frame in self.reply.frames]
        return list(self.reply.frames)

    def written(self, value: Any) -> bytes:
        """A value as a frame of this answer; a string stands for itself."""
        if self.reply.type == EVENTS:
            return event(value)
        text = value if isinstance(value, str) else json.dumps(value)
        return text.encode() if self.whole else f"{text}\n".encode()

    def error(self, message: str) -> bytes:
        """An error as a frame of this answer: the server's own, else the usual one."""
        own = self.server.broken(message)
        if own is None or message.encode() not in own:
            own = self.written({"error": {"message": message, "type": "server_error"}})
        return own


def value_of(frame: bytes) -> Any:
    """The JSON value in a frame, None if there is none."""
    data = frame.partition(b"data: ")[2] if frame.startswith((b"data: ", b"event: ")) else frame
    try:
        return json.loads(data)
    except ValueError:
        return None


def again(frame: bytes, value: Any) -> bytes:
    """The frame with another value; a string stands for itself."""
    text = value if isinstance(value, str) else json.dumps(value)
    if frame.startswith((b"data: ", b"event: ")):
        head = frame.partition(b"data: ")[0]
        return head + b"data: " + text.encode("utf-8", "surrogatepass") + b"\n\n"
    end = b"\n" if frame.endswith(b"\n") else b""
    return text.encode("utf-8", "surrogatepass") + end


def choice_of(value: Any) -> dict[str, Any]:
    """The first choice of a frame in OpenAI's formats, else the frame's value."""
    choices = value.get("choices")
    return choices[0] if choices else value


def ends(frame: bytes) -> bool:
    """Whether it says that the answer has come to its end."""
    value = value_of(frame)
    if not isinstance(value, dict):
        return False
    if "results" in value:
        return True
    marks = value.get("done") is True, value.get("stop") is True
    return any(marks) or choice_of(value).get("finish_reason") is not None


def text_at(value: Any) -> tuple[dict[str, Any], str] | None:
    """Where the text of a frame stands: an object, and the name of its field."""
    if not isinstance(value, dict):
        return None
    if value.get("results"):
        return value["results"][0], "text"
    choice = choice_of(value)
    for holder in (choice, choice.get("delta"), choice.get("message")):
        for name in ("text", "token", "response", "content"):
            if isinstance(holder, dict) and isinstance(holder.get(name), str):
                return holder, name
    return None


def text_of(frame: bytes) -> str:
    """The text that a frame brings."""
    found = text_at(value_of(frame))
    return "" if found is None else found[0][found[1]]


def with_text(frame: bytes, text: Any) -> bytes:
    """The frame with something else for its text."""
    value = value_of(frame)
    found = text_at(value)
    assert found is not None
    found[0][found[1]] = text
    return again(frame, value)


def first_text(frames: list[bytes]) -> int:
    """Which frame brings the first piece of the text."""
    return next(n for n, frame in enumerate(frames) if text_of(frame))


def end_of(frames: list[bytes]) -> int:
    """Which frame says that the answer has come to its end."""
    return next(n for n, frame in enumerate(frames) if ends(frame))


def without_end(frames: list[bytes]) -> list[bytes]:
    """The frames in front of the end."""
    return frames[: end_of(frames)]


def counted(frames: list[bytes], count: Any) -> list[bytes]:
    """The frames with this for all numbers of tokens."""

    def change(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: count if name in _COUNTS else change(inner) for name, inner in value.items()
            }
        return [change(inner) for inner in value] if isinstance(value, list) else value

    return changed(frames, change)


def uncounted(frames: list[bytes]) -> list[bytes]:
    """The frames without all that tells numbers of tokens."""

    def change(value: Any) -> Any:
        if isinstance(value, dict):
            gone = (*_COUNTS, "usage", "timings")
            return {name: change(inner) for name, inner in value.items() if name not in gone}
        return [change(inner) for inner in value] if isinstance(value, list) else value

    return changed(frames, change)


def changed(frames: list[bytes], change: Callable[[Any], Any]) -> list[bytes]:
    """The frames with other values, where they have any."""
    return [
        frame if (value := value_of(frame)) is None else again(frame, change(value))
        for frame in frames
    ]
