"""What a backend is: something that completes a prompt, one stream per call."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from llmgate.types import Caps, Delta, Prompt


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

    async def count(self, text: str) -> int:
        """The number of tokens of `text`, control tokens recognised, no BOS added."""
        ...

    async def health(self) -> None:
        """Return if it can answer now, raise the `BackendError` that a request would get."""
        ...

    async def aclose(self) -> None:
        """Let go of everything it holds. Idempotent."""
        ...
