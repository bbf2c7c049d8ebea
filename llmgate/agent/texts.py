"""Personas and humans of the user's own: written into, and taken out of, the user's folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from llmgate import resources
from llmgate.agent import presets
from llmgate.errors import ConfigError
from llmgate.memory.names import check_name

_MODE = 0o644


def add(
    kind: presets.Text, name: str, text: str, user: Path, *, force: bool = False
) -> tuple[Path, bool]:
    """Write a persona or a human, and return its file and whether it goes over a shipped one.

    Raises `ConfigError` for a text that is empty or too long, and, without `force`, for one that
    the user has already; `RequestError` for a name that can't be one.
    """
    folder = presets.FOLDER[kind]
    check_name(name, kind)
    if not resources.is_name(name) or "\\" in name:
        raise ConfigError(
            f"a {kind} can't be named {name!r}.", hint="No '/' or '\\', and no '.' in front."
        )
    text = text.strip()
    if not text:
        raise ConfigError(f"the {kind} {name!r} has no text.")
    presets.check(kind, text, name)
    path = resources.path_in(user, folder, name)
    if path.exists() and not force:
        raise ConfigError(
            f"there is a {kind} {name!r} already: {path}.", hint="--force writes over it."
        )
    write(path, f"{text}\n")
    return path, resources.path_in(resources.shipped(folder).parent, folder, name).is_file()


def own(kind: presets.Text, name: str, user: Path) -> Path:
    """The file of a persona or a human that the user may delete.

    Raises `UnknownName`, and `ConfigError` for one that comes with llmgate.
    """
    path = resources.find(presets.FOLDER[kind], name, user)
    if path.parent == resources.shipped(presets.FOLDER[kind]):
        raise ConfigError(f"the {kind} {name!r} comes with llmgate and can't be deleted.")
    return path


def delete(path: Path) -> None:
    """Take a file away that `own` named."""
    try:
        path.unlink()
    except OSError as error:
        raise ConfigError(f"can't delete {path}: {error.strerror}.") from error


def write(path: Path, text: str) -> None:
    """All of it or nothing: what is there is never half written over."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, _MODE)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except (OSError, UnicodeEncodeError) as error:
        raise ConfigError(f"can't write {path}: {error}.") from error
