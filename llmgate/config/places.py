"""Where things are, and what the environment says of it: nothing else reads os.environ."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from llmgate.config.settings import Settings
from llmgate.errors import ConfigError

FILE_NAME = "llmgate.toml"
environment: Mapping[str, str] = os.environ


def user_folder(env: Mapping[str, str] = environment) -> Path:
    """The user's config folder for llmgate, whether or not it exists."""
    if sys.platform == "win32":
        base = env.get("APPDATA") or str(Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Application Support")
    else:
        base = env.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "llmgate"


def storage_url(settings: Settings, env: Mapping[str, str] = environment) -> str:
    """Where to keep things: LLMGATE_STORAGE_URL, else `[storage] url`, else the user's data folder.

    A relative path in the file's URL counts from where llmgate is run, as in the variable.
    """
    if url := env.get("LLMGATE_STORAGE_URL") or settings.storage.url:
        return url
    return f"sqlite:{quote(str(data_folder(env) / 'llmgate.db'))}"


def vectors_url(settings: Settings, env: Mapping[str, str] = environment) -> str:
    """Where to keep passages: LLMGATE_VECTORS_URL, else `[storage] vectors`, else beside the rest.

    That is a file in the user's data folder, as for `storage_url`.
    """
    if url := env.get("LLMGATE_VECTORS_URL") or settings.storage.vectors:
        return url
    return f"sqlite:{quote(str(data_folder(env) / 'vectors.db'))}"


def data_folder(env: Mapping[str, str] = environment) -> Path:
    """The user's data folder for llmgate, whether or not it exists."""
    if sys.platform == "win32":
        base = env.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Application Support")
    else:
        base = env.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "llmgate"


def may_discover(env: Mapping[str, str] = environment) -> bool:
    """Whether servers on this machine may be used that nobody configured (LLMGATE_DISCOVER)."""
    return env.get("LLMGATE_DISCOVER", "").lower() not in ("0", "off", "no", "false")


def tiktoken_words(source: str, env: Mapping[str, str] = environment) -> Path:
    """Where the package tiktoken keeps what it fetched from `source`, if it did."""
    folder = env.get("TIKTOKEN_CACHE_DIR") or env.get("DATA_GYM_CACHE_DIR")
    base = Path(folder) if folder else Path(tempfile.gettempdir()) / "data-gym-cache"
    return base / hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


def find_file(file: Path | None, env: Mapping[str, str]) -> Path | None:
    """The file to read: `file`, else LLMGATE_CONFIG, else ./llmgate.toml, else the user's."""
    if file is None and (named := env.get("LLMGATE_CONFIG")):
        file = Path(named)
    if file is not None:
        if not file.is_file():
            raise ConfigError(f"the config file {file} does not exist.")
        return file
    candidates = (Path(FILE_NAME), user_folder(env) / FILE_NAME)
    return next((path for path in candidates if path.is_file()), None)


def api_key(env: Mapping[str, str] = environment) -> str | None:
    """The key that clients need, from LLMGATE_API_KEY."""
    return env.get("LLMGATE_API_KEY") or None
