"""The gateway: each request goes through the steps, each of which is a file beside this one.

    limits     may this client ask for this model, and has it any of its minute left?
    cache      was the same asked before?
    fallbacks  this model, else others
    correction an answer that can't be used is asked for again
    retries    another replica, or the same one later
    replicas   which server, and its place in the queue
    attempt    one generation, up to where it can't be taken back

From there on deltas are passed on as they come, and nothing is tried again.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from llmgate.config import Settings
from llmgate.errors import (
    ConfigError,
    LlmgateError,
    OutputError,
    UnknownModel,
    UnknownName,
)
from llmgate.gateway import attempt
from llmgate.gateway.attempt import Answer
from llmgate.gateway.cache import Cache
from llmgate.gateway.call import Call, conversation_of
from llmgate.gateway.clock import Clock
from llmgate.gateway.correction import corrected, report
from llmgate.gateway.deadline import in_time, timed
from llmgate.gateway.fallbacks import first_of
from llmgate.gateway.generation import Observer, Route
from llmgate.gateway.limits import Client, expected_tokens
from llmgate.gateway.measuring import Measured, measure, ready
from llmgate.gateway.models import Family, Model
from llmgate.gateway.opening import open_model
from llmgate.gateway.replicas import Turn
from llmgate.gateway.retries import retried
from llmgate.gateway.routing import Router, chain
from llmgate.gateway.tokens import Count, count
from llmgate.gateway.usage_log import UsageLog
from llmgate.types import Completion, Delta, Embeddings, Request, Sampling
from llmgate.wrappers import ModelWrapper, Wrapper

logger = logging.getLogger("llmgate.gateway")

_NOTHING_CHOSEN = Sampling()


class Gateway:
    """Answers requests by the models it was given, in the order of their configuration."""

    def __init__(
        self,
        models: Mapping[str, Route | Model | Family],
        *,
        usage_log: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        """A bare `Route` is a model that is asked once, with no queue before it.

        Raises `ConfigError` where names stand for two models, or fallbacks for none.
        """
        self._clock = clock or Clock()
        self._models = {
            name: Model.of_route(name, model, self._clock) if isinstance(model, Route) else model
            for name, model in models.items()
        }
        self._router: Router[Model | Family] = Router()
        for name, model in self._models.items():
            self._router.add(name, model)
        for name, model in self._models.items():
            for alias in model.policy.aliases:
                try:
                    self._router.add(alias, model)
                except ConfigError as error:
                    error.message = f"models.{name}.aliases: {error.message}"
                    raise
        self._chains = {
            name: chain(name, self._behind, where=f"models.{name}.fallbacks")
            for name in self._models
        }
        self._cache = Cache(self._clock)
        self._log = UsageLog(usage_log) if usage_log is not None else None

    @classmethod
    def open(cls, settings: Settings, *, clock: Clock | None = None) -> Gateway:
        """The gateway that `settings` describe; nothing is started yet.

        Raises `ConfigError` that names the model whose settings can't be used.
        """
        clock = clock or Clock()
        models = {
            name: open_model(name, model, settings.user_folder, clock)
            for name, model in settings.models.items()
        }
        log = Path(settings.server.usage_log) if settings.server.usage_log else None
        if log is not None and not log.parent.is_dir():
            raise ConfigError(f"server.usage_log: there is no folder {str(log.parent)!r}.")
        return cls(models, usage_log=log, clock=clock)

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
        models = [model for model in self._models.values() if isinstance(model, Model)]
        results = await asyncio.gather(*(model.start() for model in models))
        for model, failures in zip(models, results, strict=True):
            for error in failures:
                logger.error("model %s is not ready: %s", model.name, error)

    async def aclose(self) -> None:
        """Close all backends, and write down what is still to be written."""
        try:
            await asyncio.gather(*(model.aclose() for model in self._models.values()))
        finally:
            if self._log is not None:
                await self._log.aclose()

    @property
    def names(self) -> list[str]:
        """The names and aliases that can be asked for, apart from patterns."""
        return self._router.names

    @property
    def routes(self) -> dict[str, Route]:
        """The models that have one name, with the routes of their first replicas."""
        return {
            name: model.route
            for name, model in self._models.items()
            if isinstance(model, Model) and "*" not in name
        }

    @property
    def down(self) -> list[str]:
        """The models none of whose replicas should be asked, because they failed."""
        models = self._models.items()
        return [name for name, model in models if isinstance(model, Model) and not model.up]

    def route(self, model: str) -> Route:
        """The route of a model's first replica. Raises `UnknownModel` with the known ones."""
        found, _ = self._router.find(model)
        if not isinstance(found, Model):
            raise UnknownModel(model, self.names)
        return found.route

    def check(self, model: str, client: Client | None = None) -> None:
        """Raise `UnknownModel` or `Forbidden` unless the client may ask for that model."""
        found, _ = self._router.find(model, client.allows if client is not None else None)
        if client is not None:
            client.check(model, found.name)

    def use_wrapper(self, model: str, wrapper: Wrapper | ModelWrapper) -> None:
        """Write the prompts of a model in another format from now on."""
        found, _ = self._router.find(model)
        if isinstance(found, Model):
            found.use_wrapper(wrapper)
        self._cache = Cache(self._clock)

    async def complete(
        self,
        request: Request,
        observer: Observer | None = None,
        *,
        correct: bool = True,
        client: Client | None = None,
    ) -> Completion:
        """The whole answer: the sum of what `stream` gives.

        Raises `RequestError`, `BackendError`, or `OutputError` if the model's answer can't be
        used even after a retry.
        """
        call = self._call(request.model, client, request)
        call.observer, call.whole, call.correct = observer, True, correct
        try:
            models = await self._admitted(call, expected_tokens(request) if client else 0)
            if models[0].policy.cache:
                deltas = self._remembered(call, models, request)
                async with aclosing(deltas):
                    return Completion.fold([delta async for delta in deltas])
            answer = await in_time(call, self._begun(call, models, request))
            ending = attempt.Ending(call)
            begun = [delta for delta in answer.ready if not ending.takes(delta)]
            ending.close()
            return Completion.fold([*begun, *ending.deltas((*request.notes, *answer.notes))])
        except BaseException as error:
            call.failed(error)
            raise
        finally:
            self._settle(call)

    async def stream(
        self,
        request: Request,
        observer: Observer | None = None,
        *,
        whole: bool = False,
        correct: bool = True,
        client: Client | None = None,
    ) -> AsyncGenerator[Delta, None]:
        """The answer's deltas as they come; usage and notes come just before the finish.

        What fails is mended (see the steps above) as long as nothing of it was passed on; `whole`
        passes nothing on before the end, so that every failure can be. Unless `correct` an answer
        that can't be used is not asked for again: the prompt for that is longer. `client` is whose
        limits count. Raises as `complete` does.
        """
        call = self._call(request.model, client, request)
        call.observer, call.whole, call.correct = observer, whole, correct
        try:
            models = await self._admitted(call, expected_tokens(request) if client else 0)
            if models[0].policy.cache:
                deltas = self._remembered(call, models, request)
            else:
                deltas = self._answered(call, models, request)
            async with aclosing(deltas):
                async for delta in deltas:
                    yield delta
        except BaseException as error:
            call.failed(error)
            raise
        finally:
            self._settle(call)

    async def embed(
        self, model: str, texts: Sequence[str], *, client: Client | None = None
    ) -> Embeddings:
        """A vector for each text. Raises `RequestError` or `BackendError`."""
        call = self._call(model, client)

        async def vectors(turn: Turn) -> Embeddings:
            made = await turn.replica.route.backend.embed(texts)
            turn.worked()
            turn.end(finished=True)
            return made

        async def ask(model: Model) -> Embeddings:
            return await retried(call, model.replicas, model.policy.retries, vectors)

        try:
            models = await self._admitted(call, sum(map(len, texts)) // 4)
            made, answering, note = await in_time(call, first_of(models, ask))
            call.answered_by, call.fallback = answering.name, note is not None
            call.used(made.usage)
            call.begun()
            if note is not None:
                made = msgspec.structs.replace(made, notes=(*made.notes, note))
            return made
        except BaseException as error:
            call.failed(error)
            raise
        finally:
            self._settle(call)

    async def measure(
        self, request: Request, limit: int | None = None, *, known: Measured | None = None
    ) -> Measured:
        """The length of the prompt that a request makes, without sending it.

        With a `limit` it is counted only as far as it takes to know whether it is within it, and
        `known`, an earlier prompt of the same conversation, saves counting it again: the tokens
        are then a bound. The backend is started if it has to be. Raises `RequestError`.
        """
        model = await self._model(request.model)
        await ready(model.route, model.context)
        asked = _for(model, request, conversation_of(request))
        return await measure(model.route, asked, model.context, limit=limit, known=known)

    async def count(self, model: str, text: str) -> Count:
        """The tokens of a text, by the model's own tokenizer where it has one."""
        return await count((await self._model(model)).route.backend, text)

    async def _model(self, name: str) -> Model:
        found, parts = self._router.find(name)
        return found if isinstance(found, Model) else await found.member(parts)

    def _remembered(
        self, call: Call, models: Sequence[Model], request: Request
    ) -> AsyncGenerator[Delta, None]:
        """The answer from the cache, or one that goes there."""
        seconds = models[0].policy.cache
        answered = functools.partial(self._answered, call, models, request)
        return self._cache.through(call, models[0].name, request, seconds, answered)

    async def _answered(
        self, call: Call, models: Sequence[Model], request: Request
    ) -> AsyncGenerator[Delta, None]:
        """What the first model that can answers, as it comes."""
        answer = await in_time(call, self._begun(call, models, request))
        ending = attempt.Ending(call)
        failure: LlmgateError | None = None
        try:
            for delta in answer.ready:
                if not ending.takes(delta):
                    yield delta
            if answer.rest is not None:
                async with aclosing(timed(call, answer.rest)) as rest:
                    async for delta in rest:
                        if not ending.takes(delta):
                            yield delta
            ending.close()
        except LlmgateError as error:
            failure = error
            if isinstance(error, OutputError):
                report(request, error)
            raise
        finally:
            await answer.aclose(failure, finished=call.finish is not None)
        for delta in ending.deltas((*request.notes, *answer.notes)):
            yield delta

    async def _begun(self, call: Call, models: Sequence[Model], request: Request) -> Answer:
        """The beginning of an answer: the steps between a request and what can't be taken back."""

        async def ask(model: Model) -> Answer:
            async def once_more(request: Request) -> Answer:
                def work(turn: Turn) -> Awaitable[Answer]:
                    return attempt.begin(call, turn, request)

                return await retried(call, model.replicas, model.policy.retries, work)

            asked = _for(model, request, call.conversation)
            times = model.policy.corrections if call.correct else 0
            return await corrected(asked, once_more, times)

        answer, model, note = await first_of(models, ask)
        call.answered_by, call.fallback = model.name, note is not None
        if note is not None:
            answer.notes.append(note)
        return answer

    def _call(self, model: str, client: Client | None, request: Request | None = None) -> Call:
        conversation = conversation_of(request) if request is not None else ""
        return Call(model, self._clock, self._clock.now(), conversation, client)

    async def _admitted(self, call: Call, tokens: int) -> list[Model]:
        """The models that may answer the call, which is charged to its client."""
        client = call.client
        found, parts = self._router.find(call.model, client.allows if client is not None else None)
        if client is not None:
            client.check(call.model, found.name)
            client.admit(tokens)
            call.estimate = tokens
        if found.policy.total is not None:
            call.deadline = call.began + found.policy.total
        models = [found if isinstance(found, Model) else await found.member(parts)]
        for name in self._chains[found.name]:
            further, parts = self._router.find(name)
            models.append(further if isinstance(further, Model) else await further.member(parts))
        return models

    def _settle(self, call: Call) -> None:
        """Charge what the call took, and write it down."""
        if call.client is not None and call.estimate:
            # Somebody who leaves in the middle has used what nobody has counted.
            known = call.finish is not None or call.status != 499
            used = 0 if call.from_cache else call.usage.prompt + call.usage.completion
            call.client.settle(call.estimate, used if known else call.estimate)
        if self._log is not None:
            self._log.add(call)

    def _behind(self, name: str) -> list[str]:
        """The names of the models directly behind one. Raises `UnknownName`."""
        names = []
        for fallback in self._router.find(name)[0].policy.fallbacks:
            try:
                found, _ = self._router.find(fallback)
            except LlmgateError:
                raise UnknownName(
                    "model", fallback, self._router.names, where=f" in models.{name}.fallbacks"
                ) from None
            names.append(fallback if isinstance(found, Family) else found.name)
        return names


def _for(model: Model, request: Request, conversation: str) -> Request:
    """The request as a model gets it: with its sampling, and with a conversation to go by."""
    sampling = request.sampling
    if model.route.sampling != _NOTHING_CHOSEN:
        sampling = sampling.over(model.route.sampling)
    return msgspec.structs.replace(request, sampling=sampling, conversation=conversation)
