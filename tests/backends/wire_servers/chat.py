"""Made-up servers with `/v1/chat/completions`: a plain one, OpenAI, Azure, and LM Studio.

What they say is the test's choice: `says` are the deltas of the next answers, as the wire has
them; without one they say what the model behind them would.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .base import EVENTS, Asked, Handler, Reply, WireServer, document, event
from .model import Model

USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
# One answer: its deltas, and why it ends (None: it just stops coming).
Says = tuple[Sequence[Mapping[str, Any]], str | None]
_HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}


def words(*pieces: str, finish: str | None = "stop") -> Says:
    """An answer in words."""
    return [{"content": piece} for piece in pieces], finish


def piece(index: int | None = 0, **call: Any) -> dict[str, Any]:
    """A delta with a piece of a call: `id`, `name` and `arguments`, as far as it has them."""
    function = {key: call[key] for key in ("name", "arguments") if key in call}
    entry = {"function": function, **({"id": call["id"]} if "id" in call else {})}
    entry |= {} if index is None else {"index": index}
    return {"tool_calls": [entry]}


def calls(*pieces: Mapping[str, Any], finish: str | None = "tool_calls") -> Says:
    """An answer of calls."""
    return pieces, finish


def chunk(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
    """One event of a stream."""
    return event({**_HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


class ChatServer(WireServer):
    """A plain one: it takes all fields, and tells what it was sent in `body`.

    `refuses` gets each body, and may say why it is refused: a message, and more for the error.
    """

    backend = "openai-chat"
    chats = True
    answers = ("/v1/chat/completions",)
    names: Sequence[str] = ("tiny",)

    def __init__(self, model: Model | None = None) -> None:
        super().__init__(model)
        self.says: list[Says] = []
        self.refuses: Callable[[dict[str, Any]], tuple[str, dict[str, Any]] | None] = lambda body: (
            None
        )
        self.done = True
        # What the list of models tells of each.
        self.told: dict[str, Any] = {}

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        return {
            ("GET", "/v1/models"): self._models,
            ("POST", "/v1/chat/completions"): self._chat,
            ("POST", "/v1/embeddings"): self._embed,
        }

    def error(self, status: int, message: str, **more: Any) -> Reply:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        error = {"message": message, "type": kind, "param": None, "code": None, **more}
        return document({"error": error}, status)

    def broken(self, message: str) -> bytes:
        return event({"error": {"message": message, "type": "server_error", "code": 500}})

    def _models(self, asked: Asked) -> Reply:
        entries = [{"id": name, "object": "model", **self.told} for name in self.names]
        return document({"object": "list", "data": entries})

    def _embed(self, asked: Asked) -> Reply:
        texts = asked.json["input"]
        data = [{"index": i, "embedding": [len(text), 0.5]} for i, text in enumerate(texts)]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        return document({"object": "list", "data": data, "model": "tiny", "usage": usage})

    def _chat(self, asked: Asked) -> Reply:
        body = asked.json
        if (refused := self.refuses(body)) is not None:
            message, more = refused
            return self.error(400, message, **more)
        deltas, finish = self.says.pop(0) if self.says else self._own(body)
        return Reply(list(self._stream(body, deltas, finish)), type=EVENTS, chunked=True)

    def _own(self, body: Mapping[str, Any]) -> Says:
        prompt = "".join(str(message.get("content")) for message in body["messages"])
        limit = body.get("max_tokens") or body.get("max_completion_tokens")
        answer = self.model.answer(prompt, stop=body.get("stop") or (), most=limit)
        return words(*answer, finish=None)[0], answer.finish

    def _stream(
        self, body: Mapping[str, Any], deltas: Sequence[Mapping[str, Any]], finish: str | None
    ) -> Iterator[bytes]:
        yield chunk({"role": "assistant", "content": None})
        for delta in deltas:
            yield chunk(delta)
        if finish is not None:
            yield chunk({}, finish)
            if (body.get("stream_options") or {}).get("include_usage"):
                yield event({**_HEAD, "choices": [], "usage": USAGE})
        if self.done:
            yield event("[DONE]")


class OpenAIServer(ChatServer):
    """OpenAI: a key, known fields only, the strict subset; `reasons` for models that think."""

    backend = "openai"
    names = ("gpt-5-mini", "gpt-4o-mini")
    known = (
        *("model", "messages", "stream", "stream_options", "tools", "tool_choice", "seed"),
        *("parallel_tool_calls", "stop", "response_format", "max_tokens", "reasoning_effort"),
        *("max_completion_tokens", "temperature", "top_p", "presence_penalty"),
        "frequency_penalty",
    )

    def __init__(self, model: Model | None = None) -> None:
        super().__init__(model)
        self.reasons = False
        self.refuses = self._refuses

    def settings(self, **more: Any) -> Any:
        return super().settings(**{"api_key": "sk-right", "model": "gpt-5-mini", **more})

    def reply(self, asked: Asked) -> Reply | None:
        if self.key(asked) != "sk-right":
            self.requests.append(asked)
            message = "Incorrect API key provided: sk-wrong."
            return self.error(401, message, code="invalid_api_key")
        return super().reply(asked)

    def key(self, asked: Asked) -> str:
        return asked.headers.get("authorization", "").removeprefix("Bearer ")

    def _chat(self, asked: Asked) -> Reply:
        if asked.json["model"] not in self.names:
            message = f"The model `{asked.json['model']}` does not exist or you do not have access."
            return self.error(404, message, code="model_not_found")
        return super()._chat(asked)

    def _refuses(self, body: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        for field in body:
            if field not in self.known:
                message = f"Unrecognized request argument supplied: {field}"
                return message, {"param": field, "code": "unknown_parameter"}
        if self.reasons and (found := _reasoning(body)) is not None:
            return found
        if len(body.get("stop") or ()) > 4:
            return "Invalid 'stop': array too long.", {"param": "stop"}
        called = [c for m in body["messages"] for c in m.get("tool_calls", ())]
        for one in [*body.get("tools", ()), *called, *_chosen(body.get("tool_choice"))]:
            name = one["function"]["name"]
            if not re.fullmatch("[a-zA-Z0-9_-]{1,64}", name):
                return f"Invalid name: string {name!r} does not match pattern", {"param": "tools"}
        form = body.get("response_format") or {}
        if form.get("type") == "json_object" and not _says_json(body):
            return "'messages' must contain the word 'json' in some form.", {"param": "messages"}
        schemas = [form["json_schema"]] if form.get("type") == "json_schema" else []
        for one in [*schemas, *(tool["function"] for tool in body.get("tools", ()))]:
            schema = one.get("schema") or one.get("parameters")
            if one.get("strict") and (problem := beyond(schema)):
                return f"Invalid schema: {problem}", {"param": "response_format"}
        return None


def _chosen(choice: Any) -> list[dict[str, Any]]:
    """The functions that a choice names."""
    if not isinstance(choice, dict):
        return []
    return choice["allowed_tools"]["tools"] if choice["type"] == "allowed_tools" else [choice]


class AzureServer(OpenAIServer):
    """Azure: the key in another header, both kinds of addresses, what its filter has found."""

    backend = "azure"
    answers = (
        "/openai/v1/chat/completions",
        "/openai/deployments/gpt-5-mini/chat/completions",
    )

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        return {
            ("GET", "/openai/v1/models"): self._models,
            ("GET", "/openai/models"): self._models,
            ("POST", "/openai/v1/embeddings"): self._embed,
            ("POST", "/openai/deployments/gpt-5-mini/embeddings"): self._embed,
            **{("POST", path): self._chat for path in self.answers},
        }

    def key(self, asked: Asked) -> str:
        return asked.headers.get("api-key", "")

    def _stream(
        self, body: Mapping[str, Any], deltas: Sequence[Mapping[str, Any]], finish: str | None
    ) -> Iterator[bytes]:
        found = [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False}}}]
        yield event({**_HEAD, "model": "", "choices": [], "prompt_filter_results": found})
        yield from super()._stream(body, deltas, finish)


class LMStudioServer(ChatServer):
    """LM Studio: words for tool_choice only, schemas only, `tool_calls` always, bare errors."""

    backend = "lmstudio-chat"

    def __init__(self, model: Model | None = None) -> None:
        super().__init__(model)
        self.refuses = self._refuses

    def error(self, status: int, message: str, **more: Any) -> Reply:
        return document({"error": message}, status)

    def broken(self, message: str) -> bytes:
        return event({"error": message}, "error")

    def _refuses(self, body: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        if isinstance(body.get("tool_choice"), dict):
            return "Invalid tool_choice type: 'object'. Supported string values: none, auto", {}
        if (body.get("response_format") or {}).get("type") == "json_object":
            return "'response_format.type' must be 'json_schema' or 'text'", {}
        return None

    def _stream(
        self, body: Mapping[str, Any], deltas: Sequence[Mapping[str, Any]], finish: str | None
    ) -> Iterator[bytes]:
        yield from super()._stream(body, [{"tool_calls": [], **d} for d in deltas], finish)


def _reasoning(body: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """What a model that thinks refuses."""
    if "max_tokens" in body:
        message = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead."
        )
        return message, {"param": "max_tokens", "code": "unsupported_parameter"}
    for field in ("temperature", "top_p"):
        if body.get(field, 1) != 1:
            message = (
                f"Unsupported value: '{field}' does not support {body[field]} with this model. "
                "Only the default (1) value is supported."
            )
            return message, {"param": field, "code": "unsupported_value"}
    for field in ("presence_penalty", "frequency_penalty", "stop"):
        if field in body:
            message = f"Unsupported parameter: '{field}' is not supported with this model."
            return message, {"param": field, "code": "unsupported_parameter"}
    return None


def _says_json(body: Mapping[str, Any]) -> bool:
    return any(re.search("json", str(m.get("content")), re.I) for m in body["messages"])


def beyond(schema: Any) -> str | None:
    """What of a schema is beyond OpenAI's strict subset, as its guide has it."""
    if isinstance(schema, list):
        return next((found for one in schema if (found := beyond(one))), None)
    if not isinstance(schema, dict):
        return None
    if schema.keys() & {"allOf", "oneOf", "not", "if", "default", "patternProperties", "$schema"}:
        return f"{json.dumps(schema)} has keywords that are not permitted"
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties") is not False:
            return "'additionalProperties' is required to be supplied and to be false"
        if set(schema.get("required", ())) != set(schema.get("properties", {})):
            return "'required' is required to include every key in properties"
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    inner += [schema.get("items"), schema.get("anyOf")]
    return next((found for one in inner if (found := beyond(one))), None)
