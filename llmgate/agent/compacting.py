"""Summarising the oldest part of the window, when it is asked for or when it has to be."""

from __future__ import annotations

import msgspec

from llmgate.agent.body import Body
from llmgate.agent.prompt import Parts
from llmgate.agent.watch import Watch
from llmgate.agent.window import Fitted
from llmgate.memory.conversation import Summary
from llmgate.types import ToolChoice


async def fit(body: Body, choice: ToolChoice, watch: Watch) -> Fitted:
    """The request to send now. A compaction that it takes is stored before this returns."""
    head = _Head(body)
    fitted = await body.fitter.fit(
        _parts(body, choice), head=head.text, compacting=watch.compacting
    )
    await _store(body, fitted, head)
    return fitted


async def compact(body: Body, watch: Watch) -> Summary | None:
    """Summarise the oldest part of the window now; None if there is too little in it."""
    head = _Head(body)
    fitted = await body.fitter.compact(
        _parts(body, ToolChoice("required")), head=head.text, compacting=watch.compacting
    )
    if fitted is None:
        return None
    for note in fitted.notes:
        watch.note(note)
    await _store(body, fitted, head)
    return fitted.summary


async def recompress(body: Body) -> Summary | None:
    """Make the summary anew from the raw log, as by another model; None if nothing came of it."""
    before = body.kept.summary
    if before is None:
        return None
    raw = await body.kept.conversation.messages(before.first, before.last)
    head = _Head(body)
    fitted = await body.fitter.again(_parts(body, ToolChoice("required")), raw, head=head.text)
    if fitted is None:
        return None
    await _store(body, fitted, head)
    return fitted.summary


class _Head:
    """The head of the core memory of now; `edits` are those that it shows, once it was made."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.edits: dict[str, int] | None = None

    async def text(self, room: int | None = None) -> str:
        text, self.edits = await self._body.head(room)
        return text


def _parts(body: Body, choice: ToolChoice) -> Parts:
    kept = body.kept
    return Parts(kept.name, body.model, kept.window, kept.logged, kept.summary, body.tools, choice)


async def _store(body: Body, fitted: Fitted, head: _Head) -> None:
    if fitted.compacted is None:
        return
    state = body.kept.state
    if head.edits is not None:
        state = msgspec.structs.replace(state, seen=head.edits, shown=head.edits)
    await body.kept.commit(state, window=fitted.compacted, summary=fitted.summary)
