"""A story that an agent can be interrupted in anywhere, and what has to hold of it then.

A person says texts, one after the other. The scripted model answers from what it is shown, so it
goes on wherever it is asked: for each text it notes it in core memory, puts it away in archival
memory, calls a function that leaves a mark in a file, and speaks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path

from llmgate import storage
from llmgate.agent import Agent, Home, Step, UserMessage
from llmgate.backends.scripted import ScriptedBackend
from llmgate.config import AgentSettings, ModelSettings, Settings, StorageSettings
from llmgate.gateway import Gateway, Route
from llmgate.memory.conversation import Logged
from llmgate.types import Caps, Message, Request, ToolCall
from llmgate.wrappers import Wrapper

NAME = "ann"
FUNCTIONS = '''
import time

from llmgate.agent.functions import function


@function(approval="allow", returns_data=False)
def leave_mark(path: str, seconds: float) -> str:
    """Leave a mark.

    Args:
        path: The file for the mark.
        seconds: How long it takes, before and behind it.
    """
    time.sleep(seconds)
    with open(path, "a", encoding="utf-8") as file:
        file.write("x")
    time.sleep(seconds)
    return "marked"
'''
PRESET = """
system_prompt: memgpt_chat_compressed
functions: [send_message, core_memory_append, archival_memory_insert, leave_mark]
"""
# Text in a line of core memory has to stay within its limit, however often one is killed.
_LIMIT = 100_000
_UNSURE = "may or may not have happened"


def furnish(folder: Path) -> Path:
    """Put the function and the preset into a user's folder."""
    (folder / "functions").mkdir(parents=True, exist_ok=True)
    (folder / "functions" / "marking.py").write_text(FUNCTIONS, encoding="utf-8")
    (folder / "presets").mkdir(exist_ok=True)
    (folder / "presets" / "story.yaml").write_text(PRESET, encoding="utf-8")
    (folder / "marks").touch()
    return folder


def settings_of(folder: Path, url: str = "memory:", vectors: str = "memory:") -> Settings:
    """Settings for a home of the story, with stores at these addresses."""
    return Settings(
        models={"m": ModelSettings(backend="scripted")},
        user_folder=folder,
        storage=StorageSettings(url, vectors),
        agent=AgentSettings(preset="story", first_message=False, reply_tokens=64),
    )


def gateway_of(folder: Path, *, context: int = 32_000, seconds: float = 0.0) -> Gateway:
    """The scripted model; `seconds` are how long the function takes before and behind its mark."""
    backend = ScriptedBackend(model_of(folder, seconds), caps=Caps(chat=True, context=context))
    return Gateway({"m": Route(backend, Wrapper.load("chatml", {}))})


def model_of(folder: Path, seconds: float = 0.0) -> Callable[[Request], Message]:
    """What the model answers: the first of its plan that it has not called for the last text."""

    def answer(request: Request) -> Message:
        if not request.tools:
            return Message("assistant", "Texts were said, noted and put away.")
        text, called = "", 0
        for message in request.messages:
            if message.role == "user":
                packaged = json.loads(message.content or "{}")
                if packaged["type"] == "user_message":
                    text, called = packaged["message"], 0
            elif message.role == "assistant":
                called += len(message.tool_calls)
        on = {"request_heartbeat": True}
        plan = (
            ("core_memory_append", {"name": "texts", "content": f"<{text}>", **on}),
            ("archival_memory_insert", {"content": f"put away {text}", **on}),
            ("leave_mark", {"path": str(folder / "marks"), "seconds": seconds, **on}),
            ("send_message", {"message": f"Done: {text}"}),
            # To the warning that the window is nearly full.
            ("send_message", {"message": "All is well."}),
        )
        # Before anybody has said anything it speaks.
        name, arguments = plan[min(called, len(plan) - 1) if text else -1]
        return Message("assistant", "On.", (ToolCall("c", name, json.dumps(arguments)),))

    return answer


async def opened(home: Home) -> Agent:
    """The agent of the story, new if it is not there yet."""
    if NAME not in await home.agents():
        await Agent.create(home, NAME)
    agent = await Agent.open(home, NAME)
    if "texts" not in agent.state.blocks:
        await agent.add_block("texts", "", limit=_LIMIT)
    return agent


async def said(home: Home) -> list[str]:
    """The texts that the agent has been told, as they are stored."""
    return [
        json.loads(each.message.content or "{}")["message"]
        for each in await _log(home)
        if each.kind == "event:user_message"
    ]


async def told(agent: Agent, text: str) -> AsyncGenerator[Step, None]:
    """Tell the agent a text to its end, or have it go on if it knows of it already."""
    event = None if text in await said(agent.home) else UserMessage(text)
    async with aclosing(agent.run(event)) as steps:
        async for step in steps:
            yield step


async def wrong(home: Home, folder: Path, shown: Iterable[tuple[int, str]]) -> list[str]:
    """What does not hold, of an agent that may be in the middle of something.

    `shown` are the numbers and calls of the steps that were given to somebody.
    """
    found: list[str] = []
    agent = await Agent.open(home, NAME)
    pending = agent.state.pending
    texts = await said(home)
    if len(set(texts)) != len(texts):
        found.append(f"a text was stored twice: {texts}")
    found += await wrong_calls(home)
    steps = await agent.steps(1_000_000)
    if [step.number for step in steps] != list(range(1, len(steps) + 1)):
        found.append(f"steps are numbered {[step.number for step in steps]}")
    kept = {(step.number, step.call.id) for step in steps if step.call}
    if lost := set(shown) - kept:
        found.append(f"steps were shown that are not there: {sorted(lost)}")
    done = texts[:-1] if pending is not None else texts
    noted = (await agent.core.get("texts")).value if "texts" in agent.state.blocks else ""
    collection = await home.open_collection(f"agent/{NAME}")
    stored = Counter([passage.text async for page in collection.all() for passage in page])
    answers = Counter(step.said for step in steps if step.said)
    for text in texts:
        least = int(text in done)
        for what, times in (
            ("noted", noted.count(f"<{text}>")),
            ("put away", stored[f"put away {text}"]),
            ("answered", answers[f"Done: {text}"]),
        ):
            if not least <= times <= 1:
                found.append(f"the text {text!r} was {what} {times} times")
    marks = [step for step in steps if step.call and step.call.name == "leave_mark"]
    unsure = [step for step in marks if not step.ok]
    found += [f"a mark failed: {step.result}" for step in unsure if _UNSURE not in str(step.result)]
    running = int(pending is not None and pending.phase == "running")
    left = len((folder / "marks").read_text(encoding="utf-8"))
    # What was interrupted is not done again: it is said that nobody knows.
    if not len(marks) - len(unsure) <= left <= len(marks) + running:
        found.append(f"{left} marks of {len(marks)} calls, {len(unsure)} of them interrupted")
    if not len(done) <= len(marks) <= len(texts):
        found.append(f"{len(marks)} marks were asked for, for {len(texts)} texts")
    return found


async def wrong_calls(home: Home) -> list[str]:
    """Whether each call has its one result right behind it, but for those still to be made."""
    found, waiting = [], []
    for message in [each.message for each in await _log(home)]:
        if message.role == "tool":
            if not waiting or message.tool_call_id != waiting.pop(0):
                found.append(f"a result of {message.tool_call_id} that nobody waits for")
        else:
            if waiting:
                found.append(f"no result of {waiting}")
            waiting = [call.id for call in message.tool_calls]
    pending = (await home.state(NAME)).pending
    left = [call.id for call in pending.calls] if pending is not None else []
    if waiting != left:
        found.append(f"the last calls are {waiting}, to be made are {left}")
    return found


async def _log(home: Home) -> tuple[Logged, ...]:
    from llmgate.memory.conversation import Conversation

    return await Conversation(home.records, NAME).raw(1)


async def home_at(
    folder: Path,
    *,
    records: storage.Records | None = None,
    context: int = 32_000,
    seconds: float = 0,
) -> Home:
    """A home with its stores in the folder, or over records that are given."""
    vectors = f"sqlite:{folder}/vectors.db" if records is None else "memory:"
    settings = settings_of(folder, f"sqlite:{folder}/agents.db", vectors)
    gateway = gateway_of(folder, context=context, seconds=seconds)
    return await Home.open(settings, gateway=gateway, records=records)
