"""Commands that look at what is behind the conversation: messages, prompts, the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from llmgate.agent.explaining import explain, spelled_out
from llmgate.cli.agent.display import call_text
from llmgate.cli.agent.turn import cached_share
from llmgate.errors import RequestError

if TYPE_CHECKING:
    from llmgate.cli.agent.session import Session
    from llmgate.memory.conversation import Logged

_TURNS = 200


async def dump(session: Session, argument: str) -> None:
    """The last messages, numbered from the end."""
    logged = await _messages(session, argument)
    for number, entry in zip(range(len(logged), 0, -1), logged, strict=True):
        at = entry.at.astimezone().strftime("%H:%M:%S")
        session.display.answer(f"[{number}] {entry.kind} {at}", style="bold")
        message = entry.message
        if message.reasoning:
            session.display.answer(f"  (reasoning) {message.reasoning}")
        if message.content:
            session.display.answer(f"  {message.content}")
        for call in message.tool_calls:
            session.display.answer(f"  {session.display.marks.calls}{call_text(call)}")
    if not logged:
        session.display.answer("There are no messages.")


async def dump_raw(session: Session, argument: str) -> None:
    """The last messages as JSON, one a line."""
    for entry in await _messages(session, argument):
        session.display.answer(msgspec.json.encode(entry).decode(), exact=True)


async def raw(session: Session, _: str) -> None:
    """What the model was sent last, and what came back."""
    if not (exchanges := session.agent.exchanges):
        session.display.answer("The model was not asked yet in this session.")
        return
    prompt, text = exchanges[-1]
    for title, part in (
        ("prompt", prompt.text),
        ("grammar", prompt.grammar or "(none: any text is allowed)"),
        ("raw output", text),
    ):
        session.display.answer(f"--- {title}", style="bold")
        session.display.answer(part, exact=True)


async def cache(session: Session, _: str) -> None:
    """How much of each step's prompt was cached, and why the last one was not."""
    steps = [step for step in await session.agent.steps(_TURNS) if step.usage.prompt]
    if not steps:
        session.display.answer("The model was not asked yet.")
        return
    rows = []
    for step in steps[-20:]:
        known = step.usage.cached is not None
        rows.append(
            (
                str(step.number),
                step.event or "",
                f"{step.usage.prompt:,}",
                f"{step.usage.cached:,}" if step.usage.cached is not None else "?",
                f"{cached_share(step.usage):.0f} %" if known else "?",
            )
        )
    session.display.table(("step", "event", "prompt", "cached", "share"), rows)
    prompt = sum(step.usage.prompt for step in steps if step.usage.cached is not None)
    cached = sum(step.usage.cached or 0 for step in steps)
    if prompt:
        session.display.answer(f"{100 * cached / prompt:.1f} % of {prompt:,} tokens were cached.")
    else:
        session.display.answer("The model's server does not say what it had cached.")
    if len(exchanges := session.agent.exchanges) > 1:
        session.display.answer("The last prompt, and the one before:", style="bold")
        before, after, places = spelled_out(exchanges[-2][0].text, exchanges[-1][0].text)
        for line in explain(before, after, places=places).lines():
            session.display.answer(f"  {line}")


async def _messages(session: Session, argument: str) -> tuple[Logged, ...]:
    """The messages in the window, or the last ones of all."""
    conversation = session.agent.conversation
    if not argument:
        _, logged, _ = await conversation.load()
        return logged
    if not argument.isdecimal() or not int(argument):
        raise RequestError(f"{argument!r} is no number of messages.")
    count, end = int(argument), await conversation.end()
    # What was taken back or said otherwise later stands in the log too.
    looked_at = 2 * count
    while True:
        first = max(1, end - looked_at + 1)
        logged = await conversation.messages(first, end)
        if len(logged) >= count or first == 1:
            return logged[-count:]
        looked_at *= 4
