"""What a new agent is made of: presets, system prompts, personas and humans, read from files.

A preset is a YAML file; everything else is plain text:

    description: To talk with.        # optional
    system_prompt: memgpt_chat        # the name of a text in `system_prompts`
    functions: [send_message, core_memory_append]

The user's folder goes before the shipped ones, name by name.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import msgspec

from llmgate import resources
from llmgate.errors import ConfigError, UnknownName, suggestion

# How many characters a block of core memory has if nobody says otherwise.
LIMIT = 2000

Text = Literal["persona", "human"]
FOLDER: dict[Text, resources.Kind] = {"persona": "personas", "human": "humans"}
_KEYS = ("system_prompt", "functions", "description")


class Preset(msgspec.Struct, frozen=True):
    """What an agent is told and what it can do.

    `system_prompt` is the name of the text, `text` the text itself, stripped. `functions` are
    their names, in the order of the file. `source` is the file.
    """

    name: str
    system_prompt: str
    functions: tuple[str, ...]
    source: Path
    text: str
    description: str = ""


def names(user: Path | None = None) -> list[str]:
    """The names of all presets, sorted; `user` is the user's own folder."""
    return resources.names("presets", user)


def load(name: str, user: Path | None = None, functions: Collection[str] | None = None) -> Preset:
    """The named preset, with the text of its system prompt.

    `functions` are the known ones; None leaves the preset's unchecked. Raises `UnknownName` for
    a preset that nobody knows, and `ConfigError` that names the file and the key.
    """
    path = resources.find("presets", name, user)
    table = _table(path)
    for key in table:
        if key not in _KEYS:
            raise ConfigError(f"{path}: unknown key {key!r}.", hint=suggestion(str(key), _KEYS))
    prompt = _text(table, "system_prompt", path)
    try:
        text = resources.read("system_prompts", prompt, user)
    except UnknownName as error:
        raise ConfigError(f"{path}: system_prompt: {error.message}", hint=error.hint) from error
    chosen = _functions(table, path)
    for number, function in enumerate(chosen):
        if functions is not None and function not in functions:
            raise ConfigError(
                f"{path}: functions[{number}]: unknown function {function!r}.",
                hint=suggestion(function, functions),
            )
    described = _text(table, "description", path) if "description" in table else ""
    return Preset(name, prompt, chosen, path, text.strip(), described)


def persona(name: str, user: Path | None = None, limit: int = LIMIT) -> str:
    """The text of the named persona, stripped. Raises `ConfigError` for one over its limit."""
    return read("persona", name, user, limit)


def human(name: str, user: Path | None = None, limit: int = LIMIT) -> str:
    """The text of the named human, stripped. Raises `ConfigError` for one over its limit."""
    return read("human", name, user, limit)


def read(kind: Text, name: str, user: Path | None = None, limit: int = LIMIT) -> str:
    """The text of a persona or a human, as `persona` and `human` give it."""
    path = resources.find(FOLDER[kind], name, user)
    text = resources.read(FOLDER[kind], name, user).strip()
    check(kind, text, str(path), limit)
    return text


def check(kind: Text, text: str, where: str, limit: int = LIMIT) -> None:
    """Raises `ConfigError` for a text that no block of that limit can hold."""
    if len(text) > limit:
        raise ConfigError(
            f"{where}: the {kind} has {len(text)} characters, and {limit} are allowed.",
            hint="Shorten it: the rest can go into archival memory.",
        )
    if "\0" in text:
        raise ConfigError(f"{where}: the {kind} has a NUL character in it: it is no text.")


def _table(path: Path) -> dict[Any, Any]:
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read {path}: {error}.") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path} has to be a table with the keys system_prompt and functions, not {data!r}."
        )
    return data


def _text(table: dict[Any, Any], key: str, path: Path) -> str:
    if key not in table:
        raise ConfigError(f"{path}: the key {key!r} is missing.")
    value = table[key]
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{path}: {key} has to be a text, not {value!r}.")
    return value


def _functions(table: dict[Any, Any], path: Path) -> tuple[str, ...]:
    if "functions" not in table:
        raise ConfigError(f"{path}: the key 'functions' is missing.")
    value = table["functions"]
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{path}: functions has to be a list of names, not {value!r}.")
    for number, name in enumerate(value):
        if not isinstance(name, str) or not name:
            raise ConfigError(f"{path}: functions[{number}] has to be a name, not {name!r}.")
        if name in value[:number]:
            raise ConfigError(f"{path}: functions[{number}]: {name!r} is there twice.")
    return tuple(value)
