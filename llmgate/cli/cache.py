"""`llmgate cache`: why a server reads a prompt again that it has read before."""

from __future__ import annotations

import click


@click.group("cache")
def command() -> None:
    """Find out why a server reads prompts again."""


@command.command("explain")
@click.argument("prompts", nargs=-1, metavar="[BEFORE AFTER]")
def explain(prompts: tuple[str, ...]) -> None:
    """Name the first token in which two turns' prompts differ, what caused it, and its cost."""
