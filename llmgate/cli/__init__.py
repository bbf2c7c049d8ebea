"""The `llmgate` program. One file a command; what is heavy is imported inside the commands."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import click

from llmgate import __version__
from llmgate.errors import ConfigError, LlmgateError, suggestion

# What the system says of a stream that takes no more: a full disk, a device that is gone.
_UNWRITABLE = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EBADF, errno.EFBIG)
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

    def main(self, *args: Any, **options: Any) -> Any:
        with _streams():
            try:
                return super().main(*args, **options)
            except OSError as error:
                if error.errno not in _UNWRITABLE:
                    raise
                _forget_output()
                click.echo(f"llmgate: can't write the output: {error.strerror}.", err=True)
                sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except LlmgateError as error:
            click.echo(f"llmgate: {error}", err=True)
            ctx.exit(2 if isinstance(error, ConfigError) else 1)


@contextmanager
def _streams() -> Iterator[None]:
    """Standard streams that whoever started us has closed lead nowhere, and are no error."""
    with ExitStack() as opened:
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:
                stream = opened.enter_context(open(os.devnull, mode, encoding="utf-8"))
                setattr(sys, name, stream)
                opened.callback(setattr, sys, name, None)
        yield


def _forget_output() -> None:
    """What could not be written is not tried again when Python ends."""
    with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="llmgate")
def main() -> None:
    """Local language models behind the OpenAI API, with tool calls that are always valid."""
