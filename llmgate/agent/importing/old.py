"""The folders of an old MemGPT, and what is in the JSON of one agent.

~/.memgpt/agents/NAME/config.json
~/.memgpt/agents/NAME/agent_state/TIME.json
~/.memgpt/agents/NAME/persistence_manager/TIME.persistence.pickle
~/.memgpt/agents/NAME/persistence_manager/index/nodes.pkl
~/.memgpt/archival/SOURCE/nodes.pkl
~/.memgpt/{personas,humans,presets,system_prompts,functions}/
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from llmgate.agent.importing.times import time_of
from llmgate.errors import ConfigError, UnknownName

_STATES = "agent_state"
_CONFIG = "config.json"
_PICKLES = ("*.pkl", "*.pickle")
# Where MemGPT 0.2.12 moved the agents that it had turned into rows of a database.
_MOVED = Path("migration_backups", "agents")
_DATABASES = ("sqlite.db", "chroma", "lancedb")


class OldState(msgspec.Struct, frozen=True):
    """One saved state: `messages` are as they were saved, the system message among them."""

    path: Path
    at: datetime
    messages: tuple[Any, ...]
    system: str
    memory: dict[str, Any]
    functions: tuple[str, ...]
    model: str | None
    total: int | None


class OldAgent(msgspec.Struct, frozen=True):
    """An agent: its states from the oldest to the newest, and what can't be read of it.

    `digest` tells this content from any other.
    """

    name: str
    folder: Path
    states: tuple[OldState, ...]
    preset: str
    persona: str
    human: str
    created_at: datetime | None
    sources: tuple[str, ...]
    pickles: tuple[Path, ...]
    problems: tuple[str, ...]
    digest: str

    @property
    def state(self) -> OldState:
        """The newest state."""
        return self.states[-1]


class OldHome(msgspec.Struct, frozen=True):
    """A folder of MemGPT: `home` is None where only an agent's own folder was given."""

    folder: Path
    home: Path | None
    agents: dict[str, Path]

    def chosen(self, name: str) -> Path:
        """The folder of an agent. Raises `UnknownName`."""
        if name not in self.agents:
            raise UnknownName("agent", name, self.agents, where=f" in {self.folder}")
        return self.agents[name]

    def sources(self) -> dict[str, Path]:
        """The folders of sources, by name."""
        if self.home is None:
            return {}
        return {path.name: path for path in _folders(self.home / "archival")}

    def databases(self) -> tuple[Path, ...]:
        """What later versions and other settings kept in databases, which are not read."""
        if self.home is None:
            return ()
        return tuple(self.home / name for name in _DATABASES if (self.home / name).exists())


def find(folder: Path) -> OldHome:
    """What there is in a folder: that of MemGPT, or of one of its agents.

    Raises `ConfigError` if it is neither.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"there is no folder {folder}.", hint="Name that of MemGPT, or of one of its agents."
        )
    if _is_agent(folder):
        home = folder.parent.parent if folder.parent.name == "agents" else None
        return OldHome(folder, home, {folder.name: folder})
    agents = {
        path.name: path
        for place in (folder / _MOVED, folder / "agents")
        for path in _folders(place)
        if _is_agent(path)
    }
    if not agents and not (folder / "agents").is_dir():
        raise ConfigError(
            f"{folder} has no agents of MemGPT in it: no folder `agents`, no `{_STATES}`.",
            hint="Name that of MemGPT, or of one of its agents.",
        )
    return OldHome(folder, folder, dict(sorted(agents.items())))


def read(folder: Path) -> OldAgent:
    """An agent as its folder describes it.

    A state that can't be read is left out, and named in `problems`. Raises `ConfigError` if none
    can be.
    """
    problems: list[str] = []
    config = _config(folder, problems)
    digest = hashlib.sha256()
    states = []
    for path in sorted((folder / _STATES).glob("*.json")):
        try:
            raw = path.read_bytes()
            states.append(_state(path, raw))
        except (OSError, ConfigError) as error:
            problems.append(f"{path.name}: {error}")
            continue
        digest.update(hashlib.sha256(raw).digest())
    if not states:
        why = f": {problems[-1]}" if problems else ""
        raise ConfigError(f"{folder} has no saved state that can be read{why}")
    states.sort(key=lambda state: (state.at, state.path.name))
    created = config.get("create_time")
    sources = config.get("data_sources")
    return OldAgent(
        _text(config.get("name")) or folder.name,
        folder,
        tuple(states),
        _text(config.get("preset")),
        _text(config.get("persona")),
        _text(config.get("human")),
        time_of(created) if isinstance(created, str) else None,
        tuple(each for each in sources if isinstance(each, str))
        if isinstance(sources, list)
        else (),
        pickles(folder),
        tuple(problems),
        digest.hexdigest(),
    )


def pickles(folder: Path) -> tuple[Path, ...]:
    """The pickles anywhere in a folder."""
    return tuple(sorted(path for pattern in _PICKLES for path in folder.rglob(pattern)))


def _config(folder: Path, problems: list[str]) -> dict[str, Any]:
    path = folder / _CONFIG
    if not path.is_file():
        problems.append(f"{_CONFIG} is missing: the agent is called like its folder")
        return {}
    try:
        found = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        problems.append(f"{_CONFIG} can't be read ({error}): the agent is called like its folder")
        return {}
    if not isinstance(found, dict):
        problems.append(f"{_CONFIG} is no object: the agent is called like its folder")
        return {}
    return found


def _state(path: Path, raw: bytes) -> OldState:
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigError(f"is not valid JSON: {error}.") from error
    if not isinstance(found, dict):
        raise ConfigError("is no object.")
    messages, memory = found.get("messages"), found.get("memory")
    if not isinstance(messages, list):
        raise ConfigError("has no list of messages.")
    if not isinstance(memory, dict):
        raise ConfigError("has no memory.")
    total = found.get("messages_total")
    functions = found.get("functions")
    at = time_of(path.stem) or datetime.fromtimestamp(path.stat().st_mtime).astimezone()
    return OldState(
        path,
        at,
        tuple(messages),
        _text(found.get("system")),
        memory,
        tuple(_functions(functions)) if isinstance(functions, list) else (),
        _text(found.get("model")) or None,
        total if isinstance(total, int) and not isinstance(total, bool) else None,
    )


def _functions(schemas: list[Any]) -> Iterator[str]:
    for schema in schemas:
        name = schema.get("name") if isinstance(schema, dict) else schema
        if isinstance(name, str) and name:
            yield name


def _is_agent(folder: Path) -> bool:
    return (folder / _STATES).is_dir() or (folder / _CONFIG).is_file()


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
