"""The `llmgate` program. One file a command; what is heavy is imported inside the commands."""

from __future__ import annotations

import importlib
from typing import Any

import click

from llmgate import __version__
from llmgate.errors import ConfigError, LlmgateError, suggestion

# A command's name → the file that it is in.
COMMANDS = {
    "serve": "serve",
    "chat": "chat",
    "doctor": "doctor",
    "configure": "configure",
    "models": "models",
    "batch": "batch",
    "bench": "bench",
    "wrappers": "wrappers",
    "render": "render",
    "parse": "parse",
    "grammar": "grammar",
    "repair": "repair",
    "storage": "storage",
    "list": "listing",
    "add": "adding",
    "delete": "deleting",
    "attach": "attaching",
    "import": "importing",
    "cache": "cache",
    "open": "opening",
    "version": "version",
}


class Program(click.Group):
    """Imports a command when it is asked for, and turns our errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if (module := COMMANDS.get(name)) is None:
            return None
        command: click.Command = importlib.import_module(f"llmgate.cli.{module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            ctx.fail(f"No such command {args[0]!r}. {suggestion(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LlmgateError as error:
            click.echo(f"llmgate: {error}", err=True)
            ctx.exit(2 if isinstance(error, ConfigError) else 1)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="llmgate")
def main() -> None:
    """Local language models behind the OpenAI API, with tool calls that are always valid."""
