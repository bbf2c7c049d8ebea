"""A made-up llama-server: what it is asked is kept, and it answers what a test tells it to."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx

from llmgate.backends.llamacpp import LlamaCppBackend
from llmgate.config import ModelSettings

URL = "http://server:8080"
LAST = {
    "content": "",
    "stop": True,
    "stop_type": "eos",
    "tokens_predicted": 3,
    "tokens_evaluated": 10,
    "timings": {"cache_n": 6, "prompt_n": 4, "predicted_n": 3},
}


def events(*payloads: object) -> bytes:
    """The payloads as a stream of events; a string stands for itself."""
    return "".join(
        f"data: {p if isinstance(p, str) else json.dumps(p, ensure_ascii=False)}\n\n"
        for p in payloads
    ).encode()


def stream(body: bytes | httpx.AsyncByteStream) -> httpx.Response:
    kind = {"content-type": "text/event-stream"}
    if isinstance(body, bytes):
        return httpx.Response(200, headers=kind, content=body)
    return httpx.Response(200, headers=kind, stream=body)


class Server:
    """A made-up llama-server: `respond` answers completions, all requests are kept."""

    def __init__(self, respond: Callable[[httpx.Request], httpx.Response]) -> None:
        self.respond = respond
        self.requests: list[httpx.Request] = []
        self.props = {"default_generation_settings": {"n_ctx": 4096}, "bos_token": "<s>"}
        self.bos: list[int] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.path == "/props":
            return httpx.Response(200, json=self.props)
        if request.url.path == "/tokenize":
            return httpx.Response(200, json={"tokens": self.tokens(json.loads(request.content))})
        return self.respond(request)

    def tokens(self, question: dict) -> list[int]:
        """What the model adds by itself, then the token of a BOS if there is one."""
        added = self.bos if question["add_special"] else []
        return added + [1] * (question["content"] == "<s>")

    @property
    def body(self) -> dict:
        """The body of the last completion."""
        return json.loads(self.requests[-1].content)


def backend_of(server: Server, **settings) -> LlamaCppBackend:
    settings = ModelSettings(backend="llamacpp", **{"url": URL, **settings})
    return LlamaCppBackend("mine", settings, transport=httpx.MockTransport(server))


def error_of(status: int, type_: str, message: str, **more: object) -> httpx.Response:
    """An error as llama-server reports it."""
    error = {"code": status, "type": type_, "message": message, **more}
    return httpx.Response(status, json={"error": error})
