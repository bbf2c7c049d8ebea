"""One answer of the model: a prompt that fits, and what was written to it."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Sequence
from contextlib import aclosing

import msgspec

from llmgate.agent import first_message
from llmgate.agent.body import Body
from llmgate.agent.compacting import fit
from llmgate.agent.watch import Watch
from llmgate.errors import ContextOverflow, OutputError
from llmgate.memory.text import storable_message
from llmgate.types import Completion, Delta, Message, Note, Request, ToolChoice

# Some templates take ids of exactly nine letters and digits, and none minds them.
_ID = string.ascii_letters + string.digits
_ID_LENGTH = 9
_CUT = Note("truncated", "the answer is cut off by the token limit")
# An escape in JSON: two halves that make a character, half of one, or any other.
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
# Functions that do something useful even with the first part of what they were to get.
_WHOLE_OR_PART = ("send_message",)
# How much of an error is told.
_QUOTED = 300


class Thought(msgspec.Struct, frozen=True):
    """An answer, as it is to be kept. `pressure`: the window is nearly full."""

    message: Message
    completion: Completion
    pressure: bool
    notes: tuple[Note, ...]


async def think(body: Body, watch: Watch) -> Thought:
    """Ask the model about what has happened.

    What does not fit its window any more is summarised first. Raises `OutputError` for an answer
    that can't be used, `ContextOverflow` where nothing is left to leave out, `BackendError`.
    """
    if not body.settings.first_message or body.kept.state.greeted:
        return await _thought(body, watch, ())
    allowed = tuple(name for name in first_message.FUNCTIONS if name in body.functions)
    wrong, again = "", allowed
    try:
        thought = await _thought(body, watch, allowed)
    except OutputError as error:
        # It is not held to what is allowed, and wants something else: then let it.
        wrong, again = f"it could not be used ({str(error)[:_QUOTED].rstrip('.')})", ()
    else:
        if (found := first_message.problem(thought.message)) is None:
            return thought
        wrong = found
    asked_again = Note("first_message", f"the first answer was asked for once more: {wrong}")
    watch.note(asked_again)
    if (pending := body.kept.state.pending) is not None:
        watch.thinking(pending.event, pending.asked + 1)
    thought = await _thought(body, watch, again)
    notes = (*thought.notes, asked_again)
    if (found := first_message.problem(thought.message)) is not None:
        taken = Note("first_message", f"the first answer is taken as it is, though {found}")
        watch.note(taken)
        notes = (*notes, taken)
    return msgspec.structs.replace(thought, notes=notes)


async def _thought(body: Body, watch: Watch, allowed: Sequence[str]) -> Thought:
    while True:
        fitted = await fit(body, ToolChoice("required", allowed=tuple(allowed)), watch)
        for note in fitted.notes:
            watch.note(note)
        try:
            completion = await _asked(body, fitted.request, watch)
        except ContextOverflow:
            # The server counts more than was thought.
            if not body.fitter.refused():
                raise
            continue
        body.fitter.used(fitted, completion.usage)
        notes = (*fitted.notes, *completion.notes)
        if completion.finish == "length" and _CUT.code not in [note.code for note in notes]:
            notes = (*notes, _CUT)
        return Thought(_kept_as(completion), completion, fitted.pressure, notes)


async def _asked(body: Body, request: Request, watch: Watch) -> Completion:
    deltas: list[Delta] = []
    gateway = body.home.gateway
    # Mending is done here: the gateway's own would send more than was made to fit.
    stream = gateway.stream(request, lambda *each: body.exchanges.append(each), correct=False)
    async with aclosing(stream) as answer:
        async for delta in answer:
            deltas.append(delta)
            watch.delta(delta)
    return Completion.fold(deltas)


def _kept_as(completion: Completion) -> Message:
    """The answer with calls whose ids never come again, and with text that every store takes."""
    message = completion.message
    *whole, last = message.tool_calls or (None,)
    calls = [each for each in whole if each is not None]
    if last is not None:
        cut = completion.finish == "length" and last.name not in _WHOLE_OR_PART
        if cut and last.error is None:
            last = msgspec.structs.replace(
                last, error="the answer was cut off at its greatest length: write less at a time"
            )
        calls.append(last)
    named = tuple(
        msgspec.structs.replace(call, id=_new_id(), arguments=whole_characters(call.arguments))
        for call in calls
    )
    return storable_message(msgspec.structs.replace(message, tool_calls=named))


def whole_characters(arguments: str) -> str:
    """The arguments without escapes that stand for half a character: no prompt can have those.

    They may be broken JSON, which is mended each time it is shown to the model.
    """
    return _ESCAPE.sub(lambda found: "\\ufffd" if found["half"] else found[0], arguments)


def _new_id() -> str:
    return "".join(secrets.choice(_ID) for _ in range(_ID_LENGTH))
