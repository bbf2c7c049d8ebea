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

import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec

from llmgate import resources
from llmgate.errors import ConfigError, suggestion
from llmgate.types import Sampling

DEFAULT_MODEL = "llmgate-tiny"


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds: to connect, until the first piece of an answer, and between pieces."""

    connect: float = 5.0
    first_token: float = 600.0
    between_tokens: float = 120.0


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[models.NAME]` table.

    `context` is in tokens (None: what the model was trained for, at most 8192 in process),
    `queue` the number of requests that may wait, `gpu_layers` -1 for all.
    """

    backend: str = "embedded"
    path: str | None = None
    url: str | None = None
    api_key: str | None = None
    wrapper: str = "chatml"
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    sampling: Sampling = Sampling()
    context: int | None = None
    threads: int | None = None
    gpu_layers: int = -1
    queue: int = 32
    timeouts: Timeouts = Timeouts()


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[server]` table. `max_body` is in bytes; `origins` are web pages let in."""

    host: str = "127.0.0.1"
    port: int = 8484
    api_key: str | None = None
    max_body: int = 4 * 1024 * 1024
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole configuration; `models` maps the names that clients use to their settings."""

    server: ServerSettings = ServerSettings()
    models: dict[str, ModelSettings] = msgspec.field(default_factory=dict)
    source: str | None = None
    user_folder: str | None = None
