"""Names of replaceable parts → the code behind them, imported at first use.

A table maps a name to `"module:attribute"`. Other packages add names through entry points
of the group `llmgate.<kind>s` (say `llmgate.backends`), or of the group that the table's owner
names; a shipped name can't be replaced.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from llmgate.errors import UnknownName


def names(kind: str, table: Mapping[str, str], group: str | None = None) -> list[str]:
    """All names of that kind, shipped and from entry points, sorted."""
    return sorted({*table, *_entry_points(group or f"llmgate.{kind}s")})


def find(kind: str, name: str, table: Mapping[str, str], group: str | None = None) -> Any:
    """The object behind `name`. Raises `UnknownName` with the known names."""
    if target := table.get(name):
        module, _, attribute = target.partition(":")
        return getattr(importlib.import_module(module), attribute)
    if entry := _entry_points(group or f"llmgate.{kind}s").get(name):
        return entry.load()
    raise UnknownName(kind, name, names(kind, table, group))


def _entry_points(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}
