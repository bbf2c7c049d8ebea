"""`llmgate add`: a persona or a human of one's own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

import click

from llmgate.cli import options, stores

if TYPE_CHECKING:
    from llmgate.agent.presets import Text


@click.command("add")
@click.argument("kind", type=click.Choice(["persona", "human"]))
@click.option("--name", required=True, metavar="NAME", help="What it is called from now on.")
@click.option("--text", metavar="TEXT", help="The text itself.")
@click.option("-f", "--file", metavar="FILE", help="A file with the text; - is standard input.")
@click.option("--force", is_flag=True, help="Write over one of that name.")
@click.option("--config", metavar="FILE", help="Configuration (default: llmgate.toml).")
def command(
    kind: Literal["persona", "human"],
    name: str,
    text: str | None,
    file: str | None,
    force: bool,
    config: str | None,
) -> None:
    """Add a persona (who an agent is) or a human (whom it talks to).

    \b
        llmgate add persona --name iris --text "My name is Iris. I love birds."
        llmgate add human --name me -f me.txt
    """
    from llmgate.agent import texts

    if text is not None and file is not None:
        raise click.UsageError("--text and --file can't both be given.")
    if text is None:
        text = _read(kind, file)
    settings = stores.settings_of(config)
    assert settings.user_folder is not None
    path, covers = texts.add(kind, name, text, settings.user_folder, force=force)
    click.echo(f"{kind} {name!r}: {path}")
    if covers:
        click.echo(f"It is used in place of the {kind} of that name in llmgate.", err=True)


def _read(kind: Text, file: str | None) -> str:
    from llmgate.errors import ConfigError

    if file is None:
        if sys.stdin.isatty():
            raise click.UsageError(f"What does the {kind} say? Give --text or --file.")
        file = "-"
    try:
        return options.read(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8: {error}.") from error
