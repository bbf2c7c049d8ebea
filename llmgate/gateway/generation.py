"""One generation: a request rendered, completed and parsed, or answered from its messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from llmgate.backends import Backend
from llmgate.gateway.budget import Budget, fitted
from llmgate.gateway.checks import CHECKED
from llmgate.gateway.native import Native
from llmgate.types import Delta, Note, Prompt, Request, Sampling
from llmgate.wrappers import ModelWrapper, Wrapper
from llmgate.wrappers.tools import offered

_SCHEMA = Note("constraint", "constrained by a JSON Schema, and checked")

# Called with the prompt and the model's raw text when a generation has ended.
Observer = Callable[[Prompt, str], None]


class Route(msgspec.Struct, frozen=True):
    """What stands behind a model's name; `sampling` is used where a request says nothing.

    `budget` says what happens to prompts that are too long for the model. `native` asks those
    backends that are sent no prompts.
    """

    backend: Backend
    wrapper: Wrapper | ModelWrapper
    sampling: Sampling = Sampling()
    budget: Budget = Budget()
    native: Native = msgspec.field(default_factory=Native)


def generate(
    route: Route, request: Request, observer: Observer | None
) -> AsyncGenerator[Delta, None]:
    """One generation, rendered and parsed, or answered from the messages as they are."""
    if not route.backend.caps.chat:
        return _completed(route, request, observer)
    shorten = route.budget.overflow == "drop_oldest"
    return route.native.answer(route.backend, request, observer, shorten=shorten)


async def _completed(
    route: Route, request: Request, observer: Observer | None
) -> AsyncGenerator[Delta, None]:
    wrapper = await _wrapper(route)
    found = await fitted(route.backend, wrapper, request, route.budget)
    for note in found.notes:
        yield Delta(note=note)
    request, prompt = found.request, found.prompt
    prompt = msgspec.structs.replace(prompt, slot=request.conversation)
    weaker = _weaker(request, prompt)
    deltas = route.backend.complete(prompt)
    if observer is not None:
        deltas = _observed(deltas, prompt, observer)
    async with aclosing(wrapper.parse(deltas, request, prompt)) as parsed:
        async for delta in parsed:
            if delta.note is not None and delta.note.code == "constraint":
                weaker = None  # the backend knows better
            if delta.finish is not None and weaker is not None:
                yield Delta(note=weaker)
            yield delta


def _weaker(request: Request, prompt: Prompt) -> Note | None:
    """What is to be said of an answer that no grammar holds, though something is asked of it."""
    if prompt.grammar is not None or not (offered(request) or request.schema is not None):
        return None
    return CHECKED if prompt.schema is None else _SCHEMA


async def _wrapper(route: Route) -> Wrapper:
    """The wrapper, once the backend has said what template its model has, if that is needed."""
    if isinstance(route.wrapper, ModelWrapper) and route.backend.caps.template is None:
        await route.backend.start()
    return route.wrapper.of(route.backend.caps)


async def _observed(
    deltas: AsyncGenerator[Delta, None], prompt: Prompt, observer: Observer
) -> AsyncGenerator[Delta, None]:
    text: list[str] = []
    try:
        async with aclosing(deltas):
            async for delta in deltas:
                text.append(delta.text)
                yield delta
    finally:
        observer(prompt, "".join(text))
