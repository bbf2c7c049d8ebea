"""The `llmgate` program. One file a command; what is heavy is imported inside the commands."""

from __future__ import annotations

import importlib
from typing import Any

import click

from llmgate import __version__
from llmgate.errors import ConfigError, LlmgateError, suggestion

COMMANDS = (
    "serve",
    "chat",
    "doctor",
    "configure",
    "models",
    "batch",
    "bench",
    "wrappers",
    "render",
    "parse",
    "grammar",
    "repair",
    "storage",
)


class Program(click.Group):
    """Imports a command when it is asked for, and turns our errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"llmgate.cli.{name}").command
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
