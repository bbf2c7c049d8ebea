"""What stands behind a name: a model with its replicas, or a family of models."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from llmgate.errors import LlmgateError
from llmgate.gateway.clock import Clock
from llmgate.gateway.generation import Route
from llmgate.gateway.health import Health
from llmgate.gateway.queue import Places
from llmgate.gateway.replicas import Replica, Replicas
from llmgate.wrappers import ModelWrapper, Wrapper

# How many models of one family are kept ready.
_FAMILY = 32


class Policy(msgspec.Struct, frozen=True):
    """How a model is asked: see `ModelSettings`. What fails is not sent again by default."""

    aliases: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    retries: int = 0
    corrections: int = 1
    total: float | None = None
    cache: float = 0.0


class Model:
    """A model under its name, with the replicas that answer for it."""

    def __init__(
        self,
        name: str,
        replicas: Replicas,
        policy: Policy,
        context: int | None = None,
    ) -> None:
        self.name = name
        self.replicas = replicas
        self.policy = policy
        self._context = context

    @classmethod
    def of_route(cls, name: str, route: Route, clock: Clock) -> Model:
        """A model with one replica that is asked once, and by any number at a time."""
        health = Health(f"the model {name!r}", route.backend.health, clock=clock)
        replica = Replica(name, route, Places(name, None, 0), health)
        return cls(name, Replicas([replica], clock=clock), Policy())

    @property
    def route(self) -> Route:
        """The route of its first replica."""
        return self.replicas.all[0].route

    @property
    def up(self) -> bool:
        """Whether any replica is."""
        return self.replicas.up

    @property
    def busy(self) -> bool:
        """Whether it is answering somebody."""
        return any(replica.places.present for replica in self.replicas.all)

    @property
    def reason(self) -> LlmgateError | None:
        """Why it is not up."""
        return next((r.health.reason for r in self.replicas.all if r.health.reason), None)

    @property
    def context(self) -> int | None:
        """The tokens that it can read, as far as that is known."""
        known = [r.route.backend.caps.context or self._context for r in self.replicas.all]
        return min((context for context in known if context), default=None)

    def use_wrapper(self, wrapper: Wrapper | ModelWrapper) -> None:
        """Write prompts in another format from now on."""
        for replica in self.replicas.all:
            replica.route = msgspec.structs.replace(replica.route, wrapper=wrapper)

    async def start(self) -> list[LlmgateError]:
        """Make all replicas ready; the failures of those that are not."""
        replicas = self.replicas.all
        results = await asyncio.gather(
            *(replica.route.backend.start() for replica in replicas), return_exceptions=True
        )
        failures = []
        for replica, result in zip(replicas, results, strict=True):
            try:
                if isinstance(result, BaseException):
                    raise result
                # What a model's own template can show takes some renderings to find out.
                if not (caps := replica.route.backend.caps).chat:
                    replica.route.wrapper.of(caps)
            except LlmgateError as error:
                replica.health.failed(error)
                failures.append(error)
        return failures

    async def aclose(self) -> None:
        """Let go of all replicas."""
        await asyncio.gather(*(replica.aclose() for replica in self.replicas.all))


class Family:
    """Models that differ in what the stars of their common name stand for.

    They are opened when they are first asked for; those that were not asked for the longest are
    closed again.
    """

    def __init__(
        self, name: str, policy: Policy, open_member: Callable[[tuple[str, ...]], Model]
    ) -> None:
        self.name = name
        self.policy = policy
        self._open = open_member
        self._members: OrderedDict[tuple[str, ...], Model] = OrderedDict()

    async def member(self, parts: tuple[str, ...]) -> Model:
        """The model for what the stars stand for."""
        model = self._members.get(parts)
        if model is not None:
            self._members.move_to_end(parts)
            return model
        model = self._members[parts] = self._open(parts)
        await self._make_room()
        return model

    async def aclose(self) -> None:
        """Let go of all members."""
        members = list(self._members.values())
        self._members.clear()
        await asyncio.gather(*(model.aclose() for model in members))

    async def _make_room(self) -> None:
        *older, _ = self._members.items()
        idle = [(parts, model) for parts, model in older if not model.busy]
        surplus = idle[: max(0, len(self._members) - _FAMILY)]
        for parts, _ in surplus:
            del self._members[parts]
        for _, model in surplus:
            await model.aclose()
