"""A made-up Ollama that is asked with messages: calls whole, arguments as objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .base import LINES, Asked, Handler, Reply, document, line
from .model import Model
from .ollama import OllamaServer

_STAMP = {"model": "tiny", "created_at": "2026-11-21T11:00:00.000000Z"}


class OllamaChatServer(OllamaServer):
    """`says` are the messages of the next answer, line by line."""

    backend = "ollama-chat"
    chats = True
    answers = ("/api/chat",)

    def __init__(self, model: Model | None = None) -> None:
        super().__init__(model)
        self.says: list[Sequence[Mapping[str, Any]]] = []
        self.reason = "stop"

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        return {**super().routes(), ("POST", "/api/chat"): self._chat}

    def _chat(self, asked: Asked) -> Reply:
        body = asked.json
        if (problem := self._unknown(body)) is not None:
            return problem
        for message in body["messages"]:
            for call in message.get("tool_calls", ()):
                if not isinstance(call["function"]["arguments"], dict):
                    return document({"error": "json: cannot unmarshal string into arguments"}, 400)
        options = body.get("options", {})
        told = "".join(message["content"] for message in body["messages"])
        answer = self.model.answer(
            told, stop=options.get("stop", ()), most=options.get("num_predict")
        )
        said = self.says.pop(0) if self.says else [{"content": text} for text in answer]
        lines = [
            line({**_STAMP, "message": {"role": "assistant", "content": "", **one}, "done": False})
            for one in said
        ]
        end = {"message": {"role": "assistant", "content": ""}, "done": True}
        end |= {"done_reason": self.reason, "prompt_eval_count": 10, "eval_count": 3}
        return Reply([*lines, line({**_STAMP, **end})], type=LINES, chunked=True)
