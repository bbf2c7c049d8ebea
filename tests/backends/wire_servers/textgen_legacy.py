"""A made-up text-generation-webui of 2023: the whole answer at once, always with status 200."""

from __future__ import annotations

from collections.abc import Mapping

from .base import Asked, Handler, Reply, WireServer, document
from .kobold import usable
from .model import Model

_NEW_TOKENS = 200


class TextgenLegacyServer(WireServer):
    """Tells no reason for the end and no usage, and cuts long prompts from the front.

    `cut` is what it left out of the last prompt.
    """

    backend = "textgen-legacy"
    answers = ("/api/v1/generate",)
    streams = False
    tells_usage = False

    def __init__(self, model: Model | None = None) -> None:
        super().__init__(model)
        self.name = "tiny"
        self.cut = 0

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        return {
            ("GET", "/api/v1/model"): lambda asked: document({"result": self.name}),
            ("POST", "/api/v1/model"): self._model,
            ("POST", "/api/v1/token-count"): self._count,
            ("POST", "/api/v1/generate"): self._generate,
        }

    def error(self, status: int, message: str) -> Reply:
        return Reply([f"<p>Error code: {status}</p><p>{message}</p>".encode()], status, "text/html")

    def broken(self, message: str) -> None:
        return None

    def _model(self, asked: Asked) -> Reply:
        shared = {"truncation_length": self.model.context}
        return document({"result": {"model_name": self.name, "shared.settings": shared}})

    def _count(self, asked: Asked) -> Reply:
        return document({"results": [{"tokens": self.model.count(asked.json["prompt"])}]})

    def _generate(self, asked: Asked) -> Reply:
        body = asked.json
        most = body.get("max_new_tokens", _NEW_TOKENS)
        context = body.get("truncation_length", self.model.context)
        tokens = self.model.tokens(body["prompt"])
        self.cut = max(0, len(tokens) + most - context)
        answer = self.model.answer(
            "".join(tokens[self.cut :]),
            stop=body.get("stopping_strings", ()),
            most=most,
            grammar=usable(body.get("grammar_string")),
            seed=None if body.get("seed", -1) == -1 else body["seed"],
            greedy=not body.get("do_sample", True),
        )
        return document({"results": [{"text": "".join(answer)}]})
