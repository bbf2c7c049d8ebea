"""Finds texts that come as files: the user's first, then the shipped ones.

The folders `templates` and `grammars` stand beside the package in a checkout and inside it in a
wheel; what agents are made of is in its `data`. The user's own have the same names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from llmgate.errors import ConfigError, UnknownName

Kind = Literal["templates", "grammars", "presets", "personas", "humans", "system_prompts"]
_SUFFIX: dict[Kind, str] = {
    "templates": ".jinja",
    "grammars": ".gbnf",
    "presets": ".yaml",
    "personas": ".txt",
    "humans": ".txt",
    "system_prompts": ".txt",
}
_ONE: dict[Kind, str] = {
    "templates": "wrapper",
    "grammars": "grammar",
    "presets": "preset",
    "personas": "persona",
    "humans": "human",
    "system_prompts": "system prompt",
}
_PACKAGE = Path(__file__).resolve().parent


def shipped(kind: Kind) -> Path:
    """The folder of that kind that came with llmgate."""
    for folder in (_PACKAGE / "data" / kind, _PACKAGE / kind, _PACKAGE.parent / kind):
        if folder.is_dir():
            return folder
    raise ConfigError(f"the folder {kind!r} of this installation is missing.", hint="Reinstall.")


def default_model() -> Path:
    """The small model that comes with llmgate: a test pilot, not an assistant."""
    return _PACKAGE / "data" / "llmgate-tiny.gguf"


def names(kind: Kind, user: Path | None = None) -> list[str]:
    """The names of all files of that kind, sorted; `user` is the user's own folder."""
    found: set[str] = set()
    for folder in _folders(kind, user):
        if folder.is_dir():
            found.update(path.stem for path in folder.glob(f"*{_SUFFIX[kind]}"))
    return sorted(found)


def is_name(name: str) -> bool:
    """Whether it is a plain file stem: anything that could leave a folder is none."""
    return bool(name) and not name.startswith(".") and not set(name) & set("/\\\0")


def path_in(folder: Path, kind: Kind, name: str) -> Path:
    """Where the named file is, or would be, under a folder such as the user's own."""
    return folder / kind / f"{name}{_SUFFIX[kind]}"


def find(kind: Kind, name: str, user: Path | None = None) -> Path:
    """The named file. Raises `UnknownName` with the known names."""
    if is_name(name):
        for folder in _folders(kind, user):
            path = folder / f"{name}{_SUFFIX[kind]}"
            if path.is_file():
                return path
    raise UnknownName(_ONE[kind], name, names(kind, user))


def read(kind: Kind, name: str, user: Path | None = None) -> str:
    """The text of the named file. Raises `UnknownName` with the known names."""
    path = find(kind, name, user)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read {path}: {error}.") from error


def _folders(kind: Kind, user: Path | None) -> list[Path]:
    return ([user / kind] if user else []) + [shipped(kind)]
