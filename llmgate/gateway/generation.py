"""One generation: a request rendered, completed and parsed, or answered from its messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from llmgate.backends import Backend
from llmgate.types import Delta, Prompt, Request, Sampling
from llmgate.wrappers import ModelWrapper, Wrapper

# Called with the prompt and the model's raw text when a generation has ended.
Observer = Callable[[Prompt, str], None]


class Route(msgspec.Struct, frozen=True):
    """What stands behind a model's name; `sampling` is used where a request says nothing."""

    backend: Backend
    wrapper: Wrapper | ModelWrapper
    sampling: Sampling = Sampling()


async def generate(
    route: Route, request: Request, observer: Observer | None
) -> AsyncGenerator[Delta, None]:
    """One generation, rendered and parsed."""
    wrapper = await _wrapper(route)
    prompt = wrapper.render(request, route.backend.caps)
    deltas = route.backend.complete(prompt)
    if observer is not None:
        deltas = _observed(deltas, prompt, observer)
    async with aclosing(wrapper.parse(deltas, request, prompt)) as parsed:
        async for delta in parsed:
            yield delta


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
