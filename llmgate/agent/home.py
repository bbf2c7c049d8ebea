"""What agents stand on: the gateway that asks models, the store, and the vectors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from llmgate import config, storage
from llmgate.agent.functions.approval import Approvals
from llmgate.agent.functions.loading import load
from llmgate.agent.kept import busy, check_free, read_state
from llmgate.agent.runner import Runner
from llmgate.agent.state import AgentState
from llmgate.config import Settings
from llmgate.errors import NewerStore, RequestError, StoreCorrupt, UnknownModel
from llmgate.gateway import Gateway
from llmgate.memory.agents import agents, forget
from llmgate.storage import Records

if TYPE_CHECKING:
    from llmgate.agent.functions.spec import Function
    from llmgate.memory.embedding import Embedder
    from llmgate.storage.passages import Vectors, VectorStore

OpenCollection = Callable[[str], Awaitable["Vectors"]]
Clock = Callable[[], datetime]
_THOUGHTS = "inner_thoughts"
# Libraries whose models make vectors in this process, as in "fastembed:NAME".
LOCAL = ("fastembed", "sentence-transformers")


class Home:
    """Where agents live. Made by `open`, and closed by leaving its `async with`.

    `functions` are all that agents may have, `warnings` say what is wrong with some.
    """

    def __init__(
        self,
        settings: Settings,
        gateway: Gateway,
        records: Records,
        *,
        open_collection: OpenCollection | None = None,
        functions: Mapping[str, Function],
        warnings: tuple[str, ...] = (),
        embed: Embedder | None = None,
        clock: Clock | None = None,
        owned: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self.settings = settings
        self.gateway = gateway
        self.records = records
        self.functions = functions
        self.warnings = warnings
        self.embed = embed
        self._clock = clock
        self._owned = list(owned)
        self._open_collection = open_collection
        self._vectors: VectorStore | None = None
        self._opening = asyncio.Lock()
        # The agents that are being run here: they can't be run twice at a time.
        self.running: set[str] = set()
        self.runner = Runner.here()

    @classmethod
    async def open(
        cls,
        settings: Settings,
        *,
        gateway: Gateway | None = None,
        records: Records | None = None,
        open_collection: OpenCollection | None = None,
        clock: Clock | None = None,
    ) -> Home:
        """A home as `settings` describe it; what is given is used in place of what they name.

        What was given is not closed with it. Raises `ConfigError` and `StorageError`.
        """
        functions, warnings = load(settings.user_folder)
        owned: list[Callable[[], Awaitable[None]]] = []
        try:
            if gateway is None:
                settings = _suited(_thinking(settings))
                gateway = Gateway.open(settings)
                owned.append(gateway.aclose)
            embed = _embedder(gateway, settings.agent.embedding, owned)
            if records is None:
                records = await storage.open(config.storage_url(settings))
                owned.append(records.close)
            rules = Approvals(records, "", settings.agent.approvals)
            warnings += tuple(
                f"agent.approvals: {pattern!r} is no function that there is"
                for pattern in rules.strangers(functions)
            )
        except BaseException:
            for close in owned:
                await close()
            raise
        warnings += _missing(settings)
        home = cls(
            settings,
            gateway,
            records,
            open_collection=open_collection,
            functions=functions,
            warnings=warnings,
            embed=embed,
            clock=clock,
            owned=owned,
        )
        try:
            home.check_model(home.model)
        except RequestError as error:
            # Agents with a model of their own go on, and so does whatever needs none.
            home.warnings += (f"agent.model: {error}",)
        return home

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of what was opened. Closing again does nothing."""
        owned, self._owned = self._owned, []
        vectors, self._vectors = self._vectors, None
        try:
            if vectors is not None:
                await vectors.close()
        finally:
            for close in owned:
                await close()

    def now(self) -> datetime:
        """The time, in the zone of this machine."""
        return self._clock() if self._clock else datetime.now().astimezone()

    async def vectors(self) -> VectorStore:
        """The store of all passages, opened at its first use."""
        async with self._opening:
            if self._vectors is None:
                from llmgate.storage.vectors import open_vector_store

                self._vectors = await open_vector_store(config.vectors_url(self.settings))
            return self._vectors

    async def open_collection(self, name: str) -> Vectors:
        """The passages of that name."""
        if self._open_collection is not None:
            return await self._open_collection(name)
        return await (await self.vectors()).open(name)

    @property
    def model(self) -> str:
        """The name of the model that agents think with if they have none of their own."""
        return _thinker(self.settings)

    def check_model(self, name: str) -> None:
        """Raise `UnknownModel`, or `RequestError` for one that agents can't think with."""
        self.gateway.check(name)
        model = self.settings.models.get(name)
        if model is not None and model.embedding:
            raise RequestError(
                f"the model {name!r} makes embeddings: an agent can't think with it.",
                hint="Choose another one. In `agent.embedding` it is of use.",
                param="model",
            )

    async def agents(self) -> tuple[str, ...]:
        """The names of all agents."""
        return tuple(await agents(self.records))

    async def sources(self) -> tuple[str, ...]:
        """The names of the sources that agents can attach."""
        prefix = "source/"
        found = await (await self.vectors()).collections(prefix)
        return tuple(name.removeprefix(prefix) for name in found)

    async def latest(self) -> str | None:
        """The agent that was used last, None where there is none that can be read."""
        states = await self.states()
        return max(states, key=_used).name if states else None

    async def states(self) -> tuple[AgentState, ...]:
        """What is kept of all agents, by their names.

        One that can't be read is left out, which `warnings` say from then on.
        """
        states: list[AgentState] = []
        for name in await self.agents():
            try:
                states.append(await self.state(name))
            except (NewerStore, StoreCorrupt) as error:
                if (warning := f"the agent {name!r} is left out: {error}") not in self.warnings:
                    self.warnings += (warning,)
        return tuple(states)

    async def state(self, name: str) -> AgentState:
        """What is kept of an agent. Raises `UnknownAgent` with the known ones."""
        return await read_state(self.records, name)

    async def delete(self, name: str) -> None:
        """Take an agent away with all that only it has; what it shares with others stays.

        One that is damaged can be deleted too. Raises `UnknownAgent`, `AgentBusy` while somebody
        runs it, and `NewerStore`.
        """
        with contextlib.suppress(StoreCorrupt):
            check_free(await self.state(name), self.runner)
        if name in self.running:
            raise busy(name)
        collection = f"agent/{name}"
        if self._open_collection is None:
            await (await self.vectors()).drop(collection)
        else:
            passages = await self.open_collection(collection)
            async for page in passages.all():
                await passages.delete(*(passage.id for passage in page))
        await forget(self.records, name)


def _used(state: AgentState) -> datetime:
    return state.used_at or state.created_at


def _missing(settings: Settings) -> tuple[str, ...]:
    """What the configuration takes for granted and is not there."""
    files = settings.agent.files
    if files is None or Path(files).is_dir():
        return ()
    return (f"agent.files: there is no folder {files!r}, so file functions will fail",)


def _thinking(settings: Settings) -> Settings:
    """The settings with thoughts before calls, for models whose options say nothing of them."""
    if not settings.agent.thoughts:
        return settings
    models = {
        name: model
        if _THOUGHTS in config.with_facts(model).options
        else msgspec.structs.replace(model, options={**model.options, _THOUGHTS: "inside"})
        for name, model in settings.models.items()
    }
    return msgspec.structs.replace(settings, models=models)


def _suited(settings: Settings) -> Settings:
    """The settings with what suits the model that agents think with, where they say nothing."""
    name = _thinker(settings)
    if name not in settings.models:
        return settings
    agent = config.with_agent_facts(settings.agent, settings.models[name])
    return msgspec.structs.replace(settings, agent=agent)


def _thinker(settings: Settings) -> str:
    """The model that agents think with: the configured one, or the first that can."""
    able = (name for name, model in settings.models.items() if not model.embedding)
    return settings.agent.model or next(able, next(iter(settings.models), ""))


def _embedder(
    gateway: Gateway, name: str | None, owned: list[Callable[[], Awaitable[None]]]
) -> Embedder | None:
    """What makes vectors: a configured model, or one in this process, to be closed as `owned`."""
    if name is None:
        return None
    try:
        gateway.check(name)
    except UnknownModel as error:
        if name.partition(":")[0] not in LOCAL:
            error.message = f"agent.embedding: {error.message}"
            raise
        from llmgate.memory.embedding import local_embedder

        embedder = local_embedder(name)

        async def close() -> None:
            embedder.close()

        owned.append(close)
        return embedder
    return partial(gateway.embed, name)
