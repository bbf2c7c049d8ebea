"""What a backend is: something that completes a prompt, one stream per call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from llmgate.errors import Unsupported
from llmgate.types import Caps, Delta, Embeddings, Prompt, Request


class Backend(Protocol):
    """A source of text. All methods raise `BackendError`s and nothing else on its failures.

    `complete` yields text deltas as they come, then one last delta with `finish` (`stop` or
    `length`) and `usage`; a stream that ends without it has failed and raises instead.
    Closing the generator stops the generation. Prompts that do not fit raise
    `ContextOverflow`, a full queue `BackendBusy`, both before the first delta.
    """

    @property
    def caps(self) -> Caps:
        """What it can do, as far as known yet: `start` and the first answer may refine it."""
        ...

    async def start(self) -> None:
        """Make it ready (load a model, read a server's properties). Idempotent, optional."""
        ...

    def complete(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Complete the prompt, yielding deltas."""
        ...

    def chat(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer messages, calls included, where `caps.chat`; raises `Unsupported` elsewhere.

        The arguments of calls are as the model wrote them: nothing has checked them.
        """
        ...

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """A vector for each text where `caps.embed`; raises `Unsupported` elsewhere."""
        ...

    async def models(self) -> tuple[str, ...]:
        """The names of the models that can be asked for there."""
        ...

    async def count(self, text: str) -> int:
        """The number of tokens of `text`, control tokens recognised, no BOS added."""
        ...

    async def health(self) -> None:
        """Return if it can answer now, raise the `BackendError` that a request would get."""
        ...

    async def aclose(self) -> None:
        """Let go of everything it holds. Idempotent."""
        ...


class Completes:
    """What a backend that completes prompts, and does nothing else, says to the rest."""

    name: str

    def chat(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Raises `Unsupported`."""
        raise Unsupported(f"The model {self.name!r} is asked with prompts, not with messages.")

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Raises `Unsupported`."""
        raise Unsupported(f"The model {self.name!r} makes no embeddings.", param="model")

    async def models(self) -> tuple[str, ...]:
        """The one model."""
        return (self.name,)
