"""A TOML text → settings, or one line that says which key can't be used and why."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from llmgate.config.facts import default_settings
from llmgate.config.places import api_key, environment, find_file, user_folder
from llmgate.config.settings import (
    AgentSettings,
    KeySettings,
    ModelSettings,
    Replica,
    ServerSettings,
    Settings,
    StorageSettings,
    Timeouts,
)
from llmgate.errors import ConfigError, suggestion
from llmgate.types import Sampling

_WITHOUT_URL = ("embedded", "scripted")
T = TypeVar("T", bound=msgspec.Struct)


def load(file: Path | None = None, env: Mapping[str, str] = environment) -> Settings:
    """The settings from `file`, else LLMGATE_CONFIG, else ./llmgate.toml, else the user's.

    With no file at all the shipped model is configured. LLMGATE_API_KEY goes over the file's
    `server.api_key`. Raises `ConfigError` that names the file and the key.
    """
    settings = _from_file(path) if (path := find_file(file, env)) else default_settings()
    settings = msgspec.structs.replace(settings, user_folder=user_folder(env))
    if key := api_key(env):
        server = msgspec.structs.replace(settings.server, api_key=key)
        settings = msgspec.structs.replace(settings, server=server)
    return settings


def parse(text: str, source: Path) -> Settings:
    """The settings in a TOML text. `source` is named in errors, its folder anchors paths."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not valid TOML: {error}.") from error
    _check_keys(data, ("server", "models", "storage", "agent"), "", source)
    _check_numbers(data, "", source)
    server = _server(_table(data, "server", "server", source), source)
    models = {
        name: _model(table, f"models.{name}", source)
        for name, table in _table(data, "models", "models", source).items()
    }
    storage = _convert(
        _table(data, "storage", "storage", source), StorageSettings, "storage", source
    )
    agent = _convert(_table(data, "agent", "agent", source), AgentSettings, "agent", source)
    agent = msgspec.structs.replace(agent, files=_anchored(agent.files, source.parent))
    models = models or default_settings().models
    return Settings(server, models, source, storage=storage, agent=agent)


def _from_file(path: Path) -> Settings:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read the config file {path}: {error}.") from error
    return parse(text, path.resolve())


def _server(table: dict[str, Any], source: Path) -> ServerSettings:
    keys = _table(table, "keys", "server.keys", source)
    for name, inner in keys.items():
        _check_table(inner, KeySettings, f"server.keys.{name}", source)
        _convert(inner, KeySettings, f"server.keys.{name}", source)
    server = _convert(table, ServerSettings, "server", source)
    owners = {server.api_key: "server.api_key"} if server.api_key else {}
    for name, settings in server.keys.items():
        where = f"server.keys.{name}.key"
        if not settings.key.strip():
            raise ConfigError(f"{source}: {where} is empty.")
        if other := owners.get(settings.key):
            raise ConfigError(f"{source}: {where} is the same key as {other}.")
        owners[settings.key] = where
    log = _anchored(server.usage_log, source.parent)
    return msgspec.structs.replace(server, usage_log=log)


def _model(table: Any, where: str, source: Path) -> ModelSettings:
    if not isinstance(table, dict):
        raise ConfigError(f"{source}: {where} must be a table, not {table!r}.")
    for key, struct in (("sampling", Sampling), ("timeouts", Timeouts)):
        _check_table(_table(table, key, f"{where}.{key}", source), struct, f"{where}.{key}", source)
    replicas = table.get("replicas", [])
    if not isinstance(replicas, list):
        raise ConfigError(f"{source}: {where}.replicas must be tables, not {replicas!r}.")
    for number, replica in enumerate(replicas):
        _check_table(replica, Replica, f"{where}.replicas[{number}]", source)
    model = _convert(table, ModelSettings, where, source)
    if model.replicas and model.backend in _WITHOUT_URL:
        raise ConfigError(
            f"{source}: {where}.replicas are servers, and the {model.backend} backend has none.",
            hint="Set `backend` to what these servers speak.",
        )
    return msgspec.structs.replace(model, path=_anchored(model.path, source.parent))


def _table(data: dict[str, Any], key: str, where: str, source: Path) -> dict[str, Any]:
    value = data.get(key, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{source}: {where} must be a table, not {value!r}.")
    return value


def _check_table(table: Any, struct: type[msgspec.Struct], where: str, source: Path) -> None:
    """Refuse what is no table, and keys that nobody knows."""
    if not isinstance(table, dict):
        raise ConfigError(f"{source}: {where} must be a table, not {table!r}.")
    _check_keys(table, struct.__struct_fields__, where, source)


def _check_numbers(value: Any, where: str, source: Path) -> None:
    """Refuse `nan` and `inf`, which TOML knows and no setting can be."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_numbers(inner, f"{where}.{key}" if where else key, source)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _check_numbers(inner, f"{where}[{number}]", source)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{source}: {where}: {value} can't be used, only finite numbers.")


def _check_keys(table: dict[str, Any], known: Iterable[str], where: str, source: Path) -> None:
    names = tuple(known)
    for key in table:
        if key not in names:
            name = f"{where}.{key}" if where else key
            raise ConfigError(f"{source}: unknown key {name!r}.", hint=suggestion(key, names))


def _convert(table: dict[str, Any], struct: type[T], where: str, source: Path) -> T:
    _check_keys(table, (f.name for f in msgspec.structs.fields(struct)), where, source)
    try:
        return msgspec.convert(table, struct)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        key = where + path.rstrip("`")
        refused = _refused_word(table, struct) if problem.startswith("Invalid enum value") else None
        if refused is None:
            raise ConfigError(f"{source}: {key}: {problem.replace('`', '')}.") from error
        path, value, known = refused
        raise ConfigError(
            f"{source}: {where}.{path} can't be {value!r}.", hint=suggestion(str(value), known)
        ) from error


def _refused_word(table: dict[str, Any], struct: type) -> tuple[str, Any, list[str]] | None:
    """The first value that is none of the words that its key takes: key, value and those words."""
    about = msgspec.inspect.type_info(struct)
    assert isinstance(about, msgspec.inspect.StructType)
    for field in about.fields:
        if field.name not in table:
            continue
        given = {field.name: table[field.name]}
        kind: Any = field.type
        if isinstance(kind, msgspec.inspect.DictType) and isinstance(table[field.name], dict):
            given = {f"{field.name}.{key}": value for key, value in table[field.name].items()}
            kind = kind.value_type
        if isinstance(kind, msgspec.inspect.LiteralType):
            for path, value in given.items():
                if value not in kind.values:
                    return path, value, [str(word) for word in kind.values]
    return None


def _anchored(path: str | None, folder: Path) -> str | None:
    """A relative path counts from the config file, not from where it is run."""
    return None if path is None else str(folder / Path(path).expanduser())
