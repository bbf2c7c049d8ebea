"""Edits of an agent's core memory: its own, which it knows of, and those from outside."""

from __future__ import annotations

import asyncio

import msgspec

from llmgate.agent.body import Body
from llmgate.agent.events import Alert
from llmgate.agent.state import AgentState
from llmgate.memory import names
from llmgate.memory.conversation import Window
from llmgate.memory.history import Edit


class Changes(msgspec.Struct, frozen=True):
    """What follows from edits: the state that knows them, and how the model is told.

    In the layout `cached` it is told by alerts, in the layout `memgpt` by a window with a new head.
    """

    state: AgentState
    alerts: tuple[Alert, ...] = ()
    window: Window | None = None


async def changes(body: Body, state: AgentState) -> Changes:
    """All edits that the model does not know of."""
    seen, alerts = dict(state.seen), []
    for label, edits in (await _unseen(body, state)).items():
        seen[label] = edits[-1].number
        alerts.append(_alert(label, edits[-1].by, edits[-1].after))
    if gone := [label for label in seen if label not in state.blocks]:
        for label in gone:
            del seen[label]
        alerts.append(Alert(f"These blocks are no longer in your core memory: {', '.join(gone)}."))
    if not alerts:
        return Changes(state)
    return await _told(body, msgspec.structs.replace(state, seen=seen), tuple(alerts))


async def own_changes(body: Body, state: AgentState, call: str) -> Changes:
    """The edits that a call of the agent's own has just made, which its result tells.

    One that came from outside before them, or between them, is left to be told of.
    """
    seen = dict(state.seen)
    for label, edits in (await _unseen(body, state)).items():
        for edit in edits:
            if edit.call != call:
                break
            seen[label] = edit.number
    if seen == state.seen:
        return Changes(state)
    return await _told(body, msgspec.structs.replace(state, seen=seen), ())


async def _told(body: Body, state: AgentState, alerts: tuple[Alert, ...]) -> Changes:
    if body.settings.layout == "cached":
        return Changes(state, alerts)
    head, seen = await body.head()
    window = msgspec.structs.replace(body.kept.window, head=head)
    return Changes(msgspec.structs.replace(state, seen=seen, shown=seen), window=window)


async def _unseen(body: Body, state: AgentState) -> dict[str, list[Edit]]:
    """The edits behind those that the model knows of, by the labels of their blocks."""
    logs = await asyncio.gather(
        *(
            body.home.records.read(names.history(block), after=state.seen.get(label, 0))
            for label, block in state.blocks.items()
        )
    )
    return {
        label: [msgspec.convert({**each.value, "number": each.position}, Edit) for each in entries]
        for label, entries in zip(state.blocks, logs, strict=True)
        if entries
    }


def _alert(label: str, by: str, text: str) -> Alert:
    return Alert(
        f"Your core memory was changed from outside, by {by}. "
        f"The block {label!r} now reads:\n{text}"
    )
