"""`/memory`: what an agent knows, how it came to know it, and the person's hand in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmgate.errors import RequestError
from llmgate.memory.core import USER

if TYPE_CHECKING:
    from llmgate.cli.agent.session import Session

_FIRST = 5
_WIDEST = 200


async def memory(session: Session, argument: str) -> None:
    """All of it, or what the words behind the command say of one block."""
    verb, _, rest = argument.partition(" ")
    label, _, text = rest.strip().partition(" ")
    match verb:
        case "":
            await _show(session)
        case "edit" if label:
            await _edit(session, label)
        case "set" if text:
            await session.agent.core.rewrite(label, text.strip(), by=USER)
            await _say_size(session, label)
        case "log" if label:
            await _log(session, label)
        case "diff" if label:
            await _diff(session, label)
        case "undo" if label:
            await session.agent.core.undo(label, by=USER)
            await _diff(session, label)
            await _say_size(session, label)
        case "edit" | "set" | "log" | "diff" | "undo":
            if verb == "set" and label:
                raise RequestError(
                    f"/memory set {label} needs a text.", hint=f"/memory edit {label} can empty it."
                )
            labels = ", ".join(session.agent.core.ids)
            raise RequestError(f"/memory {verb} needs a label.", hint=f"There are: {labels}.")
        case _:
            if argument in session.agent.core.ids:
                await _show_block(session, argument)
                return
            raise RequestError(
                f"/memory does not know {verb!r}.",
                hint="It knows edit, set, log, diff, undo, and the labels of blocks.",
            )


async def _show(session: Session) -> None:
    agent, display = session.agent, session.display
    for label in agent.core.ids:
        await _show_block(session, label)
    counts = await agent.recall.counts()
    said = ", ".join(f"{number} {role}" for role, number in counts.items() if number)
    display.answer("recall memory", style="bold")
    display.answer(f"  {sum(counts.values()):,} messages{f': {said}' if said else ''}")
    display.answer("archival memory", style="bold")
    size = await agent.archival.size()
    attached = ", ".join(agent.state.sources)
    sources = f", those of the attached sources included: {attached}" if attached else ""
    display.answer(f"  {size:,} {'passage' if size == 1 else 'passages'}{sources}")
    for passage in await agent.archival.first(_FIRST):
        text = " ".join(passage.text.split())
        display.answer(f"  - {text if len(text) <= _WIDEST else text[: _WIDEST - 1] + '…'}")


async def _show_block(session: Session, label: str) -> None:
    block = await session.agent.core.get(label)
    flags = [name for name, on in (("read-only", block.read_only), ("shared", block.shared)) if on]
    size = f"{len(block.value):,} of {block.limit:,} characters"
    session.display.answer(f"{label} ({', '.join([size, *flags])})", style="bold")
    for line in (block.value or "(empty)").splitlines():
        session.display.answer(f"  {line}")


async def _edit(session: Session, label: str) -> None:
    if session.editor is None:
        raise RequestError("nobody can edit here.", hint=f"/memory set {label} TEXT")
    block = await session.agent.core.get(label)
    session.display.line("Alt-Enter (or Esc Enter) keeps it, Ctrl-C leaves it as it was.")
    try:
        value = await session.editor.ask("", block.value, multiline=True)
    except (KeyboardInterrupt, EOFError):
        session.display.line("Left as it was.", style="dim")
        return
    if (await session.agent.core.get(label)).version != block.version:
        session.display.line(
            "It was changed meanwhile: /memory diff shows by what.", style="yellow"
        )
    await session.agent.core.rewrite(label, value, by=USER)
    await _say_size(session, label)


async def _log(session: Session, label: str) -> None:
    rows = []
    for edit in await session.agent.core.log(label):
        at = edit.at.astimezone().strftime("%Y-%m-%d %H:%M")
        change = f"{len(edit.before):,} → {len(edit.after):,} characters"
        kind = edit.kind if edit.undoes is None else f"undo of {edit.undoes}"
        rows.append((str(edit.number), at, edit.by, kind, change))
    session.display.table(("", "when", "by", "what", "size"), rows)


async def _diff(session: Session, label: str) -> None:
    text = await session.agent.core.diff(label)
    for line in text.splitlines() or ["(no difference)"]:
        style = {"+": "green", "-": "red"}.get(line[:1], "")
        session.display.answer(line, style=style, exact=True)


async def _say_size(session: Session, label: str) -> None:
    block = await session.agent.core.get(label)
    session.display.answer(
        f"{label} has {len(block.value):,} of {block.limit:,} characters. "
        "The agent is told before it answers next."
    )
