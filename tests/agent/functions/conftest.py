"""An agent's context over real memory, and what it said."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from llmgate import storage
from llmgate.agent.context import Context
from llmgate.memory.archival import Archival
from llmgate.memory.core import Core
from llmgate.memory.recall import Recall
from llmgate.storage.vectors import open_vector_store

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


class Ears:
    """What the agent's functions have said, paused and asked."""

    def __init__(self):
        self.said = []
        self.paused = []
        self.asked = []

    async def answer(self, model, message):
        self.asked.append((model, message))
        return f"{model} says yes"


@pytest.fixture
def ears():
    return Ears()


@pytest.fixture
async def records():
    async with await storage.open("memory:") as opened:
        yield opened


@pytest.fixture
async def context(records, ears):
    store = await open_vector_store("memory:")
    core = Core(records, {}, by="agent ann", clock=lambda: NOW)
    await core.create("persona", "I am Ann.")
    await core.create("human", "Name: unknown", 60)
    yield Context(
        name="ann",
        core=core,
        recall=Recall(records, "ann", zone=UTC),
        archival=Archival(store.open, "ann"),
        call="call_1",
        now=lambda: NOW,
        say=ears.said.append,
        pause=ears.paused.append,
        ask=ears.answer,
    )
    await store.close()


@pytest.fixture
def again(context):
    """The context of another call."""

    def make(call):
        return msgspec.structs.replace(context, call=call)

    return make
