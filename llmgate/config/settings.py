"""The values of a configuration: what a table may hold, and what holds where it says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from llmgate.types import Sampling

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(gt=0)]


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
