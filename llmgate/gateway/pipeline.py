"""The gateway: answers requests by routes, with one retry that says what was wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Self

import msgspec

from llmgate.backends import open_backend
from llmgate.config import Settings, with_facts
from llmgate.errors import ConfigError, ContextOverflow, LlmgateError, OutputError, UnknownModel
from llmgate.gateway.generation import Observer, Route, generate
from llmgate.types import Completion, Delta, Message, Note, Request, Usage
from llmgate.wrappers import open_wrapper

logger = logging.getLogger("llmgate.gateway")

_UNCONSTRAINED = "the backend took a grammar and did not keep to it"


class Gateway:
    """Answers requests by the routes it was given, in the order of their configuration."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self.routes = dict(routes)

    @classmethod
    def open(cls, settings: Settings) -> Gateway:
        """The gateway that `settings` describe; nothing is started yet.

        Raises `ConfigError` that names the model whose settings can't be used.
        """
        routes = {}
        for name, model in settings.models.items():
            try:
                model = with_facts(model)
                wrapper = open_wrapper(model.wrapper, model.options, settings.user_folder)
                routes[name] = Route(open_backend(name, model), wrapper, model.sampling)
            except ConfigError as error:
                error.message = f"models.{name}: {error.message}"
                raise
        return cls(routes)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Make all backends ready; one that fails is logged, and asked again by each request."""
        routes = self.routes.items()
        results = await asyncio.gather(
            *(route.backend.start() for _, route in routes), return_exceptions=True
        )
        for (name, route), result in zip(routes, results, strict=True):
            try:
                if isinstance(result, BaseException):
                    raise result
                # What a model's own template can show takes some renderings to find out.
                route.wrapper.of(route.backend.caps)
            except LlmgateError as error:
                logger.error("model %s is not ready: %s", name, error)

    async def aclose(self) -> None:
        """Close all backends."""
        await asyncio.gather(*(route.backend.aclose() for route in self.routes.values()))

    def route(self, model: str) -> Route:
        """The route of a model. Raises `UnknownModel` with the known ones."""
        try:
            return self.routes[model]
        except KeyError:
            raise UnknownModel(model, self.routes) from None

    async def complete(self, request: Request, observer: Observer | None = None) -> Completion:
        """The whole answer: the sum of what `stream` gives.

        Raises `RequestError`, `BackendError`, or `OutputError` if the model's answer can't be
        used even after a retry.
        """
        async with aclosing(self.stream(request, observer, whole=True)) as deltas:
            return Completion.fold([delta async for delta in deltas])

    async def stream(
        self, request: Request, observer: Observer | None = None, *, whole: bool = False
    ) -> AsyncGenerator[Delta, None]:
        """The answer's deltas as they come; usage and notes come just before the finish.

        An answer that can't be used is asked for once more, with what was wrong, as long as
        nothing of it was passed on; `whole` passes nothing on before the end, so that every
        failure can be mended. Raises as `complete` does.
        """
        route = self.route(request.model)
        request = msgspec.structs.replace(request, sampling=request.sampling.over(route.sampling))
        usage, retried = Usage(cached=0), None
        current = request
        while True:
            kept: list[Delta] = []
            passed_on = False
            try:
                async with aclosing(generate(route, current, observer)) as deltas:
                    async for delta in deltas:
                        if delta.usage is not None:
                            usage = usage.plus(delta.usage)
                        elif whole or delta.finish or delta.note:
                            kept.append(delta)
                        else:
                            passed_on = True
                            yield delta
            except OutputError as error:
                if error.unconstrained:
                    logger.warning("model %s: %s", request.model, _UNCONSTRAINED)
                if passed_on or retried is not None:
                    raise
                retried, current = error, _corrected(request, error)
                continue
            except ContextOverflow:
                if retried is None:
                    raise
                raise retried from None  # the overflow is our own doing: the retry is longer
            for delta in kept:
                if delta.finish is None:
                    yield delta
            for note in request.notes:
                yield Delta(note=note)
            if retried is not None:
                yield Delta(note=Note("retried", f"the first answer was refused: {retried}"))
                if retried.unconstrained:
                    yield Delta(note=Note("unconstrained", _UNCONSTRAINED))
            yield Delta(usage=usage)
            for delta in kept:
                if delta.finish is not None:
                    yield delta
            return


def _corrected(request: Request, error: OutputError) -> Request:
    """The request again, with the answer that was refused and the reason."""
    answer = Message("assistant", error.text.strip() or "(nothing)")
    wanted = "a valid function call" if request.tools else "valid JSON"
    feedback = f"That answer can't be used: {error} Answer again, with {wanted} and nothing else."
    messages = (*request.messages, answer, Message("user", feedback))
    return msgspec.structs.replace(request, messages=messages)
