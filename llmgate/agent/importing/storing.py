"""An old agent → the store: its state, its core memory and its messages in one transaction."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from llmgate.agent import presets, prompt
from llmgate.agent.importing import documents, history, old
from llmgate.agent.importing.messages import Converted, converted
from llmgate.agent.state import AgentState
from llmgate.errors import ConfigError, Conflict, RequestError
from llmgate.memory import names
from llmgate.memory.conversation import Conversation, Window
from llmgate.memory.core import IMPORT, LIMIT, Core
from llmgate.memory.text import storable
from llmgate.storage import Transaction
from llmgate.storage.passages import Passage

if TYPE_CHECKING:
    from llmgate.agent.home import Home

_INDEX = Path("persistence_manager", "index")
_LOG = ".persistence.pickle"
_NODES = "nodes.pkl"
_BLOCKS = ("persona", "human")
# Passages that go into a store together.
_TOGETHER = 500


class Imported(msgspec.Struct, frozen=True):
    """What became of an old agent; `folder` is its name there.

    `again`: it had been imported before, and nothing was changed. `messages` counts those that
    were stored, `window` those of them that its model sees, `total` all that it once had.
    `passages` are those of its archival memory. `notes` say what is not as it was, `unread` what
    can't be read.
    """

    name: str
    folder: str
    again: bool = False
    messages: int = 0
    window: int = 0
    total: int | None = None
    blocks: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    passages: int = 0
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


class _Mark(msgspec.Struct, frozen=True):
    """What tells that an agent was imported, and from what."""

    digest: str
    folder: str


async def store(
    home: Home,
    folder: Path,
    *,
    name: str | None = None,
    preset: str | None = None,
    sources: Collection[str] = (),
) -> Imported:
    """Bring over the agent in that folder, under its own name or another.

    It keeps its system prompt and functions, or gets those of a `preset`. It may search what it
    could of the `sources` that are there. Raises `ConfigError` if the folder can't be read, and
    `RequestError` if there is another agent of that name.
    """
    agent = old.read(folder)
    chosen = names.check_name(name or agent.name)
    found = await home.records.get(_mark(chosen))
    if await home.records.get(names.state(chosen)) is not None:
        mark = None if found is None else msgspec.convert(found.value, _Mark)
        if mark is not None and mark.digest == agent.digest:
            return Imported(chosen, folder.name, again=True)
        what = "was imported from an earlier state" if mark else "is there already"
        raise RequestError(
            f"an agent {chosen!r} {what}.",
            hint=f"Import this one under another name: --agent {folder.name} --as NAME.",
            param="name",
        )
    merged = history.merged([state.messages for state in agent.states])
    said = converted(merged.messages, merged.window, agent.created_at or agent.state.at)
    state, notes = _state(home, agent, chosen, preset, sources)
    notes += [*agent.problems, *said.problems]
    if merged.gaps:
        notes.append(f"messages are missing in {merged.gaps} places between its saved states")
    if merged.taken_back:
        notes.append(f"{merged.taken_back} messages that it had taken back were left out")
    passages = _archive(agent, notes)
    # Passages first: where that is interrupted, the next time brings the same ones.
    if passages:
        await _put(home, f"agent/{chosen}", passages)
    blocks, grown = await _write(home, agent, state, said)
    notes += grown
    total = agent.state.total
    return Imported(
        chosen,
        folder.name,
        messages=len(said.messages),
        window=len(said.messages) - said.window,
        total=total,
        blocks=tuple(blocks),
        functions=state.functions,
        passages=len(passages or ()),
        notes=tuple(notes),
        unread=_unread(agent, len(merged.messages), passages is not None),
    )


async def store_source(home: Home, name: str, folder: Path) -> int | None:
    """Bring over a source whose passages are JSON; None where they are not.

    Passages that are there already stay as they are. Raises `ConfigError`.
    """
    texts = documents.read(folder)
    if texts is None:
        return None
    await _put(home, f"source/{name}", texts)
    return len(texts)


def _state(
    home: Home, agent: old.OldAgent, name: str, preset: str | None, sources: Collection[str]
) -> tuple[AgentState, list[str]]:
    """The state of the new agent, and what is not as it was."""
    user, known = home.settings.user_folder, home.functions
    notes = []
    system, functions = agent.state.system, agent.state.functions
    label = agent.preset
    if preset is not None or not system.strip() or not functions:
        made = presets.load(preset or home.settings.agent.preset, user, known)
        label = made.name
        if preset is not None or not system.strip():
            system = made.text
        if preset is not None or not functions:
            functions = made.functions
        if preset is None:
            notes.append(f"what it lacked of system prompt and functions is that of {label}")
    functions = tuple(dict.fromkeys(functions))
    notes += [
        f"its function {function!r} is not there: it goes without until `functions/` has it"
        for function in functions
        if function not in known
    ]
    model = agent.state.model
    if model is not None and model not in home.settings.models:
        notes.append(f"its model {model!r} is not configured: it thinks with the configured one")
        model = None
    notes += [
        f"its source {source!r} is not there: load it, then `llmgate attach`"
        for source in agent.sources
        if source not in sources
    ]
    now = home.now()
    return AgentState(
        name,
        agent.created_at or now,
        storable(system.strip()),
        functions,
        {},
        preset=label,
        persona=agent.persona,
        human=agent.human,
        model=model,
        sources=tuple(source for source in dict.fromkeys(agent.sources) if source in sources),
        used_at=now,
    ), notes


async def _write(
    home: Home, agent: old.OldAgent, state: AgentState, said: Converted
) -> tuple[list[str], list[str]]:
    """Store all of it, or nothing. The labels of its blocks, and which had to grow."""
    core = Core(home.records, {}, by=IMPORT, clock=home.now)
    conversation = Conversation(home.records, state.name, clock=home.now)
    memory, grown = _blocks(agent.state.memory)
    try:
        async with home.records.transaction() as tx:
            if await tx.get(names.state(state.name)) is not None:
                raise _taken(state.name)
            made = [
                await core.create(label, text, max(LIMIT, len(text)), tx=tx)
                for label, text in memory.items()
            ]
            head = prompt.head(
                state.system,
                made,
                layout=home.settings.agent.layout,
                counts=prompt.Counts(len(said.messages)),
                now=home.now(),
            )
            start = await _append(conversation, tx, said)
            conversation.put_window(tx, Window(head, start))
            heard = [at for kind, at, _ in said.messages if kind == "event:user_message"]
            tx.put(
                names.state(state.name),
                msgspec.to_builtins(
                    msgspec.structs.replace(
                        state,
                        blocks=core.ids,
                        seen=dict.fromkeys(core.ids, 1),
                        shown=dict.fromkeys(core.ids, 1),
                        greeted=any(kind == "assistant" for kind, _, _ in said.messages),
                        last_seen=heard[-1] if heard else None,
                    )
                ),
            )
            tx.put(_mark(state.name), msgspec.to_builtins(_Mark(agent.digest, str(agent.folder))))
    except Conflict as error:
        raise _taken(state.name) from error
    return list(memory), grown


async def _append(conversation: Conversation, tx: Transaction, said: Converted) -> int:
    """Add the messages with their times, and return the position where the window begins."""
    positions: list[int] = []
    for at, group in groupby(said.messages, lambda each: each[1]):
        batch = [(kind, message) for kind, _, message in group]
        positions += [each.position for each in await conversation.append(tx, *batch, at=at)]
    if said.window < len(positions):
        return positions[said.window]
    return positions[-1] + 1 if positions else 1


def _blocks(memory: dict[str, Any]) -> tuple[dict[str, str], list[str]]:
    """The texts of core memory by label, and what had to be changed."""
    blocks = dict.fromkeys(_BLOCKS, "")
    notes = []
    for label, text in memory.items():
        if text is not None and not isinstance(text, str):
            notes.append(f"{label!r} in its memory is no text: left out")
            continue
        try:
            names.check_name(label, "block")
        except RequestError as error:
            notes.append(f"{error.message[:-1]}: left out")
            continue
        blocks[label] = storable(text or "")
        if len(blocks[label]) > LIMIT:
            notes.append(f"its block {label!r} may have {len(blocks[label])} characters, as it has")
    return blocks, notes


def _archive(agent: old.OldAgent, notes: list[str]) -> tuple[str, ...] | None:
    """The passages of its archival memory, None where they are not there as JSON."""
    try:
        return documents.read(agent.folder / _INDEX)
    except ConfigError as error:
        notes.append(str(error))
        return None


async def _put(home: Home, collection: str, texts: tuple[str, ...]) -> None:
    async with await home.open_collection(collection) as passages:
        for place in range(0, len(texts), _TOGETHER):
            await passages.insert_many(
                Passage(storable(text)) for text in texts[place : place + _TOGETHER]
            )


def _unread(agent: old.OldAgent, messages: int, has_archive: bool) -> tuple[str, ...]:
    """What is only in pickles, in sentences."""
    found = []
    logs = [path for path in agent.pickles if path.name.endswith(_LOG)]
    archives = [path for path in agent.pickles if path.name == _NODES]
    if logs:
        total = agent.state.total
        if total is None:
            what = "its messages that no saved state has"
        elif total > messages:
            what = f"{total - messages} of its {total} messages, which no saved state has"
        else:
            what = "no message that was not read elsewhere, as far as its count of them tells"
        found.append(f"{_shown(agent, logs)}: {what}")
    if archives:
        what = "its archival memory" + (", read from JSON beside it" if has_archive else "")
        found.append(f"{_shown(agent, archives)}: {what}")
    others = [path for path in agent.pickles if path not in (*logs, *archives)]
    found += [f"{_shown(agent, [path])}: nobody knows what" for path in others]
    return tuple(found)


def _shown(agent: old.OldAgent, paths: list[Path]) -> str:
    more = f" and {len(paths) - 1} more like it" if len(paths) > 1 else ""
    return f"{paths[-1].relative_to(agent.folder)}{more}"


def _taken(name: str) -> RequestError:
    return RequestError(
        f"an agent {name!r} was made meanwhile.", hint="Import this one under another name."
    )


def _mark(name: str) -> str:
    return names.system(f"import/{name}")
