"""Made-up servers with an OpenAI-style `/v1/completions`, each as its source or documents have it.

text-generation-webui 4.7 (modules/api), LM Studio's documents, vLLM and SGLang
(entrypoints/openai), llama-cpp-python 0.3 (llama_cpp/server).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

from llmgate import grammar as grammars
from llmgate.config import ModelSettings
from llmgate.errors import LlmgateError

from .base import EVENTS, Asked, Handler, Reply, WireServer, document, event
from .model import BOS, Answer, Model

_HEAD = {"id": "cmpl-1", "object": "text_completion", "created": 1763722800}


class CompletionsServer(WireServer):
    """One that does what OpenAI's documents say, and nothing else.

    `bos` is what it puts before prompts; `seen` is the last prompt as its model got it, `held`
    what the answer was held to.
    """

    backend = "openai-completions"
    answers = ("/v1/completions",)
    default: ClassVar[int] = 16
    greedy_at: ClassVar[float] = 0.0

    def __init__(self, model: Model | None = None) -> None:
        super().__init__(model)
        self.name = "tiny"
        self.bos = ""
        self.seen = ""
        self.held: dict[str, Any] = {}

    def settings(self, **more: Any) -> ModelSettings:
        return super().settings(**{"context": self.model.context, **more})

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        return {
            ("GET", "/v1/models"): lambda asked: document(
                {"object": "list", "data": [self.card()]}
            ),
            ("POST", "/v1/embeddings"): lambda asked: document(
                {"data": [{"index": 0, "embedding": [0.6, 0.8]}], "usage": {"prompt_tokens": 1}}
            ),
            ("POST", "/v1/completions"): self._complete,
        }

    def card(self) -> dict[str, Any]:
        """Its model in the list of models."""
        return {"id": self.name, "object": "model", "created": 1, "owned_by": "me"}

    def error(self, status: int, message: str) -> Reply:
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        return document({"error": error}, status)

    def broken(self, message: str) -> bytes | None:
        return event({"error": {"message": message, "type": "server_error", "code": 500}})

    # What differs between them.

    def problem(self, body: Mapping[str, Any]) -> Reply | None:
        """Why it refuses this request."""
        if body.get("model") != self.name:
            return self.error(404, f"The model {body.get('model')!r} does not exist")
        if len(body.get("stop") or []) > 4:
            return self.error(400, "'stop' has more than 4 items")
        return self.overflow(body)

    def overflow(self, body: Mapping[str, Any]) -> Reply | None:
        """What it says to a prompt that is too long, or leaves too little for the answer."""
        tokens, limit = self.model.count(self.prompt_of(body)), self.model.context
        if tokens + (self.length(body) or 1) <= limit:
            return None
        return self.error(
            400, f"This model's maximum context length is {limit} tokens, your prompt has {tokens}."
        )

    def length(self, body: Mapping[str, Any]) -> int | None:
        """How many tokens are written at most."""
        return body.get("max_tokens", self.default)

    def prompt_of(self, body: Mapping[str, Any]) -> str:
        """The prompt as the model gets it."""
        return str(body["prompt"])

    def constraint(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What the answer is held to: `grammar` or `schema`."""
        return {}

    def last(self, answer: Answer) -> dict[str, Any]:
        """What the choice of the last event says."""
        return {"text": "", "finish_reason": answer.finish}

    def usage(self, prompt: str, answer: Answer, text: str) -> dict[str, Any] | None:
        """The numbers of tokens."""
        tokens = self.model.count(prompt)
        return {
            "prompt_tokens": tokens,
            "completion_tokens": answer.tokens,
            "total_tokens": tokens + answer.tokens,
        }

    # What is the same.

    def ids(self, text: str) -> list[int]:
        """The tokens of a text by number; 1 is the BOS."""
        return [1 if token == BOS else 2 for token in self.model.tokens(text)]

    def _complete(self, asked: Asked) -> Reply:
        body = asked.json
        if (refusal := self.problem(body)) is not None:
            return refusal
        try:
            self.held = self.constraint(body)
        except LlmgateError as error:
            return self.error(400, f"Failed to compile the grammar: {error}")
        return Reply(self._events(body), type=EVENTS, chunked=True)

    async def _events(self, body: Mapping[str, Any]) -> AsyncIterator[bytes]:
        self.seen = self.prompt_of(body)
        answer = self.model.answer(
            self.seen,
            stop=body.get("stop") or (),
            most=self.length(body),
            seed=body.get("seed"),
            greedy=body.get("temperature", 1.0) <= self.greedy_at,
            **self.held,
        )
        head, said = {**_HEAD, "model": self.name}, ""
        for piece in answer:
            said += piece
            yield event({**head, "choices": [{"index": 0, "text": piece, "finish_reason": None}]})
        last = {"index": 0, "logprobs": None, **self.last(answer)}
        yield event({**head, "choices": [last]})
        wanted = (body.get("stream_options") or {}).get("include_usage")
        if wanted and (usage := self.usage(self.seen, answer, said)) is not None:
            yield event({**head, "choices": [], "usage": usage})
        yield event("[DONE]")


class TextgenServer(CompletionsServer):
    """Ends with empty answers whatever goes wrong, takes the rest of the context for the prompt.

    `loaded` is whether it has a model. Its numbers of tokens are those of the text, with a BOS.
    """

    backend = "textgen"
    default = 512

    def __init__(self, model: Model | None = None) -> None:
        super().__init__(model)
        self.loaded = True

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        return {
            **super().routes(),
            ("GET", "/v1/internal/model/info"): lambda asked: document(
                {"model_name": self.name if self.loaded else "None", "lora_names": []}
            ),
            ("POST", "/v1/internal/token-count"): lambda asked: document(
                {"length": self.model.count(self.bos + asked.json["text"])}
            ),
        }

    def problem(self, body: Mapping[str, Any]) -> Reply | None:
        if (body.get("max_tokens") or 1) < 0:
            return self.error(400, "max_tokens must be greater than or equal to 0.")
        return None

    def length(self, body: Mapping[str, Any]) -> int:
        limit = body.get("truncation_length") or self.model.context
        tokens = self.model.count(body["prompt"])
        # Nothing at all is written where there is no model, or where the prompt is too long.
        if not self.loaded or tokens + len(self.bos) >= limit:
            return 0
        return body.get("max_tokens") or limit - tokens

    def prompt_of(self, body: Mapping[str, Any]) -> str:
        # A BOS in the prompt and the one that it adds are one.
        return self.bos + str(body["prompt"]).removeprefix(self.bos)

    def constraint(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return {"grammar": body.get("grammar_string") or None}

    def last(self, answer: Answer) -> dict[str, Any]:
        return {"text": "", "finish_reason": answer.finish if self.loaded else "stop"}

    def usage(self, prompt: str, answer: Answer, text: str) -> dict[str, Any]:
        tokens, written = self.model.count(prompt), self.model.count(self.bos + text)
        return {"prompt_tokens": tokens, "completion_tokens": written}


class LMStudioPromptsServer(CompletionsServer):
    """Has models that are not loaded, too, and answers a prompt that is too long with nothing.

    `listed` is what `/api/v1/models` says in newer ones.
    """

    backend = "lmstudio"

    def __init__(self, model: Model | None = None) -> None:
        super().__init__(model)
        self.listed: list[Any] | None = None

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        return {
            **super().routes(),
            ("GET", "/api/v0/models"): lambda asked: document({"data": self.cards()}),
            ("GET", "/api/v1/models"): lambda asked: (
                self.error(404, "Unexpected endpoint")
                if self.listed is None
                else document({"models": self.listed})
            ),
        }

    def cards(self) -> list[dict[str, Any]]:
        """Its models, loaded and not."""
        sizes = {"max_context_length": 131072}
        return [
            {"id": "embedder", "type": "embeddings", "state": "loaded", **sizes},
            {"id": "other", "type": "llm", "state": "not-loaded", **sizes},
            {
                "id": self.name,
                "type": "llm",
                "state": "loaded",
                **sizes,
                "loaded_context_length": self.model.context,
            },
        ]

    def settings(self, **more: Any) -> ModelSettings:
        return WireServer.settings(self, **more)

    def error(self, status: int, message: str) -> Reply:
        return document({"error": message}, status)

    def problem(self, body: Mapping[str, Any]) -> Reply | None:
        if body.get("model") not in (None, self.name):
            return self.error(404, f"Model {body['model']!r} not found")
        return None

    def length(self, body: Mapping[str, Any]) -> int:
        room = self.model.context - self.model.count(body["prompt"])
        if room <= 0:
            return 0
        most = body.get("max_tokens", self.default)
        return room if most is None or most < 0 else min(most, room)

    def usage(self, prompt: str, answer: Answer, text: str) -> dict[str, Any] | None:
        return super().usage(prompt, answer, text) if text else None

    def last(self, answer: Answer) -> dict[str, Any]:
        return {"text": "", "finish_reason": answer.finish if answer.tokens else "stop"}


class VLLMServer(CompletionsServer):
    """Refuses what does not fit; says `[DONE]` behind errors; tells which stop string it met.

    Before 0.12 answers are constrained by fields that it overlooks today.
    """

    backend = "vllm"

    def __init__(self, model: Model | None = None) -> None:
        super().__init__(model)
        self.version = "0.26.1"

    def settings(self, **more: Any) -> ModelSettings:
        return WireServer.settings(self, **more)

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        return {
            **super().routes(),
            ("GET", "/version"): lambda asked: document({"version": self.version}),
            ("POST", "/tokenize"): self._tokenize,
            ("POST", "/detokenize"): lambda asked: document({"prompt": self.bos}),
        }

    def card(self) -> dict[str, Any]:
        return {**super().card(), "max_model_len": self.model.context}

    def problem(self, body: Mapping[str, Any]) -> Reply | None:
        if body.get("model") != self.name:
            return self.error(404, f"The model `{body.get('model')}` does not exist.")
        return self.overflow(body)

    def error(self, status: int, message: str) -> Reply:
        error = {"message": message, "type": "BadRequestError", "param": None, "code": status}
        return document({"error": error}, status)

    def length(self, body: Mapping[str, Any]) -> int | None:
        return body.get("max_tokens", self.default)

    def prompt_of(self, body: Mapping[str, Any]) -> str:
        return (self.bos if body.get("add_special_tokens", True) else "") + str(body["prompt"])

    def constraint(self, body: Mapping[str, Any]) -> dict[str, Any]:
        if self.version < "0.12":
            told = {"grammar": body.get("guided_grammar"), "json": body.get("guided_json")}
        else:
            told = body.get("structured_outputs") or {}
        return constrained(told.get("grammar"), told.get("json"))

    def last(self, answer: Answer) -> dict[str, Any]:
        return {**super().last(answer), "stop_reason": answer.word or None}

    def _tokenize(self, asked: Asked) -> Reply:
        added = self.bos if asked.json.get("add_special_tokens", True) else ""
        ids = self.ids(added + asked.json["prompt"])
        limit = self.model.context
        return document({"count": len(ids), "max_model_len": limit, "tokens": ids})


class SGLangServer(VLLMServer):
    """Always adds its BOS, wants `max_tokens` as a number, has flat errors."""

    backend = "sglang"

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        routes = dict(super().routes())
        del routes["GET", "/version"]
        return {**routes, ("POST", "/detokenize"): self._detokenize}

    def error(self, status: int, message: str) -> Reply:
        error = {"object": "error", "message": message, "type": "BadRequest", "param": None}
        return document({**error, "code": status}, status)

    def problem(self, body: Mapping[str, Any]) -> Reply | None:
        most = body.get("max_tokens", self.default)
        if type(most) is not int or most <= 0:
            return self.error(400, "max_tokens must be positive")
        if not body["prompt"]:
            return self.error(400, "Prompt cannot be empty")
        return self.overflow(body)

    def prompt_of(self, body: Mapping[str, Any]) -> str:
        return self.bos + str(body["prompt"])

    def constraint(self, body: Mapping[str, Any]) -> dict[str, Any]:
        schema = body.get("json_schema")
        return constrained(body.get("ebnf"), None if schema is None else json.loads(schema))

    def last(self, answer: Answer) -> dict[str, Any]:
        matched = answer.word or (2 if answer.finish == "stop" else None)
        return {"text": "", "finish_reason": answer.finish, "matched_stop": matched}

    def _detokenize(self, asked: Asked) -> Reply:
        shown = not asked.json.get("skip_special_tokens", True)
        return document({"text": self.bos * asked.json["tokens"].count(1) if shown else ""})


class LlamaCppPythonServer(CompletionsServer):
    """Tells no usage; whatever goes wrong in a stream ends it without a word."""

    backend = "llama-cpp-python"

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        return {
            **super().routes(),
            ("GET", "/openapi.json"): lambda asked: document({"openapi": "3.1.0"}),
            ("POST", "/extras/tokenize"): self._tokenize,
            ("POST", "/extras/tokenize/count"): lambda asked: document(
                {"count": len(self.ids(self.bos + asked.json["input"]))}
            ),
        }

    def problem(self, body: Mapping[str, Any]) -> Reply | None:
        return None

    def prompt_of(self, body: Mapping[str, Any]) -> str:
        return self.bos + str(body["prompt"])

    def constraint(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return {"grammar": body.get("grammar")}

    def usage(self, prompt: str, answer: Answer, text: str) -> None:
        return None

    def _complete(self, asked: Asked) -> Reply:
        reply = super()._complete(asked)
        if self.model.count(self.prompt_of(asked.json)) >= self.model.context:
            return Reply([], type=EVENTS, chunked=True, end="close")
        return reply

    def _tokenize(self, asked: Asked) -> Reply:
        return document({"tokens": self.ids(self.bos + asked.json["input"])})


def constrained(grammar: str | None, schema: Any) -> dict[str, Any]:
    """What xgrammar makes of a grammar in its dialect, or of a schema."""
    if grammar is not None:
        grammars.check(grammar)
        return {"grammar": grammar}
    return {"schema": schema}
