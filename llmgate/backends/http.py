"""What all backends over HTTP have in common: one subclass a wire format, one row a variant."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Self

import httpx
import msgspec

from llmgate.backends import vectors
from llmgate.backends.answering import Answering, Reader
from llmgate.backends.base import Completes
from llmgate.backends.framing import Framing
from llmgate.backends.server import Server, encode
from llmgate.backends.sse import Events
from llmgate.config import ModelSettings
from llmgate.errors import (
    BackendRejected,
    BackendTimeout,
    BackendUnreachable,
    LlmgateError,
    RefusedRequest,
    Unsupported,
)
from llmgate.types import Caps, Delta, Embeddings, Note, Prompt, Sampling

__all__ = ["PROBE", "PROBE_ANSWER", "HTTPBackend", "Reader"]

_PROBE_SECONDS = 2.0
_SHOWN = 200
_LOG = logging.getLogger(__name__)

# What servers call the constraint when they refuse one.
_CONSTRAINT_WORDS = ("grammar", "schema", "format", "structured", "guided", "ebnf", "sampler")

PROBE_ANSWER = "llmgate-probe"
# One answer, but for rules, classes, repetition and choice, as in the grammars to come.
PROBE = Prompt(
    "A word:",
    grammar='root ::= "llm" [g] rest{1,1}\nrest ::= "ate" ("-" | "-") "probe"',
    schema={
        "type": "object",
        "properties": {PROBE_ANSWER: {"const": 1}},
        "required": [PROBE_ANSWER],
    },
    sampling=Sampling(max_tokens=4, temperature=0.0),
)


class HTTPBackend(Completes, ABC):
    """Completes prompts with a server: `body_of` says what is sent, `reader` reads the replies.

    Its promise beside `Backend`'s: an answer without the server's own end mark, or with nothing
    in it, is a `BackendError`; stop strings hold whether or not the server honours them.
    """

    kind: ClassVar[str]
    example: ClassVar[str]
    path: ClassVar[str]
    # What can be said before the server has told anything.
    known: ClassVar[Caps] = Caps()

    def __init__(
        self, model: str, settings: ModelSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.name = model
        self.settings = settings
        self.server = Server(
            model,
            settings,
            kind=self.kind,
            example=self.example,
            headers=self.headers(model, settings),
            transport=transport,
        )
        self._caps = msgspec.structs.replace(self.known, context=settings.context)
        self._learned = False
        # Whether it has answered since.
        self._proven = False
        self._to_probe = False
        self._probed = False
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def open(cls, model: str, settings: ModelSettings) -> Self:
        """The backend for the server at `settings.url`. Raises `ConfigError`."""
        return cls(model, settings)

    @property
    def caps(self) -> Caps:
        """What is known of the server; more of it once it has told.

        `grammar` and `schema` turn false when the server is found not to hold to them.
        """
        return self._caps

    @property
    def model_there(self) -> str:
        """What the server calls the model."""
        return self.settings.model or self.name

    # What a wire format says of itself.

    @abstractmethod
    def body_of(self, prompt: Prompt) -> dict[str, Any]:
        """What is sent for this prompt: only what was chosen, the server has its own defaults."""

    @abstractmethod
    def reader(self, prompt: Prompt) -> Reader:
        """A new reader for the answer to this prompt."""

    def framing(self) -> Framing:
        """A new framing for one answer."""
        return Events()

    def headers(self, model: str, settings: ModelSettings) -> Mapping[str, str] | None:
        """All own headers, None for those of the settings and the key as a bearer token."""
        return None

    def notes(self, prompt: Prompt) -> list[Note]:
        """What of the prompt the server can't be told."""
        return []

    async def learn(self) -> Caps:
        """Ask the server what it is like; what it does not tell stays as it is in `caps`."""
        return self._caps

    def probe_body(self) -> dict[str, Any]:
        """What is sent to find out whether answers can be constrained."""
        return self.body_of(PROBE)

    def abandoned(self, body: dict[str, Any]) -> Coroutine[Any, Any, None] | None:
        """What is to be done, beside closing the connection, when nobody reads on."""
        return None

    # What follows from that.

    async def start(self) -> None:
        """Ask the server what it is like, and try whether it holds to constraints.

        If it can't be reached or is still loading, the first request does this, and says so.
        """
        self._to_probe = not self._probed
        with contextlib.suppress(BackendUnreachable, BackendTimeout):
            await self._ready()

    async def complete(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Complete the prompt. See `Backend.complete`."""
        if prompt.grammar is not None:
            from llmgate import grammar

            grammar.check(prompt.grammar)
        if prompt.triggers and not self._caps.triggers:
            raise Unsupported(f"The model {self.name!r} is served without lazy grammars.")
        await self.prepare()
        for note in self.notes(prompt):
            yield Delta(note=note)
        said = False
        try:
            async with aclosing(self._answered(prompt)) as deltas:
                async for delta in deltas:
                    said = True
                    yield delta
            return
        except BackendRejected as error:
            if said or not _about_constraints(error, prompt):
                raise
            refusal = str(error)
        # The check and the retry of the engine hold the guarantee without it, too.
        yield Delta(note=Note("constraint", f"not constrained, the server refused: {refusal}"))
        free = msgspec.structs.replace(prompt, grammar=None, schema=None, triggers=())
        async with aclosing(self._answered(free)) as deltas:
            async for delta in deltas:
                yield delta

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """A vector for each text, by the server's `/v1/embeddings`."""
        body = {"model": self.model_there, "input": list(texts), **self.settings.extra}
        seconds = self.settings.timeouts.first_token
        return vectors.read(
            await self.server.ask("POST", "/v1/embeddings", body, seconds=seconds), texts
        )

    async def models(self) -> tuple[str, ...]:
        """What the server lists as its models."""
        reply = await self.server.ask("GET", "/v1/models")
        data = reply.get("data")
        names = [entry.get("id") for entry in data if isinstance(entry, dict)] if data else []
        return tuple(name for name in names if isinstance(name, str))

    async def count(self, text: str) -> int:
        """Raises `Unsupported`: the server does not tell."""
        raise Unsupported(f"{self.kind} does not count tokens.")

    async def health(self) -> None:
        """Return if the server answers. Raises `BackendError`s."""
        await self.server.ask("GET", "/v1/models")

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        await self.server.aclose()

    async def prepare(self) -> None:
        """Make sure that the server was asked what it is like."""
        if self.server.in_doubt and not self._proven:
            self._learned = False
        if not self._learned or self._to_probe:
            # A server too busy for a small question may still take its time over a large one.
            with contextlib.suppress(BackendTimeout):
                await self._ready()

    def doubt(self, error: LlmgateError) -> None:
        """Ask the server once more what it is like, where this may come of not knowing it.

        It may have been in trouble when it was asked, or be back with another model.
        """
        gone = isinstance(error, BackendUnreachable | BackendRejected)
        if not self._proven or (gone and not isinstance(error, RefusedRequest)):
            self._learned = False

    async def answer(
        self, path: str, body: dict[str, Any], reader: Reader, stop: Sequence[str]
    ) -> AsyncGenerator[Delta, None]:
        """The deltas of one answer, to its finish."""
        answering = Answering(self.server, reader, stop)
        try:
            async with aclosing(
                self.server.stream(path, encode(body), self.framing(), answering.ending)
            ) as reads:
                async for events in reads:
                    for delta in answering.take(events):
                        yield delta
                    if answering.over:
                        break
        except LlmgateError as error:
            self.doubt(error)
            raise
        finally:
            if not answering.whole and (further := self.abandoned(body)) is not None:
                self._later(further)
        if not answering.whole:
            raise self.server.cut()
        if not self._proven:
            self._proven = self._learned = True
        for delta in answering.end():
            yield delta

    def _answered(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        return self.answer(self.path, self.body_of(prompt), self.reader(prompt), prompt.stop)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this without making anybody wait."""

        async def quietly() -> None:
            with contextlib.suppress(LlmgateError):
                await work

        task = asyncio.get_running_loop().create_task(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ready(self) -> None:
        """Find out what the server and its model are like, once."""
        if not self._learned:
            self.server.in_doubt = False
            self._caps = self._chosen(await self.learn())
            self._learned = True
        if self._to_probe:
            self._to_probe, self._probed = False, True
            if self._caps.grammar or self._caps.schema:
                await self._probe()

    def _chosen(self, caps: Caps) -> Caps:
        """The capabilities without the constraints that the settings rule out."""
        wanted = self.settings.constraint
        return msgspec.structs.replace(
            caps,
            grammar=caps.grammar and wanted in ("auto", "grammar"),
            schema=caps.schema and wanted in ("auto", "schema"),
        )

    async def _probe(self) -> None:
        """Find out whether a constraint has any effect; leave it open where that takes long."""
        said, reader = "", self.reader(PROBE)
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                async with aclosing(self.answer(self.path, self.probe_body(), reader, ())) as got:
                    async for delta in got:
                        said += delta.text
        except (LlmgateError, TimeoutError) as error:
            if not said and reader.finish is None:
                why = str(error) or f"it did not answer in time ({_PROBE_SECONDS} s)"
                what = "Whether the server of %r holds to constraints is open: %s"
                _LOG.info(what, self.name, why)
                return
        if self._caps.grammar:
            held = bool(said) and PROBE_ANSWER.startswith(said)
        else:
            held = said.lstrip()[:1] == "{"
        if not held:
            wanted = "grammars" if self._caps.grammar else "JSON Schemas"
            self._caps = msgspec.structs.replace(self._caps, grammar=False, schema=False)
            _LOG.warning(
                "The server at %s does not hold to %s: asked for %r and nothing else, it wrote "
                "%r. The answers of the model %r will be checked, but not constrained.",
                self.server.url,
                wanted,
                PROBE_ANSWER,
                said[:_SHOWN],
                self.name,
            )


def _about_constraints(error: BackendRejected, prompt: Prompt) -> bool:
    """Whether a server seems to refuse a prompt for the grammar or the schema that came with it."""
    if prompt.grammar is None and prompt.schema is None:
        return False
    said = error.message.lower()
    return any(word in said for word in _CONSTRAINT_WORDS)
