"""Servers that answer messages, over `POST /v1/chat/completions`: never sent a rendered prompt.

Which fields a model takes differs more than anybody's documents say: a field that the server
refuses by name is left out from then on, and the answer says so.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, NoReturn
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

import httpx
import msgspec

from llmgate.backends import vectors
from llmgate.backends.chat_json import Asked, asked
from llmgate.backends.chat_reader import ChatReader
from llmgate.backends.chat_rows import AZURE, GENERIC, LM_STUDIO, OPENAI, Row
from llmgate.backends.fields import count_in
from llmgate.backends.framing import EventsOrDocument
from llmgate.backends.http import HTTPBackend
from llmgate.backends.plain_names import names_in, plain_names, renamed
from llmgate.backends.server import check_headers
from llmgate.config import ModelSettings
from llmgate.errors import ConfigError, RefusedRequest, RequestError, Unsupported
from llmgate.types import Caps, Delta, Embeddings, Note, Prompt, Request

# Fields that an answer is possible without, and for some another name that may be known.
_OTHER_NAMES = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_OPTIONAL = (
    *_OTHER_NAMES,
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "repeat_penalty",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "parallel_tool_calls",
    "tool_choice",
    "response_format",
)
# What llmgate sees to itself, whether or not the server does.
_HELD_HERE = frozenset({"stop", "stream", "stream_options", "parallel_tool_calls"})
_REFUSED = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|not permitted|not allowed|"
    r"unavailable|only the default|cannot use|can't use",
    re.IGNORECASE,
)
_DEPLOYMENT = re.compile(r"/openai/deployments/(?P<name>[^/]+)(?:/.*)?$")


class Lessons:
    """What a server has refused to be told."""

    def __init__(self) -> None:
        self._refused: set[str] = set()

    def of(self, error: RefusedRequest, body: Mapping[str, Any]) -> str | None:
        """The field that can be left out and is refused, None where that is not the reason.

        It is remembered, unless it is just this schema that can't be used.
        """
        sent = [field for field in _OPTIONAL if field in body]
        if not sent or not _REFUSED.search(error.message):
            return None
        field = error.param
        if field not in sent:
            # The first one named is the one at fault: what stands behind it is advice.
            found = re.search(rf"(?<!\w)(?:{'|'.join(sent)})(?!\w)", error.message)
            field = found[0] if found else None
        if field is not None and "schema" not in error.message.lower():
            self._refused.add(field)
        return field

    def applied(self, one: Asked, also: Collection[str] = ()) -> Asked:
        """The body without what was refused, and notes on what that leaves unsaid."""
        body, notes = dict(one.body), list(one.notes)
        refused = self._refused.union(also)
        for field in [field for field in body if field in refused]:
            value = body.pop(field)
            other = _OTHER_NAMES.get(field)
            if other is not None and other not in refused:
                body[other] = value
            elif field not in _HELD_HERE:
                message = f"{field} was left out, since the server refuses it"
                notes.append(Note("ignored_parameter", message))
        if "stream" not in body:
            body.pop("stream_options", None)
        return Asked(body, tuple(notes))


class MessageBackend(HTTPBackend):
    """What all servers that are asked with messages have in common."""

    known: ClassVar[Caps] = Caps(chat=True)

    def body_of(self, prompt: Prompt) -> NoReturn:
        """Raises `Unsupported`."""
        raise self._no_prompts()

    def reader(self, prompt: Prompt) -> NoReturn:
        """Raises `Unsupported`."""
        raise self._no_prompts()

    def complete(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Raises `Unsupported`."""
        raise self._no_prompts()

    def _no_prompts(self) -> Unsupported:
        return Unsupported(f"The model {self.name!r} is asked with messages, not with prompts.")


async def noted(
    notes: Sequence[Note], deltas: AsyncGenerator[Delta, None]
) -> AsyncGenerator[Delta, None]:
    """The deltas, with the notes before the first one: none where the server refuses it all."""
    said = False
    async with aclosing(deltas):
        async for delta in deltas:
            for note in () if said else notes:
                yield Delta(note=note)
            said = True
            yield delta


class ChatBackend(MessageBackend):
    """Answers messages with the server that a row of the table describes."""

    row: ClassVar[Row] = GENERIC
    kind = GENERIC.kind
    example = GENERIC.example
    path = "/v1/chat/completions"

    def __init__(
        self, model: str, settings: ModelSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        if self.row.url is not None and not settings.url:
            settings = msgspec.structs.replace(settings, url=self.row.url)
        super().__init__(model, settings, transport)
        self.model = settings.model or model
        self.chat_path, self.models_path = self.path, "/v1/models"
        self.embed_path = "/v1/embeddings"
        self._lessons = Lessons()

    def headers(self, model: str, settings: ModelSettings) -> Mapping[str, str] | None:
        """The key stands where the row says. Raises `ConfigError`."""
        if self.row.key_header is None or not settings.api_key:
            return None
        headers = {**settings.headers, self.row.key_header: settings.api_key}
        check_headers(model, headers)
        return headers

    async def learn(self) -> Caps:
        """The only model's name, where the settings give none, and the context, if it is told."""
        if not self.row.own_names:
            return self.caps
        reply = await self.server.ask_if_allowed("GET", self.models_path)
        names = _names(reply)
        if self.settings.model is None and self.name not in names and len(names) == 1:
            self.model = names[0]
        told = next((_context(e) for e in _entries(reply) if e.get("id") == self.model), None)
        return msgspec.structs.replace(self.caps, context=self.settings.context or told)

    async def models(self) -> tuple[str, ...]:
        """What the server lists as its models."""
        return _names(await self.server.ask("GET", self.models_path))

    async def health(self) -> None:
        """Return if the server answers. Raises `BackendError`s."""
        await self.server.ask("GET", self.models_path)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """A vector for each text, by the server."""
        await self.prepare()
        body = {"model": self.model, "input": list(texts), **self.settings.extra}
        seconds = self.settings.timeouts.first_token
        return vectors.read(
            await self.server.ask("POST", self.embed_path, body, seconds=seconds), texts
        )

    async def chat(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer the messages. See `Backend.chat`.

        Raises `RequestError` for what the server refuses about the request.
        """
        await self.prepare()
        others = plain_names(names_in(request)) if self.row.plain_names else {}
        request = renamed(request, others)
        names = {tool.name: tool.name for tool in request.tools}
        names |= {plain: name for name, plain in others.items()}
        left_out: set[str] = set()
        while True:
            one = self._lessons.applied(self.asked(request), left_out)
            body = {**one.body, **self.settings.extra}
            answer = self.answer(self.chat_path, body, ChatReader(names), request.stop)
            said = False
            try:
                async with aclosing(noted(one.notes, answer)) as deltas:
                    async for delta in deltas:
                        said = True
                        yield delta
                return
            except RefusedRequest as error:
                field = None if said else self._lessons.of(error, one.body)
                if field is None:
                    raise RequestError(error.message, hint=error.hint, param=error.param) from error
                # Each time there is one field less.
                left_out.add(field)

    def framing(self) -> EventsOrDocument:
        """Some servers don't stream, or not what has tools."""
        return EventsOrDocument()

    def asked(self, request: Request) -> Asked:
        """What is sent for this request."""
        constrain = self.settings.constraint in ("auto", "schema")
        return asked(request, self.row, self.model, constrain=constrain)


class LMStudioChatBackend(ChatBackend):
    """LM Studio's chat route: for models whose marks of calls its raw route does not show."""

    row = LM_STUDIO
    kind = LM_STUDIO.kind
    example = LM_STUDIO.example


class OpenAIBackend(ChatBackend):
    """The API of OpenAI, or another one at the settings' `url` that is just like it."""

    row = OPENAI
    kind = OPENAI.kind
    example = OPENAI.example

    def __init__(
        self, model: str, settings: ModelSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Raises `ConfigError` where the key is missing."""
        if not settings.url and not settings.api_key:
            raise ConfigError(
                f"the model {model!r} needs an `api_key`.",
                hint='For example: api_key = "sk-…"',
            )
        super().__init__(model, settings, transport)


class AzureBackend(ChatBackend):
    """Azure OpenAI: its v1 address, or with `api_version` the older one of a deployment.

    `model` is the name of the deployment. An address of the older kind may be given whole.
    """

    row = AZURE
    kind = AZURE.kind
    example = AZURE.example

    def __init__(
        self, model: str, settings: ModelSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        super().__init__(model, resource(settings), transport)
        if version := self.settings.api_version:
            query, name = f"?api-version={quote(version)}", quote(self.model, safe="")
            self.chat_path = f"/openai/deployments/{name}/chat/completions{query}"
            self.embed_path = f"/openai/deployments/{name}/embeddings{query}"
            self.models_path = f"/openai/models{query}"
        else:
            self.chat_path, self.models_path = "/openai" + self.chat_path, "/openai/v1/models"
            self.embed_path = "/openai/v1/embeddings"


def _entries(reply: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of a list of models."""
    data = reply.get("data")
    return [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []


def _names(reply: Mapping[str, Any]) -> tuple[str, ...]:
    """The ids in a list of models."""
    ids = (entry.get("id") for entry in _entries(reply))
    return tuple(id_ for id_ in ids if isinstance(id_, str))


def _context(entry: dict[str, Any]) -> int | None:
    """The context of a model in a list, as vLLM and SGLang or llama-server tell it."""
    meta = entry.get("meta")
    served = count_in(meta, "n_ctx") if isinstance(meta, dict) else None
    return count_in(entry, "max_model_len") or served or None


def resource(settings: ModelSettings) -> ModelSettings:
    """The settings with the bare address of the Azure resource, and what else it said in its own.

    What the settings say themselves goes before what the address says.
    """
    if not settings.url:
        return settings
    url = settings.url.strip()
    parts = urlsplit(url if "://" in url else f"https://{url}")
    version, model = settings.api_version, settings.model
    if told := parse_qs(parts.query).get("api-version"):
        version = version or told[0]
    path = parts.path.rstrip("/")
    if found := _DEPLOYMENT.search(path):
        model = model or found["name"]
        path = path[: found.start()]
    for end in ("/chat/completions", "/v1", "/openai"):
        path = path.removesuffix(end)
    bare = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
    return msgspec.structs.replace(settings, url=bare, model=model, api_version=version)
