"""An agent's state and window, held here as they are stored: both change together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from llmgate.agent.runner import Runner
from llmgate.agent.state import SCHEMA, AgentState
from llmgate.agent.steps import Step
from llmgate.errors import AgentBusy, Conflict, NewerStore, StoreCorrupt, UnknownAgent
from llmgate.memory import names
from llmgate.memory.agents import agents
from llmgate.memory.conversation import Conversation, Logged, Summary, Window
from llmgate.memory.steps_log import StepsLog
from llmgate.memory.text import storable
from llmgate.storage import Document, Records
from llmgate.types import Message

# What is added to a conversation: of which kind it is, and the message.
Added = tuple[str, Message]


class Kept:
    """One agent as it is stored. `load` first: everything else stands on it."""

    state: AgentState
    window: Window
    logged: tuple[Logged, ...]
    summary: Summary | None

    def __init__(self, records: Records, name: str, clock: Callable[[], datetime]) -> None:
        self.records = records
        self.name = name
        self.now = clock
        self.conversation = Conversation(records, name, clock=clock)
        self.steps = StepsLog(records, name)
        # The version of the stored state that is held here, None if that is not known, and where
        # the logs end.
        self._version: int | None = None
        self._ends: Mapping[str, int] = {}

    async def load(self) -> None:
        """Read all of it, unless nothing has changed since. Raises `UnknownAgent`."""
        document = await read(self.records, self.name)
        if self._version == document.version:
            return
        self.state = state_of(document)
        self.window, self.logged, self.summary = await self.conversation.load()
        self._version, self._ends = document.version, {}

    async def commit(
        self,
        state: AgentState,
        *added: Added,
        step: Step | None = None,
        window: Window | None = None,
        summary: Summary | None = None,
        amended: tuple[tuple[int, Message], ...] = (),
        retracted: tuple[int, ...] = (),
        prompts: Any = None,
    ) -> None:
        """Store changes in one transaction. `window` is the new one, with its `summary` if any.

        `prompts` are the last ones, kept for others to look at.

        Raises `AgentBusy` if the stored agent is not the one that is held here, and what the
        store raises; then nothing of it has happened.
        """
        state = msgspec.structs.replace(state, used_at=self.now())
        if summary is not None:
            summary = msgspec.structs.replace(summary, text=storable(summary.text))
        logged: tuple[Logged, ...] = ()
        if self._version is None:
            raise busy(self.name)
        # Until it is known what came of this, nothing is known.
        version, ends, self._version, self._ends = self._version, self._ends, None, {}
        key = names.state(self.name)
        try:
            async with self.records.transaction(ends=ends) as tx:
                tx.put(key, msgspec.to_builtins(state), expected=version)
                for position, message in amended:
                    await self.conversation.amend(tx, position, message)
                if retracted:
                    await self.conversation.retract(tx, *retracted)
                if added:
                    logged = await self.conversation.append(tx, *added)
                if summary is not None and window is not None:
                    number = await self.conversation.add_summary(tx, summary)
                    window = msgspec.structs.replace(window, summary=number)
                if window is not None:
                    self.conversation.put_window(tx, window)
                if prompts is not None:
                    tx.put(names.system(f"prompts/{self.name}"), prompts)
                if step is not None:
                    await self.steps.append(tx, step)
        except Conflict as error:
            raise busy(self.name) from error
        self.state = state
        if amended or retracted:
            return  # what is held here is read again
        self.logged += logged
        if window is not None:
            self.window = window
            self.summary = summary or self.summary
            self.logged = tuple(each for each in self.logged if each.position >= window.start)
        self._version, self._ends = tx.versions[key], tx.ends


async def read(records: Records, name: str) -> Document:
    """The document of an agent. Raises `UnknownAgent` with the known ones."""
    names.check_name(name)
    document = await records.get(names.state(name))
    if document is None:
        raise UnknownAgent(name, await agents(records))
    return document


async def read_state(records: Records, name: str) -> AgentState:
    """The state of an agent. Raises `UnknownAgent` with the known ones, and `StorageError`."""
    return state_of(await read(records, name))


def state_of(document: Document) -> AgentState:
    """The state in a document. Raises `NewerStore` and `StoreCorrupt`."""
    value = document.value
    number = value.get("schema") if isinstance(value, dict) else None
    if isinstance(number, int) and number > SCHEMA:
        raise NewerStore(
            f"{document.key} was written by a newer llmgate (schema {number}, here {SCHEMA}).",
            hint="Update llmgate: nothing was changed.",
        )
    try:
        return msgspec.convert(value, AgentState)
    except msgspec.ValidationError as error:
        raise StoreCorrupt(f"{document.key} is not the state of an agent: {error}.") from error


def check_free(state: AgentState, runner: Runner) -> None:
    """Raise `AgentBusy` while somebody else who lives is in the middle of something with it."""
    other = state.pending.runner if state.pending else None
    if other is not None and other != runner and other.lives():
        raise AgentBusy(
            f"the agent {state.name!r} is being run by another program (process {other.pid}).",
            hint="Only one at a time can run it: close the other one, or wait.",
        )


def busy(name: str) -> AgentBusy:
    """What is raised where somebody else goes on with the agent."""
    return AgentBusy(
        f"the agent {name!r} was changed by another program meanwhile.",
        hint="Only one at a time can run it: close the other one, then try again.",
    )
