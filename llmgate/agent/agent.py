"""An agent: events go in, steps come out, and all of it is kept before it is shown."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from llmgate.agent import compacting, correcting, opening
from llmgate.agent.body import Body
from llmgate.agent.chain import chain, receive
from llmgate.agent.events import Event, Heartbeat
from llmgate.agent.following import PRESSURE
from llmgate.agent.heartbeats import seconds_to_wait
from llmgate.agent.home import Home
from llmgate.agent.kept import Kept, check_free
from llmgate.agent.state import AgentState
from llmgate.agent.steps import Step
from llmgate.agent.watch import Watch
from llmgate.errors import AgentBusy, LlmgateError, RequestError
from llmgate.types import Prompt

if TYPE_CHECKING:
    from llmgate.agent.functions.approval import Approvals
    from llmgate.memory.archival import Archival
    from llmgate.memory.conversation import Conversation, Summary
    from llmgate.memory.core import Core
    from llmgate.memory.recall import Recall

_MOMENT = 0.5


class Agent:
    """One agent of a home. Made by `create` and `open`.

    What is done with it goes one after the other: while it runs, other tasks wait.
    """

    def __init__(self, home: Home, body: Body) -> None:
        self.home = home
        self._body = body
        self._kept = body.kept
        self._lock = asyncio.Lock()
        self._holder: asyncio.Task[object] | None = None

    @classmethod
    async def create(
        cls,
        home: Home,
        name: str,
        *,
        preset: str | None = None,
        persona: str | None = None,
        human: str | None = None,
        model: str | None = None,
        blocks: Mapping[str, str] | None = None,
    ) -> Agent:
        """A new agent. `preset`, `persona` and `human` are names; None is the configured one.

        `blocks` are further blocks of core memory, by label; under the labels persona and human
        they stand in the place of the named texts. Raises `RequestError` for a name that can't be
        or is taken, `UnknownName` and `ConfigError`.
        """
        await opening.create(
            home,
            name,
            preset=preset,
            persona=persona,
            human=human,
            model=model,
            blocks=blocks or {},
        )
        return await cls.open(home, name)

    @classmethod
    async def open(cls, home: Home, name: str) -> Agent:
        """An agent as it was left. Raises `UnknownAgent`."""
        kept = Kept(home.records, name, home.now)
        await kept.load()
        return cls(home, Body(home, kept))

    @property
    def name(self) -> str:
        """Its name."""
        return self._kept.name

    @property
    def state(self) -> AgentState:
        """What is kept of it beside messages and memory."""
        return self._kept.state

    @property
    def model(self) -> str:
        """The name of the model that it thinks with."""
        return self._body.model

    @property
    def pending(self) -> bool:
        """Whether something was interrupted, or waits for an answer: `run(None)` goes on."""
        return self._kept.state.pending is not None

    @property
    def running(self) -> bool:
        """Whether it is in the middle of something, here."""
        return self._lock.locked()

    @property
    def core(self) -> Core:
        """Its core memory, to look at. What `user` edits in it the agent is told of."""
        return self._body.core

    @property
    def recall(self) -> Recall:
        """Its recall memory: all that was ever said."""
        return self._body.recall

    @property
    def archival(self) -> Archival:
        """Its archival memory: what it has put away, and its sources."""
        return self._body.archival

    @property
    def conversation(self) -> Conversation:
        """Its messages, as they are stored."""
        return self._kept.conversation

    @property
    def approvals(self) -> Approvals:
        """Which functions it may call, as far as a person has said so."""
        return self._body.approvals

    @property
    def exchanges(self) -> tuple[tuple[Prompt, str], ...]:
        """The last prompts, with what the model wrote to each."""
        return tuple(self._body.exchanges)

    @property
    def pressure_text(self) -> str:
        """What it is told when its window is nearly full."""
        return PRESSURE

    async def run(
        self, event: Event | None, *, watch: Watch | None = None
    ) -> AsyncGenerator[Step, None]:
        """The steps that an event leads to, each kept before it is given.

        None goes on where a crash or an interruption stopped; calls that were left then are made
        before another event is taken too. Raises `AgentBusy` if another process runs it, and
        `BackendError` if the model can't be asked: then the event is kept, and `run(None)` asks
        again. The same goes for whoever stops iterating.
        """
        async with self._alone():
            try:
                async with aclosing(chain(self._body, event, watch or Watch())) as steps:
                    async for step in steps:
                        yield step
            except BaseException:
                await self._let_go()
                raise

    async def tell(self, event: Event) -> None:
        """Add an event to what the agent reads, without asking it for an answer now.

        Raises `RequestError` if it was interrupted in the middle of a call.
        """
        async with self._alone():
            self._check_between_calls()
            await receive(self._body, event, answer=False)

    async def heartbeats(self, *, watch: Watch | None = None) -> AsyncGenerator[Step, None]:
        """Wake the agent when nothing has happened for `heartbeat_minutes`, again and again.

        Not while it runs, and not while it has paused its heartbeats. Ends at once where none are
        configured.
        """
        minutes = self.home.settings.agent.heartbeat_minutes
        while minutes is not None:
            wait = seconds_to_wait(self._kept.state, self.home.now(), minutes)
            if wait or self.running:
                await asyncio.sleep(wait or min(minutes * 60, 1.0))
                continue
            async with aclosing(self.run(Heartbeat(), watch=watch)) as steps:
                async for step in steps:
                    yield step

    async def steps(self, limit: int = 100) -> tuple[Step, ...]:
        """The last steps, in their order."""
        return await self._kept.steps.last(Step, limit)

    async def compact(self, *, watch: Watch | None = None) -> Summary | None:
        """Summarise the oldest part of the window now; None if there is too little in it."""
        async with self._alone():
            self._check_between_calls()
            return await compacting.compact(self._body, watch or Watch())

    async def recompress(self) -> Summary | None:
        """Make the summary anew from all the messages that it stands for.

        None if there is no summary yet, or if the model gives none: then the old one stays.
        """
        async with self._alone():
            self._check_between_calls()
            return await compacting.recompress(self._body)

    async def pop(self, count: int = 3) -> int:
        """Take back the last messages; returns how many, so that no call is without its result."""
        async with self._alone():
            return await correcting.pop(self._body, count)

    async def undo(self) -> str | None:
        """Take back all from the last message of a person on. Returns what it said."""
        async with self._alone():
            return await correcting.undo(self._body)

    async def retry(self, *, watch: Watch | None = None) -> AsyncGenerator[Step, None]:
        """Take back all since the last message of a person, and have that answered again.

        Raises as `run` does, and `RequestError` if nobody has said anything.
        """
        async with self._alone():
            await correcting.back_to_question(self._body)
        async with aclosing(self.run(None, watch=watch)) as steps:
            async for step in steps:
                yield step

    async def rethink(self, thoughts: str) -> None:
        """Put other thoughts in the place of its last ones. Raises `RequestError`."""
        async with self._alone():
            await correcting.rethink(self._body, thoughts)

    async def rewrite(self, message: str) -> None:
        """Put other words in the place of the last it said. Raises `RequestError`."""
        async with self._alone():
            await correcting.rewrite(self._body, message)

    async def set_model(self, model: str | None) -> None:
        """Think with another model from now on, None for the configured one.

        Raises `UnknownModel`, and `RequestError` for one that can't think.
        """
        if model is not None:
            self.home.check_model(model)
        async with self._alone():
            await self._kept.commit(msgspec.structs.replace(self.state, model=model))

    async def attach(self, source: str) -> None:
        """Search a source with its archival memory from now on. Raises `UnknownName`."""
        async with self._alone():
            await self.archival.attach(source)
            await self._keep_sources()

    async def detach(self, source: str) -> None:
        """Search a source no longer. Raises `UnknownName` for one that is not attached."""
        async with self._alone():
            await self.archival.detach(source)
            await self._keep_sources()

    async def attach_block(self, label: str, block_id: str) -> None:
        """Have a block of core memory that other agents may have too. Raises `UnknownName`."""
        async with self._alone():
            await self.core.attach(label, block_id)
            await self._kept.commit(msgspec.structs.replace(self.state, blocks=self.core.ids))

    async def add_block(
        self, label: str, value: str, *, limit: int = 2000, shared_id: str | None = None
    ) -> None:
        """Have a new block of core memory. Raises `RequestError` for a label that is taken."""
        async with self._alone():
            await self.core.create(label, value, limit, shared_id=shared_id, by="user")
            await self._kept.commit(msgspec.structs.replace(self.state, blocks=self.core.ids))

    async def detach_block(self, label: str) -> None:
        """Have a block of core memory no longer. Raises `UnknownName`."""
        async with self._alone():
            self.core.detach(label)
            await self._kept.commit(msgspec.structs.replace(self.state, blocks=self.core.ids))

    async def aclose(self) -> None:
        """Let go of it; what it was in the middle of can be gone on with."""
        await self.archival.aclose()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """The agent as it is stored now, for this task alone. Raises `AgentBusy`."""
        await self._acquire()
        try:
            if self.name in self.home.running:
                raise AgentBusy(f"the agent {self.name!r} is run by another object of this home.")
            self._holder = asyncio.current_task()
            self.home.running.add(self.name)
            try:
                before = self._kept.state
                await self._kept.load()
                check_free(self.state, self.home.runner)
                if _made_of(before) != _made_of(self.state):
                    self._body.assemble()
                yield
            finally:
                self.home.running.discard(self.name)
                self._holder = None
        finally:
            self._lock.release()

    async def _acquire(self) -> None:
        """Wait for other tasks. Raises `AgentBusy` where a task would wait for itself."""
        if self._holder is None or self._holder is not asyncio.current_task():
            await self._lock.acquire()
            return
        try:
            # An iterator that was left in the middle is closed by Python in a moment.
            async with asyncio.timeout(_MOMENT):
                await self._lock.acquire()
        except TimeoutError:
            raise AgentBusy(
                f"the agent {self.name!r} is in the middle of a run.",
                hint="Take its steps to their end first, or close the iterator.",
            ) from None

    def _check_between_calls(self) -> None:
        if self.state.pending is not None and self.state.pending.phase != "think":
            raise RequestError(
                f"the agent {self.name!r} was interrupted in the middle of a call.",
                hint="Let it go on first: run(None).",
            )

    async def _keep_sources(self) -> None:
        sources = tuple(self.archival.sources)
        await self._kept.commit(msgspec.structs.replace(self.state, sources=sources))

    async def _let_go(self) -> None:
        """Let other processes go on with what is left: at best, as this one has failed."""
        with contextlib.suppress(LlmgateError):
            await self._kept.load()
            pending = self.state.pending
            if pending is not None and pending.runner == self.home.runner:
                left = msgspec.structs.replace(pending, runner=None)
                await self._kept.commit(msgspec.structs.replace(self.state, pending=left))


def _made_of(state: AgentState) -> tuple[object, ...]:
    return state.blocks, state.sources, state.functions
