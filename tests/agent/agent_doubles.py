"""Agents whose model says what a test tells it to, over a store in memory."""

from __future__ import annotations

import json
from contextlib import aclosing

import msgspec

from llmgate import storage
from llmgate.agent import Agent, Home
from llmgate.backends.scripted import ScriptedBackend
from llmgate.config import AgentSettings, ModelSettings, Settings, StorageSettings
from llmgate.gateway import Gateway, Route
from llmgate.types import Caps, Message, ToolCall
from llmgate.wrappers import Wrapper

CHAT = Caps(chat=True, context=8192)


def call(function, thoughts=None, /, **arguments):
    """An answer that calls one function."""
    return calls((function, arguments), thoughts=thoughts)


def calls(*wanted, thoughts=None):
    """An answer that calls several functions, one after the other."""
    made = tuple(
        ToolCall(f"call_{number}", name, json.dumps(arguments, ensure_ascii=False))
        for number, (name, arguments) in enumerate(wanted)
    )
    return Message("assistant", thoughts, made)


def says(text, thoughts=None, /, **more):
    """An answer that speaks to the person."""
    return call("send_message", thoughts, message=text, **more)


def backend_of(*answers, caps=CHAT):
    """A model that gives these answers, or those of one function."""
    if len(answers) == 1 and callable(answers[0]):
        return ScriptedBackend(answers[0], caps=caps)
    return ScriptedBackend(answers, caps=caps)


def settings_of(folder=None, **agent):
    """Settings for one model called m; the first message may be anything unless `agent` says so."""
    agent = {"first_message": False, **agent}
    return Settings(
        models={"m": ModelSettings(backend="scripted")},
        user_folder=folder,
        storage=StorageSettings("memory:", "memory:"),
        agent=AgentSettings(**agent),
    )


async def home_of(backend, settings=None, *, records=None, clock=None, wrapper=None, **agent):
    """A home whose one model is this backend."""
    settings = settings or settings_of(**agent)
    wrapper = wrapper or Wrapper.load("chatml", {"opening_brace": "never"})
    gateway = Gateway({"m": Route(backend, wrapper)})
    records = records if records is not None else await storage.open("memory:")
    return await Home.open(settings, gateway=gateway, records=records, clock=clock)


async def agent_of(*answers, name="ann", caps=CHAT, **more):
    """A new agent, greeted already, whose model gives these answers; the backend beside it."""
    backend = backend_of(*answers, caps=caps)
    home = await home_of(backend, **more)
    agent = await Agent.create(home, name)
    await settle(agent)
    return agent, backend


async def settle(agent):
    """Leave the login event of a new agent behind, without asking the model."""
    kept = agent._kept
    await kept.commit(msgspec.structs.replace(kept.state, pending=None))


async def steps_of(agent, event, **more):
    """All steps that an event leads to."""
    async with aclosing(agent.run(event, **more)) as steps:
        return [step async for step in steps]


async def messages_of(agent):
    """The messages of the window: kind and content, calls by their names."""
    _, logged, _ = await agent.conversation.load()
    return [(each.kind, shown(each.message)) for each in logged]


def shown(message):
    """A message in short: the names of calls, what a packaged text says, or the text."""
    if message.tool_calls:
        return tuple(each.name for each in message.tool_calls)
    try:
        packaged = json.loads(message.content)
    except (TypeError, ValueError):
        return message.content
    return packaged.get("message") or packaged.get("reason") or packaged.get("last_login")
