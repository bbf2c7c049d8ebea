"""What comes after a step: a further call of the same answer, an event, or a wait for one."""

from __future__ import annotations

import re
import time

import msgspec

from llmgate.agent.body import Body
from llmgate.agent.events import Alert, Event, Heartbeat, UserMessage
from llmgate.agent.kept import Added
from llmgate.agent.state import AgentState, Pending
from llmgate.agent.steps import Next, Step
from llmgate.memory.conversation import Window
from llmgate.types import Message

# Which reason to go on is told, where there are several: the first of them.
_PRECEDENCE: tuple[Next, ...] = ("pressure", "failed", "heartbeat", "data")
PRESSURE = (
    "The conversation is about to outgrow what you can see: soon its oldest part will be replaced "
    "by a summary. Save what you must not forget in your core memory or in archival memory now, "
    "and tell the user nothing of this."
)
_REASONS = {
    "failed": "Your last call failed. Read why, and mend it or do something else.",
    "heartbeat": "You asked for a heartbeat: go on.",
    "data": "Your last call returned what you asked for: go on from there.",
}
# Names that servers take beside a message.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


async def go_on(
    body: Body,
    state: AgentState,
    pending: Pending,
    step: Step,
    *messages: Added,
    window: Window | None = None,
    alert: Alert | None = None,
) -> Step:
    """Store a step with its messages and what comes next, all together; returns it with that.

    `pending` is what was to be done, from the call that was made now on. `alert` is told in place
    of the usual event of the reason that it has to go on.
    """
    reason = pending.next
    left: Pending | None = None
    if pending.calls[1:]:
        left = Pending(
            "call",
            asked=pending.asked,
            calls=pending.calls[1:],
            next=reason,
            resumed=pending.resumed,
            runner=pending.runner,
        )
    elif reason is not None and pending.asked >= body.settings.chain_limit:
        stopped = f"the chain limit of {body.settings.chain_limit} model calls is reached"
        step = msgspec.structs.replace(step, next=reason, stopped=stopped)
    elif reason is not None:
        step = msgspec.structs.replace(step, next=reason)
        event = alert or (Alert(PRESSURE) if reason == "pressure" else Heartbeat(_REASONS[reason]))
        if reason == "pressure":
            window = msgspec.structs.replace(window or body.kept.window, alerted=True)
        messages = (*messages, added(body, event))
        left = Pending(
            "think",
            event.kind,
            asked=pending.asked,
            refused=pending.refused,
            runner=pending.runner,
        )
    state = msgspec.structs.replace(state, steps=step.number, pending=left)
    prompts = body.prompts() if left is None else None
    await body.kept.commit(state, *messages, step=step, window=window, prompts=prompts)
    return step


def step_of(body: Body, pending: Pending, began: float) -> Step:
    """The step that is being made, as far as it is known."""
    return Step(
        body.kept.state.steps + 1,
        body.kept.now(),
        event=pending.event,
        thoughts=pending.thoughts,
        reasoning=pending.reasoning,
        usage=pending.usage,
        notes=pending.notes,
        seconds=round(time.monotonic() - began, 6),
        resumed=pending.resumed,
    )


def added(body: Body, event: Event) -> Added:
    """An event as a message of the conversation; a name that servers take is told them too."""
    name = event.name if isinstance(event, UserMessage) else None
    name = name if name is not None and _NAME.fullmatch(name) else None
    return f"event:{event.kind}", Message("user", event.packaged(body.kept.now()), name=name)


def first(*reasons: Next | None) -> Next | None:
    """The reason that goes before the others."""
    return next((reason for reason in _PRECEDENCE if reason in reasons), None)
