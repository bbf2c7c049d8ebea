"""Room for an answer, with servers that cut a prompt that is too long without a word."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from llmgate.errors import ContextOverflow
from llmgate.types import Prompt

# A BOS, and the space that some tokenizers put in front.
_ADDED = 2


async def fitted(
    prompt: Prompt, context: int | None, count: Callable[[str], Awaitable[int]]
) -> Prompt:
    """The prompt with as many tokens to write as its context has room for.

    It is counted only where its length in bytes, which its tokens never exceed, leaves that open.
    Raises `ContextOverflow` for a prompt that leaves no room, and what `count` raises.
    """
    if context is None:
        return prompt
    wanted = prompt.sampling.max_tokens
    most = len(prompt.text.encode("utf-8", "surrogatepass")) + _ADDED
    if wanted is not None and most + wanted <= context:
        return prompt
    tokens = await count(prompt.text) + _ADDED
    if tokens >= context:
        raise ContextOverflow(
            f"The prompt has {tokens - _ADDED} tokens, the model's context holds {context}."
        )
    room = context - tokens
    room = room if wanted is None else min(wanted, room)
    sampling = msgspec.structs.replace(prompt.sampling, max_tokens=room)
    return msgspec.structs.replace(prompt, sampling=sampling)
