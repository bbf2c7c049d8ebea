"""A backend looked at from outside: how it is constrained, how often and when it answered."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from llmgate.backends import Backend
from llmgate.bench.result import Constraint
from llmgate.types import Caps, Delta, Embeddings, Prompt, Request, Usage


class Probe:
    """Passes everything on to a backend, for one request at a time, and measures.

    What the constraint of a cell rules out is not among the capabilities: so the prompts of
    several cells can go to the same backend. `generations`, `first_at` (by `time.perf_counter`)
    and `usage` are about all that was asked since `reset`. Closing it leaves the backend open.
    """

    def __init__(self, backend: Backend, constraint: Constraint) -> None:
        self._backend = backend
        self._constraint = constraint
        self._known: tuple[Caps, Caps] | None = None
        self.generations = 0
        self.first_at: float | None = None
        self.usage = Usage(cached=0)

    def reset(self) -> None:
        """Measure anew."""
        self.generations = 0
        self.first_at = None
        self.usage = Usage(cached=0)

    @property
    def caps(self) -> Caps:
        """The backend's, with no other constraints than the cell has."""
        caps = self._backend.caps
        if self._known is None or self._known[0] is not caps:
            self._known = caps, held(caps, self._constraint)
        return self._known[1]

    async def start(self) -> None:
        """Start the backend."""
        await self._backend.start()

    def complete(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """The backend's deltas."""
        return self._measured(self._backend.complete(prompt))

    def chat(self, request: Request) -> AsyncGenerator[Delta, None]:
        """The backend's deltas."""
        return self._measured(self._backend.chat(request))

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """The backend's vectors."""
        return await self._backend.embed(texts)

    async def models(self) -> tuple[str, ...]:
        """The backend's models."""
        return await self._backend.models()

    async def count(self, text: str) -> int:
        """The backend's count."""
        return await self._backend.count(text)

    async def health(self) -> None:
        """The backend's health."""
        await self._backend.health()

    async def aclose(self) -> None:
        """Nothing: the backend belongs to others, too."""

    async def _measured(self, deltas: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
        self.generations += 1
        async with aclosing(deltas):
            async for delta in deltas:
                if self.first_at is None and (delta.text or delta.reasoning or delta.call):
                    self.first_at = time.perf_counter()
                if delta.usage is not None:
                    self.usage = self.usage.plus(delta.usage)
                yield delta


def held(caps: Caps, constraint: Constraint) -> Caps:
    """The capabilities without the constraints that a cell rules out."""
    grammar = constraint == "grammar"
    return msgspec.structs.replace(
        caps,
        grammar=caps.grammar and grammar,
        triggers=caps.triggers and grammar,
        schema=caps.schema and constraint == "schema",
    )
