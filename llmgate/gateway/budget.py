"""Nothing is cut silently: a prompt fits the model's context, or is refused, or loses turns aloud.

Servers that refuse by themselves what is too long need none of this. Of the others it is known
that a prompt fits where even its bytes do; only near the limit its tokens are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from llmgate.backends import Backend
from llmgate.errors import ContextOverflow
from llmgate.gateway.tokens import Count, at_most, count
from llmgate.types import Message, Note, Prompt, Request
from llmgate.wrappers import Wrapper

# No model of today has a smaller context.
_SMALLEST = 2048
_UNKNOWN = Note(
    "estimated",
    "nobody knows the model's context, and its server cuts what is longer without a word: "
    "set `context` for this model",
)


class Budget(msgspec.Struct, frozen=True):
    """What is kept of the context for the answer, and what happens to a prompt that is too long.

    `reply_tokens` counts where the request does not say how long its answer may be; of what it
    does say, no more than this is kept for certain.
    """

    reply_tokens: int = 256
    overflow: Literal["refuse", "drop_oldest"] = "refuse"


class Fitted(msgspec.Struct, frozen=True):
    """A request that fits, the prompt for it, and what had to be done."""

    request: Request
    prompt: Prompt
    notes: tuple[Note, ...] = ()


async def fitted(backend: Backend, wrapper: Wrapper, request: Request, budget: Budget) -> Fitted:
    """The prompt for a request, within the model's context where somebody has to see to it.

    Raises `ContextOverflow` for what does not fit, with the numbers, and as `Wrapper.render`.
    """
    caps = backend.caps
    prompt = wrapper.render(request, caps)
    if not (caps.truncates or budget.overflow == "drop_oldest"):
        return Fitted(request, prompt)
    if caps.context is None:
        unknown = caps.truncates and at_most(prompt.text) > _SMALLEST
        return Fitted(request, prompt, (_UNKNOWN,) if unknown else ())
    asked = request.sampling.max_tokens
    kept = budget.reply_tokens if asked is None else min(asked, budget.reply_tokens)
    # A server makes room for all the tokens that it is asked for, at the prompt's expense.
    longest = kept if asked is None else asked
    if at_most(prompt.text) + longest <= caps.context:
        return Fitted(request, prompt)
    limit = caps.context - kept
    size = await count(backend, prompt.text)
    notes: tuple[Note, ...] = ()
    if size.tokens > limit and budget.overflow == "drop_oldest":
        request, prompt, size, dropped = await _without_oldest(backend, wrapper, request, limit)
        message = f"the {dropped} oldest messages were left out to fit {caps.context} tokens"
        notes = (Note("trimmed", message),) if dropped else ()
    if not size.exact:
        notes += (Note("estimated", f"the prompt has about {size.tokens} tokens, not counted"),)
    if size.tokens > limit:
        raise _overflow(size, kept, caps.context)
    room = caps.context - size.tokens
    if asked is not None and asked > room and caps.truncates:
        sampling = msgspec.structs.replace(request.sampling, max_tokens=room)
        request = msgspec.structs.replace(request, sampling=sampling)
        prompt = msgspec.structs.replace(prompt, sampling=sampling)
        message = f"max_tokens is {room}, not {asked}: the prompt leaves no more of the context"
        notes += (Note("ignored_parameter", message),)
    return Fitted(request, prompt, notes)


def cuts(messages: Sequence[Message]) -> list[int]:
    """Where the messages after the system's may begin: with a turn of the user's, oldest first.

    So that a call keeps its result, and the last turn of the user's is always there.
    """
    start = _head(messages)
    return [at for at in range(start, len(messages)) if messages[at].role == "user"]


def _head(messages: Sequence[Message]) -> int:
    """How many messages of the system stand at the beginning."""
    at = 0
    while at < len(messages) and messages[at].role == "system":
        at += 1
    return at


async def _without_oldest(
    backend: Backend, wrapper: Wrapper, request: Request, limit: int
) -> tuple[Request, Prompt, Count, int]:
    """The request without its oldest turns: as few as it takes, or all but the last one."""
    head = _head(request.messages)
    places = cuts(request.messages)
    if not places:
        prompt = wrapper.render(request, backend.caps)
        return request, prompt, await count(backend, prompt.text), 0

    async def tried(at: int) -> tuple[Request, Prompt, Count]:
        messages = (*request.messages[:head], *request.messages[places[at] :])
        shorter = msgspec.structs.replace(request, messages=messages)
        prompt = wrapper.render(shorter, backend.caps)
        return shorter, prompt, await count(backend, prompt.text)

    low, high = 0, len(places) - 1
    best = await tried(high)
    if best[2].tokens <= limit:
        while low < high:
            middle = (low + high) // 2
            found = await tried(middle)
            if found[2].tokens <= limit:
                best, high = found, middle
            else:
                low = middle + 1
    return *best, places[high] - head


def _overflow(size: Count, kept: int, context: int) -> ContextOverflow:
    about = "" if size.exact else "about "
    return ContextOverflow(
        f"The prompt has {about}{size.tokens} tokens; with {kept} kept for the answer that is "
        f"more than the model's context of {context}.",
        hint='Send fewer messages, or set overflow = "drop_oldest" for this model.',
        param="messages",
    )
