"""Taking back what was said, or saying it otherwise. The log keeps what there was."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import msgspec

from llmgate.agent.body import Body
from llmgate.agent.events import UserMessage
from llmgate.agent.state import Pending
from llmgate.errors import RequestError
from llmgate.memory.conversation import Logged
from llmgate.memory.text import SAY, spoken
from llmgate.types import Message

_USER = f"event:{UserMessage.kind}"


async def pop(body: Body, count: int) -> int:
    """Take the last messages back; more of them, where a call would be left without its result.

    The messages that the agent came with stay. Returns how many were taken back.
    """
    logged = body.kept.logged
    least = sum(each.kind == "boot" for each in logged)
    keep = max(least, len(logged) - max(count, 0))
    while keep > least and _open(logged[:keep]):
        keep -= 1
    return await _cut(body, keep)


async def undo(body: Body) -> str | None:
    """Take back all from the last message of a person on, and return what it said."""
    place = _last_question(body)
    if place is None:
        return None
    text = spoken(_USER, body.kept.logged[place].message)
    await _cut(body, place)
    return text


async def back_to_question(body: Body) -> None:
    """Take back all behind the last message of a person, which waits for an answer then.

    Raises `RequestError` if there is none in the window.
    """
    place = _last_question(body)
    if place is None:
        raise RequestError("nobody has said anything yet that could be answered again.")
    await _cut(body, place + 1, Pending("think", UserMessage.kind))


async def rethink(body: Body, thoughts: str) -> None:
    """Put other thoughts beside the last call. Raises `RequestError` if there is none."""
    logged = _last_answer(body, lambda message: bool(message.tool_calls))
    await _amend(body, logged, msgspec.structs.replace(logged.message, content=thoughts))


async def rewrite(body: Body, text: str) -> None:
    """Put other words in the place of the last said. Raises `RequestError` if there are none."""
    logged = _last_answer(
        body, lambda message: not message.tool_calls or _says(message) is not None
    )
    message = logged.message
    number = _says(message)
    if number is None:
        await _amend(body, logged, msgspec.structs.replace(message, content=text))
        return
    calls = list(message.tool_calls)
    arguments = {**_read(calls[number].arguments), "message": text}
    written = json.dumps(arguments, ensure_ascii=False)
    calls[number] = msgspec.structs.replace(calls[number], arguments=written, error=None)
    await _amend(body, logged, msgspec.structs.replace(message, tool_calls=tuple(calls)))


async def _cut(body: Body, keep: int, pending: Pending | None = None) -> int:
    """Retract the messages of the window from that place on, and what was to be done with them."""
    kept = body.kept
    gone = tuple(each.position for each in kept.logged[keep:])
    if not gone and pending == kept.state.pending:
        return 0
    # What told of edits may be gone with them: all that the head does not show is told again.
    seen = kept.state.shown if gone else kept.state.seen
    state = msgspec.structs.replace(kept.state, pending=pending, seen=seen)
    await kept.commit(state, retracted=gone)
    await kept.load()
    return len(gone)


async def _amend(body: Body, logged: Logged, message: Message) -> None:
    await body.kept.commit(body.kept.state, amended=((logged.position, message),))
    await body.kept.load()


def _last_question(body: Body) -> int | None:
    logged = body.kept.logged
    places = (place for place in reversed(range(len(logged))) if logged[place].kind == _USER)
    return next(places, None)


def _last_answer(body: Body, wanted: Callable[[Message], bool]) -> Logged:
    for logged in reversed(body.kept.logged):
        if logged.message.role == "assistant" and logged.kind != "boot" and wanted(logged.message):
            return logged
    raise RequestError("the agent has not said anything yet that could be put otherwise.")


def _says(message: Message) -> int | None:
    """Which of the calls speaks to a person, the last of them."""
    numbers = (number for number, call in enumerate(message.tool_calls) if call.name == SAY)
    return max(numbers, default=None)


def _read(arguments: str) -> dict[str, object]:
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _open(logged: Sequence[Logged]) -> bool:
    """Whether a call has no result yet."""
    waiting: set[str] = set()
    for each in logged:
        if each.message.tool_calls:
            waiting = {call.id for call in each.message.tool_calls}
        elif each.message.tool_call_id is not None:
            waiting.discard(each.message.tool_call_id)
    return bool(waiting)
