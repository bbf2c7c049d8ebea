"""What there is: agents, texts that agents are made of, sources and functions, for lists of them.

What can't be used is listed too, with its problem: a list is where people look for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from llmgate import resources
from llmgate.agent import presets
from llmgate.agent.functions.patterns import Pattern
from llmgate.agent.functions.spec import Function, Rule
from llmgate.agent.kept import state_of
from llmgate.errors import ConfigError, LlmgateError
from llmgate.memory import names
from llmgate.memory.agents import agents as agent_names
from llmgate.storage import Records
from llmgate.storage.passages import VectorStore

# Where a text is from that comes with llmgate, in place of its path.
SHIPPED = "llmgate"
_STRICT: tuple[Rule, ...] = ("allow", "ask", "deny")


class AgentEntry(msgspec.Struct, frozen=True):
    """An agent. `messages` counts its whole log; `pending` says that it was interrupted."""

    name: str
    preset: str = ""
    persona: str = ""
    human: str = ""
    model: str | None = None
    messages: int = 0
    sources: tuple[str, ...] = ()
    created_at: datetime | None = None
    used_at: datetime | None = None
    pending: bool = False
    problem: str | None = None


class TextEntry(msgspec.Struct, frozen=True):
    """A persona or a human; `source` is its file, or `llmgate`."""

    name: str
    source: str
    characters: int
    text: str
    problem: str | None = None


class PresetEntry(msgspec.Struct, frozen=True):
    """A preset; `source` is its file, or `llmgate`."""

    name: str
    source: str
    description: str = ""
    system_prompt: str = ""
    functions: tuple[str, ...] = ()
    problem: str | None = None


class SourceEntry(msgspec.Struct, frozen=True):
    """A source of passages, and the agents that it is attached to."""

    name: str
    passages: int
    agents: tuple[str, ...] = ()


class FunctionEntry(msgspec.Struct, frozen=True):
    """A function, whether it may run, and the presets that have it.

    `approval` holds for calls that none of `unless` says something else of, such as
    `http_request(method=GET): allow`.
    """

    name: str
    description: str
    source: str
    approval: Rule
    unless: tuple[str, ...] = ()
    presets: tuple[str, ...] = ()


async def agents(records: Records) -> tuple[AgentEntry, ...]:
    """All agents, by name."""
    found = []
    for name in await agent_names(records):
        document = await records.get(names.state(name))
        messages = await records.end(names.messages(name))
        if document is None:
            found.append(AgentEntry(name, messages=messages, problem="its state is missing"))
            continue
        try:
            state = state_of(document)
        except LlmgateError as error:
            found.append(AgentEntry(name, messages=messages, problem=str(error)))
            continue
        found.append(
            AgentEntry(
                name,
                state.preset,
                state.persona,
                state.human,
                state.model,
                messages,
                state.sources,
                state.created_at,
                state.used_at,
                state.pending is not None,
            )
        )
    return tuple(found)


def texts(kind: presets.Text, user: Path | None = None) -> tuple[TextEntry, ...]:
    """All personas or all humans, by name."""
    folder = presets.FOLDER[kind]
    found = []
    for name in resources.names(folder, user):
        source = _source(resources.find(folder, name, user), folder)
        try:
            text = resources.read(folder, name, user).strip()
            problem = None
            presets.check(kind, text, name)
        except ConfigError as error:
            text, problem = "", str(error)
        found.append(TextEntry(name, source, len(text), text, problem))
    return tuple(found)


def all_presets(
    user: Path | None = None, functions: Iterable[str] | None = None
) -> tuple[PresetEntry, ...]:
    """All presets, by name; `functions` are the known ones, None leaves theirs unchecked."""
    known = None if functions is None else frozenset(functions)
    found = []
    for name in presets.names(user):
        source = _source(resources.find("presets", name, user), "presets")
        try:
            preset = presets.load(name, user, known)
        except ConfigError as error:
            found.append(PresetEntry(name, source, problem=str(error)))
            continue
        found.append(
            PresetEntry(name, source, preset.description, preset.system_prompt, preset.functions)
        )
    return tuple(found)


async def sources(
    store: VectorStore | None, agents: Iterable[AgentEntry]
) -> tuple[SourceEntry, ...]:
    """All sources, by name; one that agents have though it is gone has no passages."""
    attached: dict[str, list[str]] = {}
    for agent in agents:
        for source in agent.sources:
            attached.setdefault(source, []).append(agent.name)
    passages = dict.fromkeys(attached, 0)
    if store is not None:
        for collection in await store.collections(collection_of("")):
            async with await store.open(collection) as opened:
                passages[collection.removeprefix(collection_of(""))] = await opened.size()
    return tuple(
        SourceEntry(name, passages[name], tuple(attached.get(name, ())))
        for name in sorted(passages)
    )


def collection_of(source: str) -> str:
    """The collection with the passages of a source."""
    return f"source/{source}"


def functions(
    known: Mapping[str, Function],
    all_presets: Iterable[PresetEntry] = (),
    rules: Mapping[str, Rule] | None = None,
) -> tuple[FunctionEntry, ...]:
    """All functions, by name; `rules` are those of `agent.approvals`.

    Raises `ConfigError` for a rule that can't be read.
    """
    patterns = {Pattern.parse(text): rule for text, rule in (rules or {}).items()}
    presets_ = tuple(all_presets)
    return tuple(
        FunctionEntry(
            name,
            function.tool.description,
            function.source or SHIPPED,
            _rule(patterns, name, function.default),
            tuple(
                f"{pattern}: {rule}"
                for pattern, rule in patterns.items()
                if pattern.arguments and fnmatchcase(name, pattern.name)
            ),
            tuple(preset.name for preset in presets_ if name in preset.functions),
        )
        for name, function in sorted(known.items())
    )


def _rule(patterns: Mapping[Pattern, Rule], name: str, default: Rule) -> Rule:
    """What holds for a function whatever its arguments are."""
    matching = [
        (pattern.weight, _STRICT.index(rule))
        for pattern, rule in patterns.items()
        if pattern.matches(name, {})
    ]
    return _STRICT[max(matching)[1]] if matching else default


def _source(path: Path, kind: resources.Kind) -> str:
    return SHIPPED if path.parent == resources.shipped(kind) else str(path)
