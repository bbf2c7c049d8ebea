"""From an event to where the agent waits for the next one: asking, calling, going on.

Everything is stored before it is shown and before the model is asked again, in one transaction
for each of: the event; the answer, before any of its calls is made; the result of each call, with
the step and what comes next. An answer whose only call leaves no trace is stored with its result.
Wherever that is cut off, `chain` goes on from what is stored.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from llmgate.agent import calls, outside
from llmgate.agent.body import Body
from llmgate.agent.events import Event, Login, UserMessage, shown
from llmgate.agent.following import added
from llmgate.agent.speaking import is_prose, refused, spoken
from llmgate.agent.state import Pending
from llmgate.agent.steps import Step
from llmgate.agent.thinking import Thought, think
from llmgate.agent.watch import Watch
from llmgate.errors import OutputError
from llmgate.memory.text import storable
from llmgate.types import Message, Note


async def chain(body: Body, event: Event | None, watch: Watch) -> AsyncGenerator[Step, None]:
    """The steps that an event leads to; None goes on with what was interrupted."""
    kept = body.kept
    if kept.state.pending is not None and (event is None or kept.state.pending.phase != "think"):
        await _claim(body, kept.state.pending)
        async with aclosing(calls.made(body, watch)) as steps:
            async for step in steps:
                yield step
    if event is not None:
        await receive(body, event, answer=True)
    while kept.state.pending is not None:
        async with aclosing(_turn(body, watch, kept.state.pending)) as steps:
            async for step in steps:
                yield step


async def receive(body: Body, event: Event, *, answer: bool) -> None:
    """Store an event, behind what has changed from outside since the last one.

    With `answer` it waits for one from then on.
    """
    state, now = body.kept.state, body.kept.now()
    if isinstance(event, Login) and event.last_login is None and state.last_seen is not None:
        event = Login(shown(state.last_seen.astimezone(now.tzinfo)))
    if isinstance(event, UserMessage | Login):
        state = msgspec.structs.replace(state, last_seen=now)
    if answer:
        pending = Pending("think", event.kind, runner=body.home.runner)
        state = msgspec.structs.replace(state, pending=pending)
    changes = await outside.changes(body, state)
    alerts = [added(body, alert) for alert in changes.alerts]
    await body.kept.commit(changes.state, *alerts, added(body, event), window=changes.window)


async def _claim(body: Body, pending: Pending) -> None:
    """Say that this process goes on with what was interrupted: of two, one gets it."""
    pending = msgspec.structs.replace(pending, resumed=True, runner=body.home.runner)
    await body.kept.commit(msgspec.structs.replace(body.kept.state, pending=pending))


async def _turn(body: Body, watch: Watch, pending: Pending) -> AsyncGenerator[Step, None]:
    """One answer of the model, and all that it calls."""
    began = time.monotonic()
    watch.thinking(pending.event, pending.asked + 1)
    pending = msgspec.structs.replace(pending, asked=pending.asked + 1)
    try:
        thought = await think(body, watch)
    except OutputError as error:
        if is_prose(error.text):
            message = Message("assistant", error.text.strip())
            yield await spoken(body, watch, pending, message, began)
        else:
            yield await refused(body, watch, pending, str(error), error.text, began)
        return
    message, answered = thought.message, _answered(body, pending, thought)
    if not message.tool_calls:
        if (message.content or "").strip():
            yield await spoken(body, watch, answered, message, began)
        else:
            yield await refused(body, watch, pending, "it was empty.", "", began)
        return
    state = msgspec.structs.replace(body.kept.state, greeted=True, pending=answered)
    if calls.is_traceless(body, message):
        yield await calls.made_at_once(body, watch, state, answered, message, began)
        return
    await body.kept.commit(state, ("assistant", message))
    async with aclosing(calls.made(body, watch, began)) as steps:
        async for step in steps:
            yield step


def _answered(body: Body, pending: Pending, thought: Thought) -> Pending:
    """What is left to do when the model has answered."""
    message = thought.message
    return Pending(
        "call",
        pending.event,
        asked=pending.asked,
        calls=message.tool_calls,
        thoughts=message.content or None,
        reasoning=message.reasoning,
        usage=thought.completion.usage,
        notes=tuple(
            Note(note.code, storable(note.message)) for note in (*body.take_notes(), *thought.notes)
        ),
        next="pressure" if thought.pressure else None,
        resumed=pending.resumed,
        runner=pending.runner,
    )
