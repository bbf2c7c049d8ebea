"""A made-up KoboldCpp, as its source (1.102) has it: HTTP/1.0, events without an end mark."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from llmgate import grammar as grammars
from llmgate.errors import GrammarError

from .base import EVENTS, Asked, Handler, Reply, WireServer, document, event
from .model import EOS, TEMPLATE, Model

_DEFAULT_LENGTH = 896
_BUSY = "Server is busy; please try again later."
OUT_OF_TOKENS, EOS_HIT, STOPPER = 0, 1, 2


class KoboldServer(WireServer):
    """Cuts long prompts from the front, ignores bad grammars, calls stop strings `length`.

    `cut` is what it left out of the last prompt, `aborted` are the keys that it was told to stop.
    """

    backend = "koboldcpp"
    answers = ("/api/extra/generate/stream",)

    def __init__(self, model: Model | None = None) -> None:
        super().__init__(model)
        self.name = "koboldcpp/tiny"
        self.cut = 0
        self.aborted: list[str] = []
        self.busy = False
        self.perf = {
            "last_token_count": 0,
            "last_input_count": 0,
            "last_seed": -1,
            "total_gens": 0,
            "stop_reason": -1,
            "queue": 0,
            "idle": 1,
        }

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        context = self.model.context
        template = {"chat_template": TEMPLATE, "total_slots": 1, "n_ctx": context}
        return {
            ("GET", "/api/v1/model"): lambda asked: document({"result": self.name}),
            ("GET", "/v1/models"): lambda asked: document(
                {"object": "list", "data": [{"id": self.name, "object": "model"}]}
            ),
            ("GET", "/api/extra/true_max_context_length"): lambda asked: document(
                {"value": context}
            ),
            ("GET", "/api/extra/version"): lambda asked: document(
                {"result": "KoboldCpp", "version": "1.102"}
            ),
            ("GET", "/api/extra/perf"): lambda asked: document(self.perf),
            ("GET", "/props"): lambda asked: document(template),
            ("POST", "/api/extra/tokencount"): self._tokencount,
            ("POST", "/api/extra/abort"): self._abort,
            ("POST", "/api/extra/generate/stream"): self._generate,
        }

    def error(self, status: int, message: str) -> Reply:
        if status == 404:
            return Reply([b"Error: KoboldCpp HTTP Server is running"], 404, "text/html")
        return document({"detail": {"msg": message, "type": "service_unavailable"}}, status)

    def broken(self, message: str) -> bytes:
        return event({"token": "", "finish_reason": "error"}, "message")

    def _tokencount(self, asked: Asked) -> Reply:
        tokens = self.model.count(asked.json["prompt"]) + bool(asked.json.get("special", True))
        return document({"value": tokens if tokens < 50_000 else 0, "ids": []})

    def _abort(self, asked: Asked) -> Reply:
        self.aborted.append(asked.json["genkey"])
        return document({"success": "true", "done": "true"})

    def _generate(self, asked: Asked) -> Reply:
        if self.busy:
            return self.error(503, _BUSY)
        return Reply(self._events(asked.json), type=EVENTS, eof=True)

    async def _events(self, body: Mapping[str, Any]) -> AsyncIterator[bytes]:
        context = min(body.get("max_context_length", self.model.context), self.model.context)
        length = min(body.get("max_length", _DEFAULT_LENGTH), context - int(context * 0.2))
        tokens = self.model.tokens(body["prompt"])
        self.cut = max(0, len(tokens) + length - context)
        stops = [stop for stop in body.get("stop_sequence", []) if stop]
        trim = body.get("trim_stop", True)
        greedy = body.get("temperature", 0.75) == 0
        answer = self.model.answer(
            "".join(tokens[self.cut :]),
            stop=stops if trim else (),
            most=length,
            grammar=usable(body.get("grammar")),
            seed=body.get("sampler_seed"),
            greedy=greedy,
        )
        said, reason = "", STOPPER
        for piece in answer:
            said += piece
            yield event({"token": piece, "finish_reason": None}, "message")
            if any(stop in said for stop in stops):
                break
        else:
            reason = OUT_OF_TOKENS if answer.finish == "length" else EOS_HIT
            reason = STOPPER if answer.word else reason
        if body.get("render_special") and reason == EOS_HIT:
            yield event({"token": EOS, "finish_reason": None}, "message")
        self.perf |= {
            "last_token_count": answer.tokens,
            "last_input_count": len(tokens) - self.cut,
            "last_seed": body.get("sampler_seed", 1),
            "total_gens": self.perf["total_gens"] + 1,
            "stop_reason": reason,
        }
        ended = "stop" if reason == EOS_HIT else "length"
        yield event({"token": "", "finish_reason": ended}, "message")


def usable(grammar: str | None) -> str | None:
    """A grammar that can't be read is left out without a word."""
    if not grammar:
        return None
    try:
        grammars.check(grammar)
    except GrammarError:
        return None
    return grammar
