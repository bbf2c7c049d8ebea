"""`llmgate grammar`: a JSON Schema as GBNF."""

from __future__ import annotations

import click

from llmgate.cli import options


@click.command("grammar")
@click.argument("schema", metavar="SCHEMA.JSON")
def command(schema: str) -> None:
    """Print the GBNF grammar of a JSON Schema.

    - reads standard input. What the grammar can't hold is listed on standard error.
    """
    import json

    from llmgate import grammar
    from llmgate.errors import RequestError

    try:
        value = json.loads(options.read(schema))
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{schema} is not valid JSON: {error}.") from error
    made = grammar.compile(value)
    click.echo(made.text, nl=not made.text.endswith("\n"))
    for relaxed in made.relaxed:
        options.note_line("relaxed", f"{relaxed.path}: {relaxed.keyword}: {relaxed.why}")
