"""A made-up Ollama, as its documents and `server/routes.go` have it: lines of JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from llmgate import grammar as grammars
from llmgate.errors import LlmgateError

from .base import LINES, Asked, Handler, Reply, WireServer, document, line
from .model import Model

# So many equal pieces behind the first make it give up.
_REPEATED = 30
_STAMP = {"created_at": "2026-11-21T11:00:00.000000Z"}


class OllamaServer(WireServer):
    """Cuts long prompts unless asked not to, holds answers to schemas, knows no grammar.

    `bos` is what it puts before all prompts; `seen` is the last prompt as its model got it.
    """

    backend = "ollama"
    answers = ("/api/generate",)

    def __init__(self, model: Model | None = None) -> None:
        super().__init__(model)
        self.version = "0.33.0"
        self.name = "tiny:latest"
        self.loaded = True
        self.thinks = False
        self.busy = False
        self.bos = ""
        self.info: dict[str, Any] = {
            "general.architecture": "llama",
            "llama.context_length": 131072,
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.tokens": None,
        }
        self.parameters = 'stop                           "<|im_end|>"'
        self.seen = ""

    def settings(self, **more: Any) -> Any:
        return super().settings(**{"model": "tiny", **more})

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        return {
            ("GET", "/"): lambda asked: Reply([b"Ollama is running"], type="text/plain"),
            ("GET", "/api/version"): lambda asked: document({"version": self.version}),
            ("GET", "/api/tags"): lambda asked: document({"models": [{"name": self.name}]}),
            ("GET", "/api/ps"): self._running,
            ("POST", "/api/show"): self._show,
            ("POST", "/api/embed"): self._embed,
            ("POST", "/api/generate"): self._generate,
        }

    def error(self, status: int, message: str) -> Reply:
        return document({"error": message}, status)

    def broken(self, message: str) -> bytes:
        return line({"error": message})

    def _running(self, asked: Asked) -> Reply:
        entry = {"name": self.name, "model": self.name, "context_length": self.model.context}
        return document({"models": [entry] if self.loaded else []})

    def _show(self, asked: Asked) -> Reply:
        if (problem := self._unknown(asked.json)) is not None:
            return problem
        capabilities = ["completion", *(["thinking"] if self.thinks else [])]
        return document(
            {
                "parameters": self.parameters,
                "template": "{{ .Prompt }}",
                "model_info": self.info,
                "capabilities": capabilities,
            }
        )

    def _embed(self, asked: Asked) -> Reply:
        body = asked.json
        if (problem := self._unknown(body)) is not None:
            return problem
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        sizes = [self.model.count(text) for text in texts]
        if max(sizes) > self.model.context and not body.get("truncate", True):
            return self.error(400, "the input length exceeds the context length")
        vectors = [[0.6, 0.8] for _ in texts]
        return document({"embeddings": vectors, "prompt_eval_count": sum(sizes)})

    def _unknown(self, body: Mapping[str, Any]) -> Reply | None:
        if self.name in (body["model"], f"{body['model']}:latest"):
            return None
        return self.error(404, f"model '{body['model']}' not found")

    def _generate(self, asked: Asked) -> Reply:
        body = asked.json
        if (problem := self._unknown(body)) is not None:
            return problem
        if self.busy:
            return self.error(
                503, "server busy, please try again.  maximum pending requests exceeded"
            )
        if not body.get("prompt"):
            return self._kept(body)
        if body.get("think") and not self.thinks:
            return self.error(400, f'"{body["model"]}" does not support thinking')
        options = body.get("options", {})
        try:
            schema = body.get("format")
            if schema is not None:
                grammars.compile(schema)
        except LlmgateError as error:
            return self.error(500, f"failed to parse grammar: {error}")
        context = min(options.get("num_ctx", self.model.context), self.model.context)
        tokens = self.model.tokens(self.bos + body["prompt"])
        if len(tokens) >= context:
            if not body.get("truncate", True) and self.version != "0.12.0":
                return self._overflow(len(tokens), context)
            tokens = tokens[-(context // 2) :]
        self.loaded = True
        self.seen = "".join(tokens)
        answer = self.model.answer(
            self.seen,
            stop=options.get("stop", ()),
            most=options.get("num_predict"),
            schema=schema,
            seed=options.get("seed"),
            greedy=options.get("temperature", 0.8) == 0,
            context=context,
        )
        return Reply(self._lines(body, answer, len(tokens)), type=LINES, chunked=True)

    async def _lines(
        self, body: Mapping[str, Any], answer: Any, tokens: int
    ) -> AsyncIterator[bytes]:
        head = {"model": body["model"], **_STAMP}
        last, repeated = None, 0
        for piece in answer:
            repeated = repeated + 1 if piece.strip() == last else 0
            last = piece.strip()
            if repeated > _REPEATED:
                return
            yield line({**head, "response": piece, "done": False})
        end = {"response": "", "done": True, "done_reason": answer.finish, "total_duration": 1}
        yield line({**head, **end, "prompt_eval_count": tokens, "eval_count": answer.tokens})

    def _kept(self, body: Mapping[str, Any]) -> Reply:
        self.loaded = body.get("keep_alive") != 0
        reason = "load" if self.loaded else "unload"
        end = {"response": "", "done": True, "done_reason": reason}
        return document({"model": body["model"], **_STAMP, **end})

    def _overflow(self, tokens: int, context: int) -> Reply:
        """What the llama-server inside says, as a text inside of what Ollama says."""
        message = f"the request exceeds the available context size ({context} tokens)"
        inner = {"code": 400, "message": message, "type": "exceed_context_size_error"}
        inner |= {"n_prompt_tokens": tokens, "n_ctx": context}
        return self.error(400, json.dumps({"error": inner}))
