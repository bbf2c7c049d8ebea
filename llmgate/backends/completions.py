"""Servers with an OpenAI-style `POST /v1/completions`, which no chat template touches.

What differs between them is a row in `llmgate.backends.completions_rows`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, nullcontext
from typing import Any, ClassVar

import httpx
import msgspec

from llmgate.backends.completions_reader import CompletionReader
from llmgate.backends.completions_rows import (
    BOS,
    GENERIC,
    LLAMA_CPP_PYTHON,
    LMSTUDIO,
    SGLANG,
    TEXTGEN,
    VLLM,
    Constraint,
    Listing,
    Row,
)
from llmgate.backends.fields import count_in, string_in
from llmgate.backends.http import HTTPBackend
from llmgate.backends.room import fitted
from llmgate.config import ModelSettings
from llmgate.errors import (
    BackendError,
    BackendUnreachable,
    ContextOverflow,
    LlmgateError,
    Unsupported,
)
from llmgate.types import Caps, Delta, Embeddings, Note, Prompt, Sampling, Usage

_SEEDS = 2**31 - 1
_VERSION = re.compile(r"(\d+)\.(\d+)")
# A token has as many bytes or more, but for rare texts: a guess, where nobody counts.
_BYTES_OF_A_TOKEN = 2


class CompletionsBackend(HTTPBackend):
    """Completes prompts with a server of the row's kind.

    Its defaults for the length of an answer are a few words, so that length is always sent: what
    the context leaves, where it is known, else the row's `max_tokens`.
    """

    row: ClassVar[Row]
    path = "/v1/completions"

    def __init_subclass__(cls) -> None:
        row = cls.row
        cls.kind, cls.example = row.kind, row.example
        cls.known = Caps(
            grammar=row.constraint.grammar is not None,
            schema=row.constraint.schema is not None,
            tokenize=row.counting is not None,
            truncates=row.truncates,
        )

    def __init__(
        self, model: str, settings: ModelSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        super().__init__(model, settings, transport)
        self._constraint = self.row.constraint
        self._model = settings.model
        self._bos = ""
        # What the counting route counts for no text at all.
        self._counted = 0
        self._turn = asyncio.Lock() if self.row.serial else None

    @property
    def model_there(self) -> str:
        """What the server calls the model: what the settings say, else the one that it lists."""
        return self._model or super().model_there

    def body_of(self, prompt: Prompt) -> dict[str, Any]:
        """The body of a request to `/v1/completions`."""
        row, sampling = self.row, prompt.sampling
        stops = [stop for stop in prompt.stop if stop][: row.stops]
        text = prompt.text
        if row.bos == "strip" and self._bos:
            text = text.removeprefix(self._bos)
        body: dict[str, Any] = {"prompt": text, "stream": True, **row.fixed}
        if self._model is not None:
            body["model"] = self._model
        for name, field in row.sampling.items():
            if (value := getattr(sampling, name)) is not None:
                body[field] = value % _SEEDS if name == "seed" else value
        body["max_tokens"] = sampling.max_tokens
        if row.context is not None and self.caps.context is not None:
            body[row.context] = self.caps.context
        if stops:
            body["stop"] = stops
        if row.bos == "flag":
            # A BOS in the prompt is not to be doubled; elsewhere the tokenizer knows better.
            body["add_special_tokens"] = bool(self._bos) and not text.startswith(self._bos)
        return {**body, **self._held(prompt), **self.settings.extra}

    def reader(self, prompt: Prompt) -> CompletionReader:
        """A reader of the events of one answer."""
        return CompletionReader(self.row, self.server.url)

    def notes(self, prompt: Prompt) -> list[Note]:
        """The sampling that the server can't be told, and a constraint that it does not know."""
        fields = Sampling.__struct_fields__
        missing = [
            Note("ignored_parameter", f"{self.kind} can't be told {name} here.")
            for name in fields
            if name != "max_tokens"
            and name not in self.row.sampling
            and getattr(prompt.sampling, name) is not None
        ]
        if prompt.grammar is not None and not self.caps.grammar and prompt.schema is None:
            missing.append(Note("unconstrained", f"{self.kind} is not held to the grammar."))
        return missing

    async def start(self) -> None:
        """Ask the server what it is like. See `HTTPBackend.start`."""
        async with self._turn or nullcontext():
            await super().start()

    async def complete(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Complete the prompt. See `Backend.complete`."""
        async with self._turn or nullcontext():
            await self.prepare()
            try:
                prompt = await self._bounded(prompt)
            except BackendError as error:
                self.doubt(error)
                raise
            async with aclosing(super().complete(prompt)) as deltas:
                async for delta in deltas:
                    yield delta

    async def answer(
        self, path: str, body: dict[str, Any], reader: Any, stop: Any
    ) -> AsyncGenerator[Delta, None]:
        """The deltas of one answer, to its finish; tokens that nobody told are counted."""
        said = False
        try:
            async with aclosing(super().answer(path, body, reader, stop)) as deltas:
                async for delta in deltas:
                    said = True
                    if delta.finish is not None and self.row.usage == "untold":
                        delta = await self._with_usage(delta, body["prompt"], reader)
                    yield delta
        except BackendError as error:
            if said or type(error) is not BackendError:
                raise
            self._check_length(body["prompt"], error)
            raise

    async def learn(self) -> Caps:
        """The model's name and context, the server's version and the BOS that it adds."""
        caps = self.caps
        if self.row.model or any(listing.context for listing in self.row.listings):
            context = await self._look_up()
            caps = msgspec.structs.replace(caps, context=context or caps.context)
        if self.row.older:
            told = await self.server.ask_if_allowed("GET", "/version")
            self._constraint = constraint_of(self.row, string_in(told, "version") or "")
        if self.row.counting is not None:
            with contextlib.suppress(BackendUnreachable):
                self._counted = await self._count("") or 0
        if self.row.tokens is not None:
            self._bos = await self._added_bos()
        return caps

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """A vector for each text, see `HTTPBackend.embed`."""
        async with self._turn or nullcontext():
            await self.prepare()
            return await super().embed(texts)

    async def models(self) -> tuple[str, ...]:
        """What the server lists as its models."""
        async with self._turn or nullcontext():
            return await super().models()

    async def count(self, text: str) -> int:
        """The number of tokens of `text`, by the server's tokenizer where it has a route to it."""
        if self.row.counting is None:
            raise Unsupported(f"{self.kind} does not count tokens.")
        if not text:
            return 0
        async with self._turn or nullcontext():
            await self.prepare()
            return await self._tokens_of(text)

    async def health(self) -> None:
        """Return if the server answers and has a model. Raises `BackendError`s."""
        told = await self.server.ask("GET", self.row.health)
        if self.row.unloaded is not None and told.get("model_name") == self.row.unloaded:
            raise BackendUnreachable(f"{self.kind} at {self.server.url} has no model loaded.")

    # How long an answer may be.

    async def _bounded(self, prompt: Prompt) -> Prompt:
        """The prompt with a length for its answer. Raises `ContextOverflow` if there is none."""
        context, wanted = self.caps.context, prompt.sampling.max_tokens
        unlimited = self.row.unlimited is not None and wanted is None
        if unlimited and not self.row.truncates:
            return prompt
        if context is not None and self.row.counting is not None:
            within = await fitted(prompt, context, self._tokens_of)
            prompt = prompt if unlimited else within
        if unlimited or prompt.sampling.max_tokens is not None:
            return prompt
        most = self.row.max_tokens
        if context is not None:
            size = _bytes(prompt.text) // _BYTES_OF_A_TOKEN
            most = max(context - size, min(self.settings.reply_tokens, context))
        sampling = msgspec.structs.replace(prompt.sampling, max_tokens=most)
        return msgspec.structs.replace(prompt, sampling=sampling)

    def _check_length(self, text: str, error: BackendError) -> None:
        """Raise `ContextOverflow` where that is why there was no answer, as far as one can see."""
        context, size = self.caps.context, _bytes(text) // _BYTES_OF_A_TOKEN
        if self.row.truncates and self.row.counting is None and context and size > context:
            raise ContextOverflow(
                f"{error.message} The prompt of {len(text)} characters is probably too long: the "
                f"model's context holds {context} tokens."
            ) from error

    async def _tokens_of(self, text: str) -> int:
        counted = await self._count(text)
        if counted is None:
            raise BackendError(f"{self.kind} at {self.server.url} counted no tokens.")
        return max(0, counted - self._counted)

    async def _count(self, text: str) -> int | None:
        counting = self.row.counting
        assert counting is not None
        body = {counting.text: text, **counting.fields, **self._named()}
        ask = self.server.ask if text else self.server.ask_if_allowed
        return count_in(await ask("POST", counting.path, body), counting.answer)

    async def _with_usage(self, last: Delta, prompt: str, reader: CompletionReader) -> Delta:
        """The last delta with numbers that the server was asked for afterwards."""
        try:
            tokens = await self._tokens_of(prompt) + self._counted
            written = await self._tokens_of("".join(reader.text))
        except LlmgateError:
            # The answer is there, whatever becomes of its numbers.
            return last
        return msgspec.structs.replace(last, usage=Usage(tokens, max(written, 1)))

    # What the server is asked at the beginning.

    def _named(self) -> dict[str, str]:
        return {} if self._model is None else {"model": self._model}

    async def _look_up(self) -> int | None:
        """The context of our model; its name, too, where the settings have none."""
        for listing in self.row.listings:
            reply = await self.server.ask_if_allowed("GET", listing.path)
            if entry := entry_of(reply, listing, self.settings.model):
                name = string_in(entry, listing.name)
                if self.row.model and self.settings.model is None:
                    self._model = name or self._model
                found = (count_in(entry, field) for field in listing.context)
                return next((context for context in found if context), None)
        return None

    async def _added_bos(self) -> str:
        """The text of the BOS that the server adds by itself, empty if there is none."""
        added = await self._ids("")
        if len(added) != 1:
            return ""
        tokens = self.row.tokens
        assert tokens is not None
        if tokens.back is not None:
            body = {"tokens": added, **tokens.back_fields, **self._named()}
            reply = await self.server.ask_if_allowed("POST", tokens.back, body)
            return string_in(reply, tokens.whole) or ""
        for text in BOS:
            # What stands in the text gets another one in front.
            if await self._ids(text) == added * 2:
                return text
        return ""

    async def _ids(self, text: str) -> list[Any]:
        tokens = self.row.tokens
        assert tokens is not None
        body = {tokens.text: text, **tokens.fields, **self._named()}
        found = (await self.server.ask_if_allowed("POST", tokens.path, body)).get("tokens")
        return found if isinstance(found, list) else []

    def _held(self, prompt: Prompt) -> dict[str, Any]:
        """The fields that hold the answer to the prompt's grammar, else to its schema."""
        held, caps = self._constraint, self.caps
        if prompt.grammar is not None and held.grammar is not None and caps.grammar:
            grammar = prompt.grammar
            if held.dialect == "xgrammar":
                from llmgate.grammar.gbnf.xgrammar import to_xgrammar

                grammar = to_xgrammar(grammar)
            return nested(held.grammar, grammar)
        if prompt.schema is not None and held.schema is not None and caps.schema:
            schema = msgspec.json.encode(prompt.schema).decode() if held.as_text else prompt.schema
            return nested(held.schema, schema)
        return {}


class CompatibleBackend(CompletionsBackend):
    """Any server with that route: nothing is assumed but what OpenAI's own documents say."""

    row = GENERIC


class TextgenBackend(CompletionsBackend):
    """text-generation-webui."""

    row = TEXTGEN


class LMStudioBackend(CompletionsBackend):
    """LM Studio, by prompts. Its route has no constraints; `lmstudio-chat` has schemas."""

    row = LMSTUDIO


class VLLMBackend(CompletionsBackend):
    """vLLM."""

    row = VLLM


class SGLangBackend(CompletionsBackend):
    """SGLang."""

    row = SGLANG


class LlamaCppPythonBackend(CompletionsBackend):
    """The server of llama-cpp-python. It is asked one thing at a time, see `Row.serial`."""

    row = LLAMA_CPP_PYTHON


def constraint_of(row: Row, version: str) -> Constraint:
    """How answers are constrained by the server of that version."""
    if found := _VERSION.match(version):
        told = int(found[1]), int(found[2])
        return next((one for before, one in row.older if told < before), row.constraint)
    return row.constraint


def entry_of(reply: dict[str, Any], listing: Listing, model: str | None) -> dict[str, Any] | None:
    """Our model among those listed: the named one, else the first that is loaded."""
    known = _tables(reply.get(listing.entries))
    known = [entry for entry in known if entry.get("type") not in listing.other]
    if model is not None:
        known = [entry for entry in known if entry.get(listing.name) == model]
    if listing.loaded is not None:
        field, value = listing.loaded
        known = [entry for entry in known if entry.get(field) == value]
    if listing.instances is not None:
        known = [
            {listing.name: entry.get(listing.name), **config}
            for entry in known
            for instance in _tables(entry.get(listing.instances))
            if isinstance(config := instance.get("config"), dict)
        ]
    return known[0] if known else None


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _tables(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def nested(way: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The value in the field at the end of the way."""
    first, *rest = way
    for name in reversed(rest):
        value = {name: value}
    return {first: value}
