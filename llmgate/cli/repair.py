"""`llmgate repair`: malformed JSON → JSON."""

from __future__ import annotations

import sys

import click

from llmgate.cli import options


@click.command("repair")
@click.option("--schema", metavar="FILE", help="The JSON Schema of what was meant.")
def command(schema: str | None) -> None:
    """Read malformed JSON, print it mended.

    The text comes on standard input; repairs are listed on standard error. Exits with 1 when
    nothing can be saved.
    """
    import json

    from llmgate import repair
    from llmgate.errors import RequestError

    hints = None
    if schema is not None:
        try:
            hints = json.loads(options.read(schema))
        except (ValueError, RecursionError) as error:
            raise RequestError(f"{schema} is not valid JSON: {error}.") from error
        if not isinstance(hints, dict | bool):
            raise RequestError(f"{schema} is no JSON Schema: it has to be an object.")
    text = sys.stdin.buffer.read().decode("utf-8", "replace")
    found = repair.loads(text, schema=hints, max_depth=repair.MAX_DEPTH)
    click.echo(json.dumps(found.value, ensure_ascii=False))
    for note in found.notes:
        options.note_line(note.code, note.message)
