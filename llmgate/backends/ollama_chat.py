"""Ollama's chat route, `POST /api/chat`: for models whose marks of calls its raw route hides.

API: https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import httpx
import msgspec

from llmgate.backends.chat import MessageBackend, noted
from llmgate.backends.chat_json import tool_of
from llmgate.backends.chat_reader import Calls
from llmgate.backends.fields import count_in, piece_in
from llmgate.backends.ollama import OllamaBackend
from llmgate.backends.ollama_json import common, options_of
from llmgate.backends.server import encode
from llmgate.config import ModelSettings
from llmgate.errors import BackendError, RefusedRequest, RequestError
from llmgate.types import (
    Caps,
    Delta,
    Finish,
    JSONSchema,
    Message,
    Note,
    Request,
    Tool,
    ToolCall,
    Usage,
)

# Less than this fits any context that Ollama gives a model.
_SMALLEST = 2048
_CUTS = Note(
    "estimated",
    "this version of Ollama cuts what is too long for its context without a word: 0.13 does not",
)


class OllamaChatBackend(MessageBackend, OllamaBackend):
    """Answers messages with a running Ollama.

    It can't be told which function to call, or that one has to be called: this is checked, and
    asked for again. It is told not to cut what is too long for its context.
    """

    path = "/api/chat"

    def __init__(
        self, model: str, settings: ModelSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        if not settings.url:
            settings = msgspec.structs.replace(settings, url=self.example)
        super().__init__(model, settings, transport)

    async def learn(self) -> Caps:
        """What is known of the version and the model, which is asked with messages all the same."""
        caps = await super().learn()
        return msgspec.structs.replace(caps, chat=True, schema=False, template=None)

    async def chat(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer the messages. See `Backend.chat`."""
        await self.prepare()
        notes = notes_on(request)
        if self.caps.truncates and len(encode(request.messages)) > _SMALLEST:
            notes.append(_CUTS)
        constrain = self.settings.constraint in ("auto", "schema")
        body = body_of(request, self.settings, self.model, constrain=constrain)
        reader = ChatLines([tool.name for tool in request.tools])
        answer = self.answer(self.path, body, reader, request.stop)
        try:
            async with aclosing(noted(notes, answer)) as deltas:
                async for delta in deltas:
                    yield delta
        except RefusedRequest as error:
            raise RequestError(error.message, param=error.param) from error


def body_of(
    request: Request, settings: ModelSettings, model: str, *, constrain: bool = True
) -> dict[str, Any]:
    """What Ollama is sent. Without `constrain` no schema is."""
    tools = offered(request)
    fields = {
        "tools": [tool_of(tool) for tool in tools] or None,
        # Held to a schema, it could not call.
        "format": None if tools or not constrain else format_of(request.schema),
    }
    return {
        "messages": messages_of(request.messages),
        "stream": True,
        "truncate": False,
        "shift": False,
        **{name: value for name, value in fields.items() if value is not None},
        **common(settings, model, options_of(request.sampling, request.stop)),
    }


def offered(request: Request) -> tuple[Tool, ...]:
    """The tools that are sent: those that may be called, and no others."""
    choice = request.tool_choice
    if choice.mode == "none":
        return ()
    names = choice.allowed if choice.name is None else (choice.name,)
    return tuple(tool for tool in request.tools if not names or tool.name in names)


def notes_on(request: Request) -> list[Note]:
    """What of the request Ollama can't be told."""
    if not (request.tool_choice.forced and request.tools):
        return []
    message = "Ollama can't be told that a function has to be called: the answer is checked for it"
    return [Note("ignored_parameter", message)]


def format_of(schema: JSONSchema | None) -> Any:
    """The schema of the answer as Ollama takes it."""
    if schema is None:
        return None
    return "json" if schema in (True, {}, {"type": "object"}) else schema


def messages_of(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages: arguments as objects, results under the names of their functions."""
    names: dict[str, str] = {}
    written = []
    for message in messages:
        names |= {call.id: call.name for call in message.tool_calls}
        view: dict[str, Any] = {"role": message.role, "content": message.content or ""}
        if message.tool_calls:
            view["tool_calls"] = [{"function": _function(call)} for call in message.tool_calls]
        if message.role == "tool":
            view["tool_name"] = names.get(message.tool_call_id or "") or message.name or ""
        written.append(view)
    return written


class ChatLines:
    """Reads the lines of one answer, see `llmgate.backends.http.Reader`."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        self.complete = False
        self._calls = Calls(names)
        self._number = -1

    def take(self, reply: dict[str, Any]) -> list[Delta]:
        """The deltas of one line. Raises `BackendError`."""
        deltas = []
        said = reply.get("message")
        if isinstance(said, dict):
            if thought := piece_in(said, "thinking"):
                deltas.append(Delta(reasoning=thought))
            if text := piece_in(said, "content"):
                deltas.append(Delta(text))
            for call in said.get("tool_calls") or []:
                # Each one is whole, and the numbers that they have may repeat.
                self._number += 1
                self._calls.add({**call, "index": self._number} if isinstance(call, dict) else None)
        if reply.get("done") is True:
            deltas += self._end(reply)
        return deltas

    def _end(self, reply: dict[str, Any]) -> list[Delta]:
        reason = reply.get("done_reason")
        if reason in ("load", "unload"):
            raise BackendError("Ollama loaded or unloaded the model in place of an answer.")
        counts = [count_in(reply, key) for key in ("prompt_eval_count", "eval_count")]
        self.usage = Usage(counts[0] or 0, counts[1] or 0)
        self.finish, self.complete = "length" if reason == "length" else "stop", True
        return [Delta(call=call) for call in self._calls.whole()]


def _function(call: ToolCall) -> dict[str, Any]:
    try:
        arguments = msgspec.json.decode(call.arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        arguments = None
    held = arguments if isinstance(arguments, dict) else {"value": call.arguments}
    return {"name": call.name, "arguments": held}
