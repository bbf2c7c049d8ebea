"""`llmgate repair`: malformed JSON → JSON."""

from __future__ import annotations

import sys

import click

from llmgate.cli import options


@click.command("repair")
def command() -> None:
    """Read malformed JSON, print it mended.

    The text comes on standard input; repairs are listed on standard error. Exits with 1 when
    nothing can be saved.
    """
    import json

    from llmgate import repair

    found = repair.loads(sys.stdin.buffer.read().decode("utf-8", "replace"))
    click.echo(json.dumps(found.value, ensure_ascii=False))
    for note in found.notes:
        options.note_line(note.code, note.message)
