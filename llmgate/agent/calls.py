"""The calls of an answer, made one after the other; each result is stored before the next."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

import msgspec

from llmgate.agent import outside
from llmgate.agent.acting import Outcome, act, end_of_pause, interrupted
from llmgate.agent.body import Body
from llmgate.agent.events import package_result
from llmgate.agent.following import first, go_on, step_of
from llmgate.agent.kept import Added
from llmgate.agent.state import AgentState, Pending
from llmgate.agent.steps import Next, Step
from llmgate.agent.watch import Watch
from llmgate.types import Message, Note

# Functions that leave nothing behind but their result: with them nothing can be half done.
TRACELESS = frozenset(
    (
        "send_message",
        "pause_heartbeats",
        "conversation_search",
        "conversation_search_date",
        "archival_memory_search",
    )
)


async def made(body: Body, watch: Watch, began: float | None = None) -> AsyncGenerator[Step, None]:
    """Make the calls that are left, as they are stored."""
    kept = body.kept
    while (pending := kept.state.pending) is not None and pending.phase != "think":
        start = time.monotonic() if began is None else began
        began = None

        async def started(pending: Pending = pending) -> None:
            running = msgspec.structs.replace(pending, phase="running")
            await kept.commit(msgspec.structs.replace(kept.state, pending=running))

        if pending.phase == "running":
            outcome = interrupted(pending.calls[0])
        else:
            outcome = await act(body, pending.calls[0], watch, started=started)
        yield await _did(body, watch, kept.state, pending, outcome, start)


async def made_at_once(
    body: Body, watch: Watch, state: AgentState, pending: Pending, answer: Message, began: float
) -> Step:
    """Make the only call of an answer, and store both together: it leaves no trace but these."""
    outcome = await act(body, pending.calls[0], watch, started=_unexpected)
    return await _did(body, watch, state, pending, outcome, began, ("assistant", answer))


def is_traceless(body: Body, message: Message) -> bool:
    """Whether an answer can be lost before it is stored, as if it had never been given."""
    names = [call.name for call in message.tool_calls]
    # Somebody's own function of that name may leave anything.
    return len(names) == 1 and all(
        name in TRACELESS and name in body.functions and not body.functions[name].source
        for name in names
    )


async def _did(
    body: Body,
    watch: Watch,
    state: AgentState,
    pending: Pending,
    outcome: Outcome,
    began: float,
    *before: Added,
) -> Step:
    """Store what came of the first call that is left, behind what is to be stored before it."""
    call, notes = pending.calls[0], outcome.notes
    if outcome.pause is not None:
        until = end_of_pause(body.kept.now(), outcome.pause)
        state = msgspec.structs.replace(state, paused_until=until)
    reason: Next | None = None
    if not outcome.ok:
        reason = "failed"
    elif outcome.heartbeat:
        reason = "heartbeat"
    elif outcome.data:
        reason = "data"
        said = f"{call.name} was called for its result: a heartbeat was added"
        notes = (*notes, Note("heartbeat", said))
    pending = msgspec.structs.replace(
        pending, notes=(*pending.notes, *notes), next=first(pending.next, reason)
    )
    step = msgspec.structs.replace(
        step_of(body, pending, began),
        call=call,
        ok=outcome.ok,
        result=outcome.message,
        said=outcome.said,
    )
    packaged = package_result(outcome.ok, outcome.message, body.kept.now())
    result = ("result", Message("tool", packaged, tool_call_id=call.id, name=call.name))
    changed = outside.Changes(state)
    if not before:
        changed = await outside.own_changes(body, state, call.id)
    step = await go_on(body, changed.state, pending, step, *before, result, window=changed.window)
    # What could not be stored is not shown.
    if outcome.said is not None:
        watch.said(outcome.said)
    for note in notes:
        watch.note(note)
    return step


async def _unexpected() -> None:
    raise AssertionError("a function that leaves a trace was taken for one that does not")
