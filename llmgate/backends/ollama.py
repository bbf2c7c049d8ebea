"""Ollama, over its `POST /api/generate` with raw prompts.

API: https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import httpx
import msgspec

from llmgate.backends import vectors
from llmgate.backends.answering import Reader
from llmgate.backends.fields import string_in
from llmgate.backends.framing import Framing, Lines
from llmgate.backends.http import HTTPBackend
from llmgate.backends.ollama_json import (
    REPEATED,
    AnswerReader,
    adds_bos,
    body_of,
    common,
    context_of,
    loaded_in,
    template_of,
    truncates,
)
from llmgate.config import ModelSettings
from llmgate.errors import BackendError, BackendRejected, LlmgateError
from llmgate.types import Caps, Delta, Embeddings, Note, Prompt

_LOG = logging.getLogger(__name__)
# Models of this kind write in a format of their own, whatever schema they are given.
_UNHELD = ("gptoss", "gpt-oss")


class OllamaBackend(HTTPBackend):
    """Completes prompts with a model of a running Ollama.

    It holds answers to JSON Schemas and to no grammars, shows no control tokens, and counts no
    tokens. A model is loaded by its first request, and only then the size of its context is
    certain (unless the settings say it): so the server is asked for it once more.
    """

    kind = "Ollama"
    example = "http://127.0.0.1:11434"
    path = "/api/generate"
    known = Caps(schema=True, truncates=True)

    def __init__(
        self, model: str, settings: ModelSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        super().__init__(model, settings, transport)
        self.model = settings.model or model
        self._adds_bos = False
        self._thinking_known = True
        self._loaded = False
        self._asked_again = False

    def body_of(self, prompt: Prompt) -> dict[str, Any]:
        """The body of a request to `/api/generate`."""
        body = body_of(prompt, self.settings, self.model, adds_bos=self._adds_bos)
        if not self._thinking_known:
            del body["think"]
        return body

    def reader(self, prompt: Prompt) -> AnswerReader:
        """A reader of the lines of one answer."""
        return AnswerReader()

    def framing(self) -> Framing:
        """One JSON object a line."""
        return Lines()

    def notes(self, prompt: Prompt) -> list[Note]:
        """A grammar: there is no field for it."""
        if prompt.grammar is None:
            return []
        return [Note("constraint", "Ollama takes no grammars: the answer was not constrained.")]

    async def complete(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Complete the prompt. See `Backend.complete`."""
        async with aclosing(super().complete(prompt)) as deltas:
            async for delta in deltas:
                yield delta
        if not (self._loaded or self._asked_again):
            self._asked_again, self._learned = True, False

    async def answer(
        self, path: str, body: dict[str, Any], reader: Reader, stop: Sequence[str]
    ) -> AsyncGenerator[Delta, None]:
        """The deltas of one answer, without `think` where the server refuses that."""
        said = False
        try:
            async with aclosing(super().answer(path, body, reader, stop)) as deltas:
                async for delta in deltas:
                    said = True
                    yield delta
            return
        except LlmgateError as error:
            if said or "think" not in body or not _about_thinking(error):
                raise self._clearer(error, body, reader) from error
        self._thinking_known = False
        if body["think"]:
            what = f"The model {self.model!r} does not support thinking."
            yield Delta(note=Note("ignored_parameter", what))
        body = {name: value for name, value in body.items() if name != "think"}
        async with aclosing(super().answer(path, body, reader, stop)) as deltas:
            async for delta in deltas:
                yield delta

    async def learn(self) -> Caps:
        """What the server's version and the model's file say, and its context if it is loaded."""
        version = await self.server.ask_if_allowed("GET", "/api/version")
        show = await self.server.ask_if_allowed("POST", "/api/show", {"model": self.model})
        running = await self.server.ask_if_allowed("GET", "/api/ps")
        raw = show.get("model_info")
        info = raw if isinstance(raw, dict) else {}
        able = show.get("capabilities")
        loaded = loaded_in(running, self.model)
        self._loaded = loaded is not None
        if not self._loaded:
            # The probe would load it, and may have to throw another model out for that.
            self._to_probe = False
        self._adds_bos = adds_bos(info)
        held = str(info.get("general.architecture")) not in _UNHELD
        caps = msgspec.structs.replace(
            self.caps,
            schema=self.caps.schema and held,
            embed=isinstance(able, list) and "embedding" in able,
            context=self.settings.context or context_of(show, loaded),
            template=template_of(info),
            truncates=truncates(string_in(version, "version")),
        )
        if caps.truncates and caps.context is None and not self._asked_again:
            _LOG.warning(
                "Ollama at %s (version %s) cuts prompts that are too long without saying so, and "
                "does not tell how long they may be: set `context` in the settings of %r.",
                self.server.url,
                version.get("version", "unknown"),
                self.name,
            )
        return caps

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """A vector for each text; one that is too long is refused, not cut."""
        body = {**common(self.settings, self.model, {}), "input": list(texts), "truncate": False}
        seconds = self.settings.timeouts.first_token
        try:
            return vectors.read(
                await self.server.ask("POST", "/api/embed", body, seconds=seconds), texts
            )
        except LlmgateError as error:
            raise self._clearer(error, {}, None) from error

    async def models(self) -> tuple[str, ...]:
        """The names of the models that it has, loaded or not."""
        reply = await self.server.ask("GET", "/api/tags")
        models = reply.get("models")
        entries = models if isinstance(models, list) else []
        names = [string_in(entry, "name") for entry in entries if isinstance(entry, dict)]
        return tuple(name for name in names if name)

    async def health(self) -> None:
        """Return if the server is up and has the model. Raises `BackendError`s."""
        try:
            await self.server.ask("POST", "/api/show", {"model": self.model})
        except LlmgateError as error:
            raise self._clearer(error, {}, None) from error

    async def load(self) -> None:
        """Load the model, as its first request would. Raises `BackendError`s."""
        await self._keep(common(self.settings, self.model, {}))
        self._learned = False

    async def unload(self) -> None:
        """Let the server forget the model until the next request. Raises `BackendError`s."""
        await self._keep({"model": self.model, "keep_alive": 0})

    async def _keep(self, body: dict[str, Any]) -> None:
        seconds = self.settings.timeouts.first_token
        try:
            await self.server.ask("POST", self.path, {**body, "stream": False}, seconds=seconds)
        except LlmgateError as error:
            raise self._clearer(error, body, None) from error

    def _clearer(
        self, error: LlmgateError, body: dict[str, Any], reader: Reader | None
    ) -> LlmgateError:
        """The same error with what is known of its reasons here."""
        said = error.message.lower()
        if isinstance(error, BackendRejected) and "model" in said and "not found" in said:
            return BackendRejected(error.message, hint=f"Get it with: ollama pull {self.model}")
        if type(error) is not BackendError:
            return error
        if isinstance(reader, AnswerReader) and reader.finish is None:
            if reader.repeated >= REPEATED:
                return BackendError(
                    f"Ollama at {self.server.url} gave up: the model wrote the same piece more "
                    f"than {REPEATED} times."
                )
            # A schema that it can't use: a failure of the server by its status, ours by its cause.
            if "format" in body and ("grammar" in said or "format" in said or "schema" in said):
                return BackendRejected(error.message)
        return error


def _about_thinking(error: LlmgateError) -> bool:
    return isinstance(error, BackendRejected) and "does not support thinking" in error.message
