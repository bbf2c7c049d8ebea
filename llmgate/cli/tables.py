"""Lists of things: a table on a terminal, aligned columns in a pipe, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click


def show(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under the names of their columns, if there is any row."""
    texts = [[shown(value) for value in row] for row in rows]
    if not texts:
        return
    if sys.stdout.isatty():
        _table(columns, texts)
        return
    widths = [max(len(row[number]) for row in (columns, *texts)) for number in range(len(columns))]
    for row in (columns, *texts):
        line = "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def show_json(name: str, values: Iterable[Any]) -> None:
    """Print one JSON object with all of them under that name."""
    import msgspec

    click.echo(msgspec.json.encode({name: list(values)}).decode())


def shown(value: object) -> str:
    """A value as a person reads it, with nothing in it that a terminal would act on."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M")
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(value))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # As text: what stands between brackets is no markup.
        table.add_row(*map(Text, row))
    Console().print(table)
