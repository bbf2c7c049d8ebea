"""llmgate.toml and the LLMGATE_* environment → frozen settings. The only reader of os.environ.

[server]
port = 8484

[models.local]
backend = "embedded"            # or "llamacpp"
path = "model.gguf"             # embedded
# url = "http://127.0.0.1:8080" # llamacpp
wrapper = "dolphin"
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Meta

from llmgate import resources
from llmgate.errors import ConfigError, suggestion
from llmgate.types import Sampling

FILE_NAME = "llmgate.toml"
DEFAULT_MODEL = "llmgate-tiny"
SHIPPED_WRAPPER = "chatml"
_WITHOUT_URL = ("embedded", "scripted")

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(gt=0)]
T = TypeVar("T", bound=msgspec.Struct)


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds: to connect, until the first piece of an answer, between pieces, and for all."""

    connect: Seconds = 5.0
    first_token: Seconds = 600.0
    between_tokens: Seconds = 120.0
    total: Seconds | None = None


class Replica(msgspec.Struct, frozen=True):
    """One of several servers of the same model; what is None is as in the model's own settings."""

    url: str
    api_key: str | None = None
    model: str | None = None
    weight: Annotated[float, Meta(gt=0)] = 1.0


class ModelSettings(msgspec.Struct, frozen=True):
    """One `[models.NAME]` table.

    What it is: `backend`, and `path` (a file, in process) or `url`, `api_key` and `headers` (a
    server); `model` is its name there, `api_version` that of an old Azure address, `extra` are
    fields sent as they are with every request. `embedding`: the model in process makes vectors.

    How it is asked: `wrapper` is the name of a template, `model` for the model's own, or `auto`
    for that and ChatML where it has none; `options` are the wrapper's. `constraint` says what
    answers are held to, `auto` for the best the backend has. `context` is in tokens (None: what
    the model was trained for, at most 8192 in process), `reply_tokens` of them are kept for the
    answer where the request does not say how long it may be, and `overflow` says whether a prompt
    that is too long is refused or loses its oldest messages. `gpu_layers` is -1 for all.

    How it is reached: `aliases` are further names, `*` standing for anything; `fallbacks` are
    the models asked when this one fails; `replicas` are servers beside `url`, chosen by
    `balance`. `concurrency` requests run at a time on each (None: no limit), `queue` may wait.
    `retries` is how often a request is sent again while nothing of its answer was passed on,
    `corrections` how often an answer that can't be used is asked for again, with what was wrong.
    A server that failed is left alone for `cooldown` seconds and looked at every `health`
    seconds. `cache` is for how many seconds an answer to the same request is kept (0: not at all).
    """

    backend: str = "embedded"
    path: str | None = None
    url: str | None = None
    api_key: str | None = None
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    model: str | None = None
    api_version: str | None = None
    extra: dict[str, Any] = msgspec.field(default_factory=dict)
    embedding: bool = False
    wrapper: str = "auto"
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    sampling: Sampling = Sampling()
    constraint: Literal["auto", "grammar", "schema", "none"] = "auto"
    context: Positive | None = None
    reply_tokens: Positive = 256
    overflow: Literal["refuse", "drop_oldest"] = "refuse"
    threads: Positive | None = None
    gpu_layers: int = -1
    aliases: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    replicas: tuple[Replica, ...] = ()
    balance: Literal["least_busy", "weighted"] = "least_busy"
    concurrency: Positive | None = None
    queue: Count = 32
    retries: Count = 2
    corrections: Count = 2
    cooldown: Seconds = 30.0
    health: Seconds = 15.0
    cache: Annotated[float, Meta(ge=0)] = 0.0
    timeouts: Timeouts = Timeouts()


class KeySettings(msgspec.Struct, frozen=True):
    """One `[server.keys.NAME]` table: a client's key and what it may use in a minute.

    `models` are the names that it may ask for, `*` standing for anything.
    """

    key: str
    requests: Positive | None = None
    tokens: Positive | None = None
    models: tuple[str, ...] = ("*",)


class ServerSettings(msgspec.Struct, frozen=True):
    """The `[server]` table.

    `max_body` is in bytes; `hosts` are further names under which the server is reached,
    `origins` the web pages (`https://example.org`) that may call it. `keys` are further clients,
    each with limits of its own. `usage_log` is a file that gets one line of JSON for each request.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8484
    api_key: str | None = None
    max_body: Positive = 4 * 1024 * 1024
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    keys: dict[str, KeySettings] = msgspec.field(default_factory=dict)
    usage_log: str | None = None


class StorageSettings(msgspec.Struct, frozen=True):
    """The `[storage]` table: `url` says where conversations and agents are kept, and how.

    `vectors` says the same of passages of archival memory. None is the file `llmgate.db` or
    `vectors.db` in the user's data folder.
    """

    url: str | None = None
    vectors: str | None = None


class AgentSettings(msgspec.Struct, frozen=True):
    """The `[agent]` table: what agents are made of, and what they may do.

    `model` names the configured model that they think with (None: the first one), `embedding` the
    one that makes vectors for archival memory (None: it is searched by text alone). `preset`,
    `persona` and `human` are those of new agents, `name` is the agent that `llmgate chat` wakes.

    `window` is in tokens (None: all of the model's context), `reply_tokens` of them, but at most an
    eighth, are kept for the answer; above the share `pressure` of it the agent is warned, and what
    does not fit is summarised. `thoughts`: it thinks before each call, where the model's options
    do not say otherwise. `chain_limit` is how many times the model may be asked for one event,
    `retries` how often it may answer with what can't be used. `first_message` asks a new agent to
    begin by saying something. `layout` is `cached` for prompts that grow only at their end,
    `memgpt` for the old ones. `heartbeat_minutes` wakes an idle agent (None: never).

    `files` is the folder that its file functions may use (None: none), `private_addresses` are
    the hosts or networks that it may fetch from though they are not public, and `approvals` says
    of functions whether they are allowed, asked about or denied.
    """

    name: str | None = None
    model: str | None = None
    embedding: str | None = None
    preset: str = "memgpt_chat"
    persona: str = "starter"
    human: str = "basic"
    window: Positive | None = None
    reply_tokens: Positive = 512
    pressure: Annotated[float, Meta(gt=0, le=1)] = 0.75
    chain_limit: Positive = 20
    retries: Count = 2
    first_message: bool = True
    thoughts: bool = True
    layout: Literal["cached", "memgpt"] = "cached"
    heartbeat_minutes: Seconds | None = None
    files: str | None = None
    private_addresses: tuple[str, ...] = ()
    approvals: dict[str, Literal["allow", "ask", "deny"]] = msgspec.field(default_factory=dict)


class Settings(msgspec.Struct, frozen=True):
    """A whole configuration; `models` maps the names that clients use to their settings.

    `source` is the file it came from (None: nothing configured), `user_folder` where the
    user's own templates and grammars are looked for.
    """

    server: ServerSettings = ServerSettings()
    models: dict[str, ModelSettings] = msgspec.field(default_factory=dict)
    source: Path | None = None
    user_folder: Path | None = None
    storage: StorageSettings = StorageSettings()
    agent: AgentSettings = AgentSettings()


def user_folder(env: Mapping[str, str] = os.environ) -> Path:
    """The user's config folder for llmgate, whether or not it exists."""
    if sys.platform == "win32":
        base = env.get("APPDATA") or str(Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Application Support")
    else:
        base = env.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "llmgate"


def storage_url(settings: Settings, env: Mapping[str, str] = os.environ) -> str:
    """Where to keep things: LLMGATE_STORAGE_URL, else `[storage] url`, else the user's data folder.

    A relative path in the file's URL counts from where llmgate is run, as in the variable.
    """
    if url := env.get("LLMGATE_STORAGE_URL") or settings.storage.url:
        return url
    return f"sqlite:{quote(str(data_folder(env) / 'llmgate.db'))}"


def vectors_url(settings: Settings, env: Mapping[str, str] = os.environ) -> str:
    """Where to keep passages: LLMGATE_VECTORS_URL, else `[storage] vectors`, else beside the rest.

    That is a file in the user's data folder, as for `storage_url`.
    """
    if url := env.get("LLMGATE_VECTORS_URL") or settings.storage.vectors:
        return url
    return f"sqlite:{quote(str(data_folder(env) / 'vectors.db'))}"


def data_folder(env: Mapping[str, str] = os.environ) -> Path:
    """The user's data folder for llmgate, whether or not it exists."""
    if sys.platform == "win32":
        base = env.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Application Support")
    else:
        base = env.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "llmgate"


def may_discover(env: Mapping[str, str] = os.environ) -> bool:
    """Whether servers on this machine may be used that nobody configured (LLMGATE_DISCOVER)."""
    return env.get("LLMGATE_DISCOVER", "").lower() not in ("0", "off", "no", "false")


def tiktoken_words(source: str, env: Mapping[str, str] = os.environ) -> Path:
    """Where the package tiktoken keeps what it fetched from `source`, if it did."""
    folder = env.get("TIKTOKEN_CACHE_DIR") or env.get("DATA_GYM_CACHE_DIR")
    base = Path(folder) if folder else Path(tempfile.gettempdir()) / "data-gym-cache"
    return base / hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


def load(file: Path | None = None, env: Mapping[str, str] = os.environ) -> Settings:
    """The settings from `file`, else LLMGATE_CONFIG, else ./llmgate.toml, else the user's.

    With no file at all the shipped model is configured. LLMGATE_API_KEY goes over the file's
    `server.api_key`. Raises `ConfigError` that names the file and the key.
    """
    settings = _from_file(path) if (path := _find(file, env)) else default_settings()
    settings = msgspec.structs.replace(settings, user_folder=user_folder(env))
    if key := env.get("LLMGATE_API_KEY"):
        server = msgspec.structs.replace(settings.server, api_key=key)
        settings = msgspec.structs.replace(settings, server=server)
    return settings


def default_settings() -> Settings:
    """Settings with the model that comes with llmgate and nothing else."""
    return Settings(models={DEFAULT_MODEL: ModelSettings()})


def is_shipped(model: ModelSettings) -> bool:
    """Whether these settings are about the model that comes with llmgate."""
    return model.backend == "embedded" and model.path is None


def with_facts(model: ModelSettings) -> ModelSettings:
    """The settings with what is known of the model itself where they say nothing.

    So far only the shipped model's facts are known: they stand beside its file.
    """
    if not is_shipped(model):
        return model
    # It was trained on wrappers of ours and has no template of its own.
    if model.wrapper in ("auto", "model"):
        model = msgspec.structs.replace(model, wrapper=SHIPPED_WRAPPER)
    facts = tomllib.loads(resources.default_model().with_suffix(".toml").read_text("utf-8"))
    return msgspec.structs.replace(
        model,
        options={**facts["options"].get(model.wrapper, {}), **model.options},
        sampling=model.sampling.over(msgspec.convert(facts["sampling"], Sampling)),
    )


def with_agent_facts(agent: AgentSettings, model: ModelSettings) -> AgentSettings:
    """The agent's settings with what suits the shipped model where they say nothing.

    That model knows only the short prompts that it was trained on.
    """
    if not is_shipped(model):
        return agent
    facts = tomllib.loads(resources.default_model().with_suffix(".toml").read_text("utf-8"))
    usual = AgentSettings()
    return msgspec.structs.replace(
        agent,
        **{
            key: value
            for key, value in facts["agent"].items()
            if getattr(agent, key) == getattr(usual, key)
        },
    )


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


def _find(file: Path | None, env: Mapping[str, str]) -> Path | None:
    if file is None and (named := env.get("LLMGATE_CONFIG")):
        file = Path(named)
    if file is not None:
        if not file.is_file():
            raise ConfigError(f"the config file {file} does not exist.")
        return file
    candidates = (Path(FILE_NAME), user_folder(env) / FILE_NAME)
    return next((path for path in candidates if path.is_file()), None)


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
        raise ConfigError(f"{source}: {key}: {problem.replace('`', '')}.") from error


def _anchored(path: str | None, folder: Path) -> str | None:
    """A relative path counts from the config file, not from where it is run."""
    return None if path is None else str(folder / Path(path).expanduser())
