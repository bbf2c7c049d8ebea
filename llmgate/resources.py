"""Finds the files of `templates/` and `grammars/`: the user's first, then the shipped ones.

The shipped folders stand beside the package in a checkout and inside it in a wheel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from llmgate.errors import ConfigError, UnknownName

Kind = Literal["templates", "grammars"]
_SUFFIX: dict[Kind, str] = {"templates": ".jinja", "grammars": ".gbnf"}
_ONE: dict[Kind, str] = {"templates": "wrapper", "grammars": "grammar"}
_PACKAGE = Path(__file__).resolve().parent


def shipped(kind: Kind) -> Path:
    """The folder of that kind that came with llmgate."""
    for folder in (_PACKAGE / kind, _PACKAGE.parent / kind):
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


def read(kind: Kind, name: str, user: Path | None = None) -> str:
    """The text of the named file. Raises `UnknownName` with the known names.

    A name is a plain file stem: anything that could leave the folder is unknown.
    """
    if name and not name.startswith(".") and not set(name) & set("/\\\0"):
        for folder in _folders(kind, user):
            path = folder / f"{name}{_SUFFIX[kind]}"
            if path.is_file():
                try:
                    return path.read_text(encoding="utf-8")
                except (OSError, UnicodeDecodeError) as error:
                    raise ConfigError(f"can't read {path}: {error}.") from error
    raise UnknownName(_ONE[kind], name, names(kind, user))


def _folders(kind: Kind, user: Path | None) -> list[Path]:
    return ([user / kind] if user else []) + [shipped(kind)]
