"""One call of a function: what it is given, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from llmgate.agent.context import Context
from llmgate.agent.functions.calling import call as run_function
from llmgate.agent.functions.calling import no_such_function
from llmgate.agent.functions.spec import HEARTBEAT, THOUGHTS
from llmgate.agent.watch import Watch
from llmgate.types import Message, Note, Request, Sampling, ToolCall

if TYPE_CHECKING:
    from llmgate.agent.body import Body

# The longest that timed heartbeats can be paused for, in minutes.
LONGEST_PAUSE = 360
# What may stand for true where a model forgets that it is no text.
_TRUE = ("true", "yes", "1")


class Outcome(msgspec.Struct, frozen=True):
    """What came of a call. `heartbeat`: the model asked to go on after it.

    `data`: it was called for its result. `pause` is for how many minutes it stops heartbeats.
    """

    ok: bool
    message: str
    said: str | None = None
    heartbeat: bool = False
    data: bool = False
    pause: int | None = None
    notes: tuple[Note, ...] = ()


async def act(
    body: Body, call: ToolCall, watch: Watch, *, started: Callable[[], Awaitable[None]]
) -> Outcome:
    """Make a call, and say what came of it; nothing that the model wrote raises.

    `started` is awaited right before a function that can't simply be run again.
    """
    if call.error is not None:
        return Outcome(False, f"Error: the call of {call.name} can't be read: {call.error}.")
    arguments, heartbeat = _read(call.arguments)
    function = body.functions.get(call.name)
    if function is None:
        missing = no_such_function(call.name, body.functions)
        return Outcome(missing.ok, missing.message, notes=missing.notes)
    said: list[str] = []
    pauses: list[int] = []

    async def begun() -> None:
        watch.calling(call)
        if not function.replayable:
            await started()

    context = Context(
        name=body.kept.name,
        core=body.core,
        recall=body.recall,
        archival=body.archival,
        call=call.id,
        now=body.kept.now,
        say=said.append,
        pause=pauses.append,
        ask=lambda model, message: _ask(body, model, message),
        files=body.files,
        web=body.web,
    )
    result = await run_function(
        function,
        arguments,
        context,
        approvals=body.approvals,
        approver=watch.approver,
        started=begun,
    )
    return Outcome(
        result.ok,
        result.message,
        said="\n".join(said) if said else None,
        heartbeat=heartbeat,
        data=function.returns_data,
        pause=pauses[-1] if pauses else None,
        notes=(*result.notes, *body.archival.take_notes()),
    )


def interrupted(call: ToolCall) -> Outcome:
    """What is said of a call that was begun when the program ended, and can't be made again."""
    return Outcome(
        False,
        f"The program was interrupted while {call.name} ran: it may or may not have happened. "
        "Find out before you call it again.",
        notes=(Note("interrupted", f"{call.name} was interrupted, and was not run again"),),
    )


def end_of_pause(now: datetime, minutes: int) -> datetime:
    """Until when there are no timed heartbeats, if a pause begins now."""
    return now + timedelta(minutes=max(0, min(LONGEST_PAUSE, minutes)))


def truth(value: Any) -> bool:
    """Whether the model means true, which small ones write as a text or a number."""
    if isinstance(value, str):
        return value.strip().lower() in _TRUE
    return value is True or (isinstance(value, int | float) and value == 1)


def _read(text: str) -> tuple[dict[str, Any] | str, bool]:
    """The arguments for the function, and whether a heartbeat was asked for beside them.

    What is no JSON object is left as it is, for the function to refuse.
    """
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text, False
    if not isinstance(arguments, dict):
        return text, False
    arguments.pop(THOUGHTS, None)
    return arguments, truth(arguments.pop(HEARTBEAT, False))


async def _ask(body: Body, model: str | None, message: str) -> str:
    """The answer of another configured model to a message. Raises `LlmgateError`.

    Of the first other one if none is named, or of the agent's own if it is the only one.
    """
    models = body.home.settings.models
    others = (name for name, each in models.items() if name != body.model and not each.embedding)
    request = Request(
        model=model or next(others, body.model),
        messages=(Message("user", message),),
        sampling=Sampling(max_tokens=body.settings.reply_tokens),
    )
    completion = await body.home.gateway.complete(request)
    return completion.message.content or ""
