"""`llmgate grammar`: a JSON Schema as GBNF, and texts checked against a grammar."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from llmgate.cli import options

_SHOWN = 8


@click.command("grammar")
@click.argument("schema", metavar="[SCHEMA.JSON]", required=False)
@click.option("--relaxed", is_flag=True, help="List only what the grammar can't hold.")
@click.option(
    "--check",
    "checked",
    metavar="GRAMMAR",
    help="Check standard input against a .gbnf file, or a grammar known by its name.",
)
@click.option("--config", metavar="FILE", help="Configuration (default: llmgate.toml).")
def command(schema: str | None, relaxed: bool, checked: str | None, config: str | None) -> None:
    """Print the GBNF grammar of a JSON Schema, or check a text.

    - reads the schema from standard input. What the grammar can't hold is listed on standard
    error. With --check the exit code says whether the text matches, and a line where it stops
    to match.
    """
    if checked is not None:
        if schema is not None or relaxed:
            raise click.UsageError("--check reads standard input: there is no schema beside it.")
        _check(checked, config)
    elif schema is None:
        raise click.UsageError("Missing a schema, or --check GRAMMAR.")
    else:
        _compile(schema, relaxed)


def _compile(schema: str, relaxed: bool) -> None:
    import json

    from llmgate import grammar
    from llmgate.errors import RequestError

    try:
        value = json.loads(options.read(schema))
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{schema} is not valid JSON: {error}.") from error
    made = grammar.compile(value)
    if relaxed:
        for entry in made.relaxed:
            click.echo(f"{entry.path}: {entry.keyword}: {entry.why}")
        return
    click.echo(made.text, nl=not made.text.endswith("\n"))
    for entry in made.relaxed:
        options.note_line("relaxed", f"{entry.path}: {entry.keyword}: {entry.why}")


def _check(name: str, config: str | None) -> None:
    from llmgate import grammar
    from llmgate.errors import ConfigError, GrammarError, RequestError

    try:
        matcher = grammar.Matcher(_grammar(name, config))
    except GrammarError as error:
        raise ConfigError(error.message, hint=error.hint) from error
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"the text is not UTF-8: {error}.") from error
    found = matcher.mismatch(text)
    # A file ends in a line break that is hardly ever meant.
    if found is not None and text.endswith("\n") and matcher.matches(text[:-1]):
        found = None
    if found is None:
        click.echo(f"the text matches {name}.")
        return
    line, column = text.count("\n", 0, found.at) + 1, found.at - text.rfind("\n", 0, found.at)
    there = repr(text[found.at]) if found.at < len(text) else "the text ends"
    more = len(found.expected) - _SHOWN
    expected = ", ".join(found.expected[:_SHOWN]) + (f" or {more} more" if more > 0 else "")
    click.echo(f"line {line}, column {column}: {there} where {expected} was expected.")
    raise SystemExit(1)


def _grammar(name: str, config: str | None) -> str:
    """The text of a grammar: of a file, or of the one with that name."""
    from llmgate import config as configuration
    from llmgate import grammar
    from llmgate.errors import ConfigError

    path = Path(name)
    if path.suffix == ".gbnf" or path.is_file():
        try:
            return options.read(name).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{name} is not UTF-8: {error}.") from error
    user = configuration.load(Path(config) if config else None).user_folder
    return grammar.load(name, user).text
