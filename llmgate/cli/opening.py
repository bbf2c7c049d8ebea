"""`llmgate open`: the folder where everything is kept."""

from __future__ import annotations

from typing import Literal

import click


@click.command("open")
@click.argument("which", type=click.Choice(["data", "config"]), default="data")
@click.option("--print", "only_print", is_flag=True, help="Only print where it is.")
def command(which: Literal["data", "config"], only_print: bool) -> None:
    """Open the folder with the stores, or with the user's own presets, personas and functions."""
    from llmgate import config as configuration
    from llmgate.errors import ConfigError

    folder = configuration.data_folder() if which == "data" else configuration.user_folder()
    click.echo(folder)
    if only_print:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"can't make {folder}: {error.strerror}.") from error
    if click.launch(str(folder)) != 0:
        click.echo("Nothing here can open folders: go there yourself.", err=True)
