"""A made-up llama-server, for what the real one can't be made to do: tools/server/README.md."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from llmgate import grammar as grammars
from llmgate.errors import LlmgateError

from .base import EVENTS, Asked, Handler, Reply, WireServer, document, event
from .model import TEMPLATE, Answer


class LlamaServer(WireServer):
    """Answers `POST /completion`; each event tells how many tokens there are so far."""

    backend = "llamacpp"
    answers = ("/completion",)

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        props = {
            "default_generation_settings": {"n_ctx": self.model.context},
            "chat_template": TEMPLATE,
            "bos_token": "<s>",
        }
        listed = {"object": "list", "data": [{"id": "tiny", "object": "model"}]}
        return {
            ("GET", "/health"): lambda asked: document({"status": "ok"}),
            ("GET", "/props"): lambda asked: document(props),
            ("GET", "/v1/models"): lambda asked: document(listed),
            ("POST", "/tokenize"): lambda asked: document(
                {"tokens": [2] * self.model.count(asked.json["content"])}
            ),
            ("POST", "/completion"): self._complete,
        }

    def error(self, status: int, message: str) -> Reply:
        kind = "invalid_request_error" if status < 500 else "server_error"
        return document({"error": {"code": status, "message": message, "type": kind}}, status)

    def broken(self, message: str) -> bytes:
        return event({"error": {"code": 500, "message": message, "type": "server_error"}})

    def _complete(self, asked: Asked) -> Reply:
        body = asked.json
        tokens, context = self.model.count(body["prompt"]), self.model.context
        if tokens >= context:
            message = f"the request exceeds the available context size ({context} tokens)"
            error = {"code": 400, "message": message, "type": "exceed_context_size_error"}
            return document({"error": error}, 400)
        try:
            if body.get("grammar"):
                grammars.check(body["grammar"])
            answer = self.model.answer(
                body["prompt"],
                stop=body.get("stop") or (),
                most=body.get("n_predict"),
                grammar=body.get("grammar"),
                schema=body.get("json_schema"),
                seed=body.get("seed"),
                greedy=body.get("temperature", 0.8) == 0,
            )
        except LlmgateError as error:
            return self.error(400, f"Failed to parse grammar: {error}")
        return Reply(self._events(answer, tokens), type=EVENTS, chunked=True)

    async def _events(self, answer: Answer, tokens: int) -> AsyncIterator[bytes]:
        for piece in answer:
            yield event({"content": piece, "stop": False, "tokens_predicted": answer.tokens})
        kind = "limit" if answer.finish == "length" else "word" if answer.word else "eos"
        last: dict[str, Any] = {"content": "", "stop": True, "stop_type": kind}
        last |= {"tokens_predicted": answer.tokens, "tokens_evaluated": tokens}
        last |= {"truncated": False, "timings": {"cache_n": 0, "prompt_n": tokens}}
        yield event(last)
