"""`llmgate chat`: a conversation in the terminal, over the gateway in process."""

from __future__ import annotations

import click

from llmgate.cli import options


@click.command("chat")
@options.models
@click.option("--system", metavar="TEXT", help="The system message.")
def command(config: str | None, model: str | None, wrapper: str | None, system: str | None) -> None:
    """Chat with a model in the terminal."""
    import asyncio
    import logging

    from llmgate.cli.conversation import Chat
    from llmgate.cli.terminal import Terminal

    settings = options.settings_of(config, model, wrapper)
    logging.basicConfig(format="llmgate: %(levelname)s: %(message)s", level=logging.WARNING)
    if warning := options.pilot_warning(settings):
        click.secho(warning, dim=True, err=True)
    asyncio.run(Terminal(Chat(settings, system), settings.user_folder).run())
