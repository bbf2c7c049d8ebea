"""text-generation-webui's old API, `POST /api/v1/generate`, which it had until November 2023.

The whole answer comes at once. API:
https://github.com/oobabooga/text-generation-webui/tree/v1.7/extensions/api
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from llmgate.backends.fields import count_in, string_in
from llmgate.backends.framing import Document, Framing
from llmgate.backends.http import HTTPBackend
from llmgate.backends.room import fitted
from llmgate.errors import BackendError, BackendUnreachable, Unsupported
from llmgate.types import Caps, Delta, Embeddings, Finish, Note, Prompt, Usage

# What it calls the model while there is none.
_NO_MODEL = ("", "None")
# What it has no fields for, with the names that clients know.
_UNKNOWN = ("min_p", "presence_penalty", "frequency_penalty")
_BOS = ("<s>", "<|begin_of_text|>", "<bos>")


class TextgenLegacyBackend(HTTPBackend):
    """Completes prompts with a text-generation-webui of 2023.

    It says neither why an answer ended nor how many tokens it has, and cuts prompts from the
    front. Its only way to stop an answer stops those of all clients, and is left alone.
    """

    kind = "text-generation-webui (old API)"
    example = "http://127.0.0.1:5000"
    path = "/api/v1/generate"
    known = Caps(grammar=True, tokenize=True, truncates=True)

    def body_of(self, prompt: Prompt) -> dict[str, Any]:
        """The body of a request to `/api/v1/generate`."""
        return {**body_of(prompt, self.caps.context), **self.settings.extra}

    def reader(self, prompt: Prompt) -> AnswerReader:
        """A reader of the one reply."""
        return AnswerReader()

    def framing(self) -> Framing:
        """One JSON document."""
        return Document()

    def notes(self, prompt: Prompt) -> list[Note]:
        """The parameters that this API had not yet."""
        names = [name for name in _UNKNOWN if getattr(prompt.sampling, name) is not None]
        return [Note("ignored_parameter", f"{self.kind} has no {name}.") for name in names]

    async def complete(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Complete the prompt. See `Backend.complete`."""
        await self.prepare()
        prompt = await fitted(prompt, self.caps.context, self.count)
        text = ""
        async with aclosing(super().complete(prompt)) as deltas:
            async for delta in deltas:
                text += delta.text
                yield delta if delta.finish is None else await self._judged(delta, text, prompt)

    async def learn(self) -> Caps:
        """The context, where the server tells its settings."""
        reply = await self.server.ask_if_allowed("POST", "/api/v1/model", {"action": "info"})
        info = reply.get("result")
        shared = info.get("shared.settings") if isinstance(info, dict) else None
        told = count_in(shared, "truncation_length") if isinstance(shared, dict) else None
        return msgspec.structs.replace(self.caps, context=self.settings.context or told)

    async def count(self, text: str) -> int:
        """The number of tokens of `text`, by the server's tokenizer, which may count a BOS."""
        if not text:
            return 0
        reply = await self.server.ask("POST", "/api/v1/token-count", {"prompt": text})
        tokens = count_in(first_of(reply), "tokens")
        if tokens is None:
            raise BackendError(f"The server at {self.server.url} sent no count: {reply!r:.300}")
        return tokens

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Raises `Unsupported`."""
        raise Unsupported(f"{self.kind} makes no embeddings.", param="model")

    async def models(self) -> tuple[str, ...]:
        """The one model that it has loaded."""
        name = string_in(await self.server.ask("GET", "/api/v1/model"), "result") or ""
        return () if name in _NO_MODEL else (name,)

    async def health(self) -> None:
        """Return if the server is up and has a model. Raises `BackendError`s."""
        if not await self.models():
            raise BackendUnreachable(f"{self.kind} at {self.server.url} has no model loaded.")

    async def _judged(self, last: Delta, text: str, prompt: Prompt) -> Delta:
        """The last delta, with `length` for an answer that has all the tokens it might have."""
        most = prompt.sampling.max_tokens
        if most is None or len(text.encode("utf-8", "surrogatepass")) < most:
            return last
        finish: Finish = "length" if await self.count(text) >= most else "stop"
        return msgspec.structs.replace(last, finish=finish)


def body_of(prompt: Prompt, context: int | None) -> dict[str, Any]:
    """The body of a request; what nobody chose is left out, the server has its own defaults."""
    sampling = prompt.sampling
    fields = {
        "truncation_length": context,
        "max_new_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "repetition_penalty": sampling.repeat_penalty,
        # -1 means "random".
        "seed": None if sampling.seed is None else sampling.seed % 0x7FFFFFFF,
        "stopping_strings": [stop for stop in prompt.stop if stop] or None,
        "grammar_string": prompt.grammar,
        "skip_special_tokens": False if prompt.preserved else None,
        "add_bos_token": False if prompt.text.startswith(_BOS) else None,
    }
    if sampling.temperature == 0:
        # Some of its loaders divide by the temperature, others know no `do_sample`.
        fields |= {"do_sample": False, "temperature": 1.0, "top_k": 1}
    return {
        "prompt": prompt.text,
        **{name: value for name, value in fields.items() if value is not None},
    }


def first_of(reply: dict[str, Any]) -> dict[str, Any]:
    """The first of a reply's results."""
    results = reply.get("results")
    first = results[0] if isinstance(results, list) and results else None
    return first if isinstance(first, dict) else {}


class AnswerReader:
    """Reads the one reply, see `llmgate.backends.http.Reader`."""

    def __init__(self) -> None:
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        self.complete = False

    def take(self, reply: dict[str, Any]) -> list[Delta]:
        """The text of the reply; one without a text leaves the answer without its end."""
        text = string_in(first_of(reply), "text")
        if text is None:
            return []
        self.finish, self.complete = "stop", True
        return [Delta(text)] if text else []
