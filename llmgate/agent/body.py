"""What an agent is put together from: its memory, its functions, and what it thinks with."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from llmgate.agent import explaining, prompt
from llmgate.agent.functions.approval import Approvals
from llmgate.agent.functions.fetching import Fetcher
from llmgate.agent.functions.files import Sandbox
from llmgate.agent.functions.spec import Function
from llmgate.agent.kept import Kept
from llmgate.agent.window import Fitter
from llmgate.memory import names
from llmgate.memory.archival import Archival
from llmgate.memory.blocks import Block
from llmgate.memory.core import Core, agent_author
from llmgate.memory.recall import Recall
from llmgate.memory.text import storable
from llmgate.types import Note, Prompt, Tool

if TYPE_CHECKING:
    from llmgate.agent.home import Home

# How many prompts are kept to be looked at, with what the model wrote.
_EXCHANGES = 2


class Body:
    """One agent, opened: what it has is as `kept.state` says."""

    functions: Mapping[str, Function]
    tools: tuple[Tool, ...]
    core: Core
    archival: Archival

    def __init__(self, home: Home, kept: Kept) -> None:
        settings = home.settings.agent
        self.home = home
        self.kept = kept
        self.settings = settings
        self.recall = Recall(home.records, kept.name)
        self.approvals = Approvals(home.records, kept.name, settings.approvals)
        self.fitter = Fitter(home.gateway, settings, clock=home.now)
        self.files = Sandbox(Path(settings.files)) if settings.files else None
        self.web = Fetcher(settings.private_addresses)
        self.exchanges: deque[tuple[Prompt, str]] = deque(maxlen=_EXCHANGES)
        # What was found to be wrong, to be told with the next step.
        self.notes: list[Note] = []
        self.assemble()

    def assemble(self) -> None:
        """Take memory and functions from the state, which may have changed."""
        state = self.kept.state
        self.core = Core(self.home.records, state.blocks, by=agent_author(state.name))
        self.archival = Archival(
            self.home.open_collection, state.name, sources=state.sources, embed=self.home.embed
        )
        known = self.home.functions
        self.functions = {name: known[name] for name in state.functions if name in known}
        self.tools = prompt.sorted_tools(each.tool for each in self.functions.values())
        for name in state.functions:
            if name not in known:
                message = f"the function {name!r} is not there any more: the agent goes without it"
                self.notes.append(Note("missing", message))

    @property
    def model(self) -> str:
        """The name of the model that it thinks with."""
        return self.kept.state.model or self.home.model

    async def head(self, room: int | None = None) -> tuple[str, dict[str, int]]:
        """The head of its prompts for the core memory of now, and the edits that are in it.

        With `room` no more characters of the core memory are in it, and what is missing is said.
        """
        # Counted first: an edit that comes between is told of once too often, not never.
        ids = self.core.ids.items()
        seen = {label: await self.home.records.end(names.history(each)) for label, each in ids}
        blocks = cut(await self.core.blocks(), room)
        counts = prompt.Counts()
        if self.settings.layout == "memgpt":
            recall = sum((await self.recall.counts()).values())
            counts = prompt.Counts(recall, await self.archival.size())
        text = prompt.head(
            self.kept.state.system,
            blocks,
            layout=self.settings.layout,
            counts=counts,
            now=self.home.now(),
        )
        return text, seen

    def prompts(self) -> dict[str, Any] | None:
        """The last two prompts, as `llmgate cache explain` reads them; None before the second."""
        if len(self.exchanges) < 2:
            return None
        (before, _), (after, _) = self.exchanges
        return explaining.kept(storable(before.text), storable(after.text))

    def take_notes(self) -> tuple[Note, ...]:
        """What is to be told, once."""
        notes, self.notes = tuple(self.notes), []
        return notes


def cut(blocks: Sequence[Block], room: int | None) -> tuple[Block, ...]:
    """The blocks with no more characters than that in all; the longest lose most."""
    if room is None or sum(len(block.value) for block in blocks) <= room:
        return tuple(blocks)
    # As many for each as it has, up to a number that is the same for all.
    left, share = room, 0
    for number, length in enumerate(sorted(len(block.value) for block in blocks)):
        share = left // (len(blocks) - number)
        left -= min(length, share)
    return tuple(_cut(block, share) for block in blocks)


def _cut(block: Block, most: int) -> Block:
    if len(block.value) <= most:
        return block
    missing = len(block.value) - most
    mark = f"[{missing} {prompt.UNSHOWN}"
    return msgspec.structs.replace(block, value=f"{block.value[:most]}\n{mark}")
