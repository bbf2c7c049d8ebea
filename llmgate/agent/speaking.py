"""Answers that call nothing: text for a person, or nothing that can be used."""

from __future__ import annotations

import msgspec

from llmgate.agent.body import Body
from llmgate.agent.events import Alert
from llmgate.agent.following import first, go_on, step_of
from llmgate.agent.state import Pending
from llmgate.agent.steps import Step
from llmgate.agent.watch import Watch
from llmgate.memory.text import storable, storable_message
from llmgate.types import Message, Note

_NO_CALL = Note("no_call", "the model called no function: its text is taken for the person")
# What calls are written with.
_CODE = frozenset("{}[]<>`")
# How much of an error, or of what the model wrote, is told again.
_QUOTED = 500


async def spoken(
    body: Body, watch: Watch, pending: Pending, message: Message, began: float
) -> Step:
    """Take an answer without a call for what the person should read.

    A model that can't be held to calls, or won't be, is better heard than asked again.
    """
    message = storable_message(message)
    text = (message.content or "").strip()
    pending = msgspec.structs.replace(
        pending, thoughts=None, notes=(*pending.notes, _NO_CALL), calls=()
    )
    step = msgspec.structs.replace(step_of(body, pending, began), said=text)
    state = msgspec.structs.replace(body.kept.state, greeted=True)
    step = await go_on(body, state, pending, step, ("assistant", message))
    watch.said(text)
    return step


async def refused(
    body: Body, watch: Watch, pending: Pending, why: str, text: str, began: float
) -> Step:
    """Tell the model that its answer can't be used, unless it was told so often enough."""
    why = storable(f"The answer could not be used: {why[:_QUOTED]}")
    notes = body.take_notes()
    if text:
        notes = (*notes, Note("refused", storable(f"it wrote: {text[:_QUOTED]!r}")))
    watch.note(Note("refused", why))
    times = pending.refused + 1
    pending = msgspec.structs.replace(pending, refused=times, notes=notes)
    step = msgspec.structs.replace(step_of(body, pending, began), ok=False, result=why)
    if times > body.settings.retries:
        stopped = f"{times} answers in a row could not be used"
        step = msgspec.structs.replace(step, next="failed", stopped=stopped)
        pending = msgspec.structs.replace(pending, next=None)
        return await go_on(body, body.kept.state, pending, step)
    pending = msgspec.structs.replace(pending, next=first(pending.next, "failed"))
    alert = Alert(f"{why} Answer with one call of one of your functions.")
    return await go_on(body, body.kept.state, pending, step, alert=alert)


def is_prose(text: str) -> bool:
    """Whether it was written for a person, and is no call that went wrong."""
    return bool(text.strip()) and not set(text) & _CODE
