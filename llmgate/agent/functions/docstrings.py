"""Docstrings in Google's style: what a function does in short, and what each name in it means."""

from __future__ import annotations

import inspect
import re

import msgspec

_SECTION = re.compile(r"(?P<name>[A-Z][A-Za-z ]{2,30}):\s*$")
_ENTRY = re.compile(r"\*{0,2}(?P<name>\w+)\s*(?:\([^()]*(?:\([^()]*\)[^()]*)*\))?\s*:(?P<text>.*)$")
_LISTS = frozenset({"args", "arguments", "parameters", "params", "attributes", "fields"})


class Docstring(msgspec.Struct, frozen=True):
    """A docstring taken apart; `entries` are those of its lists of arguments or attributes."""

    summary: str
    entries: dict[str, str]


def parse(text: str | None) -> Docstring:
    """Take a docstring apart: its first paragraph, and the entries of `Args:` or `Attributes:`."""
    lines = inspect.cleandoc(text or "").splitlines()
    summary: list[str] = []
    for line in lines:
        if not line.strip() or _SECTION.match(line):
            break
        summary.append(line.strip())
    entries: dict[str, str] = {}
    inside = False
    block: list[str] = []
    for line in [*lines, "End:"]:
        if (section := _SECTION.match(line)) is not None:
            entries |= _entries(block)
            block = []
            inside = section["name"].lower() in _LISTS
        elif inside and line.strip() and not line[0].isspace():
            inside = False
        elif inside:
            block.append(line)
    return Docstring(" ".join(summary), entries)


def _entries(block: list[str]) -> dict[str, str]:
    """The entries of one list: the least indented lines begin them, deeper ones go on."""
    found: dict[str, list[str]] = {}
    indents = [len(line) - len(line.lstrip()) for line in block if line.strip()]
    least = min(indents, default=0)
    name = ""
    for line in block:
        if not line.strip():
            continue
        entry = _ENTRY.match(line.strip()) if len(line) - len(line.lstrip()) == least else None
        if entry is not None:
            name = entry["name"]
            found[name] = [entry["text"].strip()]
        elif name:
            found[name].append(line.strip())
    return {name: " ".join(filter(None, texts)) for name, texts in found.items()}
