"""The dialect of `POST /v1/chat/completions`: its answers, whole and streamed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from llmgate.errors import LlmgateError
from llmgate.types import Completion, Delta, Finish, Note, ToolCall, Usage
from llmgate.wire.chat import ChatRequest

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
_CHUNK = "chat.completion.chunk"


class ChatWriter:
    """Writes the answer to one request; its id, time and model stand in every piece."""

    def __init__(self, asked: ChatRequest) -> None:
        self._asked = asked
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._opened = False
        self._notes: list[Note] = []
        self._usage = Usage()
        self._around_text: tuple[bytes, bytes] | None = None

    def whole(self, completion: Completion) -> dict[str, Any]:
        """The body of a non-streaming answer."""
        message = completion.message
        written: dict[str, Any] = {
            "role": "assistant",
            "content": message.content,
            "refusal": None,
        }
        if message.reasoning is not None:
            written["reasoning_content"] = message.reasoning
        if message.tool_calls and self._asked.legacy:
            written["function_call"] = _function(message.tool_calls[0])
        elif message.tool_calls:
            written["tool_calls"] = [
                {"id": call.id, "type": "function", "function": _function(call)}
                for call in message.tool_calls
            ]
        choice = {
            "index": 0,
            "message": written,
            "logprobs": None,
            "finish_reason": self._finish(completion.finish),
        }
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": usage_body(completion.usage),
            **_extension(completion.notes),
        }

    def pieces(self, delta: Delta) -> bytes:
        """The stream's events for one delta; may be empty."""
        if self._around_text is not None and delta.text and delta == Delta(delta.text):
            before, after = self._around_text
            return before + msgspec.json.encode(delta.text) + after
        if delta.note is not None:
            self._notes.append(delta.note)
        if delta.usage is not None:
            self._usage = delta.usage
        change = self._change(delta)
        events = b""
        if change or delta.finish:
            if not self._opened:
                self._opened = True
                content = None if "content" not in change and delta.call else ""
                events += self._event({"role": "assistant", "content": content})
                # Nearly all events are a text: the rest of them is always the same.
                before, _, after = self._event({"content": ""}).rpartition(b'""')
                self._around_text = before, after
            if change:
                events += self._event(change)
        if delta.finish:
            events += self._event({}, self._finish(delta.finish), _extension(self._notes))
            if self._asked.include_usage:
                events += _data(
                    {**self._head(_CHUNK), "choices": [], "usage": usage_body(self._usage)}
                )
            events += DONE
        return events

    def failure(self, error: LlmgateError) -> bytes:
        """The event that ends a stream which has begun and can't go on."""
        return _data(error_body(error))

    def _change(self, delta: Delta) -> dict[str, Any]:
        change: dict[str, Any] = {}
        if delta.text:
            change["content"] = delta.text
        if delta.reasoning:
            change["reasoning_content"] = delta.reasoning
        if (call := delta.call) is not None:
            function = {} if call.name is None else {"name": call.name}
            function["arguments"] = call.arguments
            if not self._asked.legacy:
                opening = {} if call.id is None else {"id": call.id, "type": "function"}
                piece = {"index": call.index, **opening, "function": function}
                change["tool_calls"] = [piece]
            elif call.index == 0:
                change["function_call"] = function
        return change

    def _event(
        self,
        change: dict[str, Any],
        finish: str | None = None,
        extension: dict[str, Any] | None = None,
    ) -> bytes:
        choice = {"index": 0, "delta": change, "logprobs": None, "finish_reason": finish}
        chunk = {**self._head(_CHUNK), "choices": [choice], **(extension or {})}
        if self._asked.include_usage:
            chunk["usage"] = None
        return _data(chunk)

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._asked.request.model,
        }

    def _finish(self, finish: Finish) -> str:
        return "function_call" if finish == "tool_calls" and self._asked.legacy else finish


def usage_body(usage: Usage) -> dict[str, Any]:
    """Token counts as clients know them."""
    body: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
    }
    if usage.cached is not None:
        body["prompt_tokens_details"] = {"cached_tokens": usage.cached}
    return body


def error_body(error: LlmgateError) -> dict[str, Any]:
    """An error as clients know it."""
    return {
        "error": {
            "message": str(error),
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }


def _function(call: ToolCall) -> dict[str, str]:
    return {"name": call.name, "arguments": call.arguments}


def _extension(notes: Sequence[Note]) -> dict[str, Any]:
    """Our own field, there only if it says something."""
    return {"llmgate": {"notes": msgspec.to_builtins(list(notes))}} if notes else {}


def _data(body: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(body) + b"\n\n"
