"""Personas, humans, presets and system prompts of an old MemGPT → the user's folder."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

import msgspec

from llmgate import resources
from llmgate.agent import presets, texts
from llmgate.errors import LlmgateError

# System prompts come before the presets that name them.
_TEXTS: tuple[resources.Kind, ...] = ("personas", "humans", "system_prompts")


class Copied(msgspec.Struct, frozen=True):
    """What became of one file: it was copied, was there already, or was left where it is."""

    kind: str
    name: str
    done: Literal["copied", "same", "left"]
    why: str = ""


def copy_texts(home: Path, user: Path, functions: Collection[str]) -> tuple[Copied, ...]:
    """Copy what is new; nothing of the user's is written over, and no code is copied.

    `functions` are the known ones, which a preset may name.
    """
    found = [_copied(kind, path, user) for kind in _TEXTS for path in _files(home / kind, "*.txt")]
    for path in _files(home / "presets", "*.yaml", "*.yml"):
        copied = _copied("presets", path, user)
        if copied.done == "copied":
            copied = _tried(copied, user, functions)
        found.append(copied)
    found += [
        Copied("functions", path.stem, "left", "it is code: read it, then copy it yourself")
        for path in _files(home / "functions", "*.py")
    ]
    return tuple(found)


def _copied(kind: resources.Kind, path: Path, user: Path) -> Copied:
    name = path.stem
    target = resources.path_in(user, kind, name)
    try:
        text = path.read_text(encoding="utf-8-sig")
        if target.exists():
            same = target.read_text(encoding="utf-8").strip() == text.strip()
            why = "" if same else f"there is another one: {target}"
            return Copied(kind, name, "same" if same else "left", why)
        if kind == "personas":
            presets.check("persona", text.strip(), name)
        elif kind == "humans":
            presets.check("human", text.strip(), name)
        if not text.strip():
            return Copied(kind, name, "left", "it is empty")
        texts.write(target, text)
    except (OSError, UnicodeDecodeError, LlmgateError) as error:
        return Copied(kind, name, "left", str(error))
    return Copied(kind, name, "copied")


def _tried(copied: Copied, user: Path, functions: Collection[str]) -> Copied:
    """A preset that can't be used is taken away again."""
    try:
        presets.load(copied.name, user, functions)
    except LlmgateError as error:
        texts.delete(resources.path_in(user, "presets", copied.name))
        return Copied(copied.kind, copied.name, "left", str(error))
    return copied


def _files(folder: Path, *patterns: str) -> list[Path]:
    return sorted(
        path
        for pattern in patterns
        for path in (folder.glob(pattern) if folder.is_dir() else ())
        if path.is_file() and not path.name.startswith(("_", "."))
    )
