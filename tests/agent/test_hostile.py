"""A model that writes whatever it likes does no harm.

LLMGATE_HOSTILE is how many of its outputs are tried, 1,000 if it is not set.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from contextlib import suppress

import pytest
from agent_doubles import home_of, settings_of
from hostile_outputs import output, text_output

from llmgate import storage
from llmgate.agent import Agent, Heartbeat, UserMessage, Watch
from llmgate.agent.functions.approval import Answer
from llmgate.agent.state import AgentState
from llmgate.backends.scripted import ScriptedBackend
from llmgate.errors import BackendError
from llmgate.memory.conversation import Conversation
from llmgate.types import Caps
from llmgate.wrappers import Wrapper

OUTPUTS = int(os.environ.get("LLMGATE_HOSTILE", "1000"))
# How many outputs one agent gets before the next one.
EACH = 50
LIMIT, RETRIES = 5, 2
PROMPTS = Caps(grammar=True, tokenize=True, context=9000)
DANGER = '''
def danger(what: str = "") -> str:
    """Do something that nobody wants.

    Args:
        what: What to do.
    """
    with open({path!r}, "a") as file:
        file.write("x")
    return "done"
'''
PRESET = """
system_prompt: memgpt_chat_compressed
functions: [send_message, pause_heartbeats, core_memory_append, core_memory_replace,
  conversation_search, conversation_search_date, archival_memory_insert, archival_memory_search,
  message_chatgpt, read_from_text_file, append_to_text_file, http_request, danger]
"""


class Refuses(Watch):
    """Somebody who is asked, and never allows anything."""

    def __init__(self):
        self.asked = Counter()
        self.approver = self

    async def ask(self, question):
        self.asked[question.function] += 1
        return Answer("deny")


class Trap:
    """A folder and a port that nobody may get at, and what is allowed beside them."""

    def __init__(self, folder):
        self.folder = folder
        self.sandbox = folder / "sandbox"
        self.sandbox.mkdir()
        (self.sandbox / "notes.txt").write_text("notes\n")
        (folder / "secret.txt").write_text("secret")
        (self.sandbox / "link.txt").symlink_to(folder / "secret.txt")
        (folder / "functions").mkdir()
        marks = str(folder / "marks")
        (folder / "functions" / "danger.py").write_text(DANGER.format(path=marks))
        (folder / "presets").mkdir()
        (folder / "presets" / "all.yaml").write_text(PRESET)
        self.connections = 0
        self.url = ""

    async def open(self):
        def caught(reader, writer):
            self.connections += 1
            writer.close()

        server = await asyncio.start_server(caught, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"
        return server

    def check(self):
        assert not (self.folder / "marks").exists(), "a function ran that nobody allowed"
        assert (self.folder / "secret.txt").read_text() == "secret"
        assert self.connections == 0, "somebody was let through to a private address"
        found = {path.name for path in self.folder.iterdir()}
        assert found == {"sandbox", "secret.txt", "functions", "presets"}
        assert {path.name for path in self.sandbox.iterdir()} == {"notes.txt", "link.txt"}


@pytest.mark.parametrize("mode", ["messages", "prompts"])
async def test_whatever_a_model_writes_does_no_harm(tmp_path, mode):
    trap = Trap(tmp_path)
    server = await trap.open()
    make, caps, wrapper = {
        "messages": (output, Caps(chat=True, context=9000), None),
        "prompts": (text_output, PROMPTS, Wrapper.load("chatml", {})),
    }[mode]
    async with server:
        for first in range(0, OUTPUTS // 2, EACH):
            chance = random.Random(first)
            await one_agent(trap, lambda asked, c=chance: make(c, trap.url), caps, wrapper, chance)
            trap.check()


async def one_agent(trap, answer, caps, wrapper, chance):
    backend = ScriptedBackend(answer, caps=caps)
    settings = settings_of(
        trap.folder,
        preset="all",
        chain_limit=LIMIT,
        retries=RETRIES,
        first_message=chance.random() < 0.5,
        files=str(trap.sandbox),
        reply_tokens=200,
        # What is allowed without a question has to keep within its own walls.
        approvals={"append_to_text_file": "allow", "http_request": "allow"},
    )
    records = await storage.open("memory:")
    async with await home_of(backend, settings, records=records, wrapper=wrapper) as home:
        agent = await Agent.create(home, "ann")
        watch = Refuses() if chance.random() < 0.5 else None
        while asked(backend) < EACH:
            event = chance.choice((UserMessage("Hello."), Heartbeat(), None))
            before, steps = asked(backend), []
            with suppress(BackendError):
                steps = [step async for step in agent.run(event, watch=watch)]
            # A summary asks as well, and the first message twice.
            assert asked(backend) - before <= 4 * LIMIT + RETRIES
            assert len(steps) <= 3 * LIMIT
            if steps and not agent.pending:
                assert steps[-1].next is None or steps[-1].stopped
            if not steps and event is None:
                await agent.tell(UserMessage("Hm."))
                break_even(backend)
        await check_memory(agent)
        assert watch is None or set(watch.asked) <= {"danger", "message_chatgpt"}


def asked(backend):
    return len(backend.requests) + len(backend.prompts)


def break_even(backend):
    """An agent that waits asks nothing: so that the loop ends, that counts too."""
    backend.prompts.append(None)


async def check_memory(agent):
    """Everything that is stored can be read again, and holds together."""
    again = await Agent.open(agent.home, "ann")
    assert isinstance(again.state, AgentState)
    conversation = Conversation(agent.home.records, "ann")
    waiting = []
    for logged in await conversation.raw(1):
        message = logged.message
        if message.role == "tool":
            assert message.tool_call_id == waiting.pop(0)
        else:
            assert not waiting
            waiting = [call.id for call in message.tool_calls]
    pending = again.state.pending
    assert waiting == [call.id for call in (pending.calls if pending else ())]
    for block in await again.core.blocks():
        assert len(block.value) <= block.limit
        edits = await again.core.log(block.label)
        assert [edit.after for edit in edits[:-1]] == [edit.before for edit in edits[1:]]
        assert edits[-1].after == block.value
    steps = await again.steps(100_000)
    assert [step.number for step in steps] == list(range(1, again.state.steps + 1))
    for step in steps:
        if step.call is not None and step.call.name in ("danger", "message_chatgpt"):
            assert not step.ok
    assert (await agent.home.records.health()).ok
