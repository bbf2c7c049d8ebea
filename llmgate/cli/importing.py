"""`llmgate import`: agents of an old ~/.memgpt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmgate.cli import stores, tables

if TYPE_CHECKING:
    from llmgate.agent import Home
    from llmgate.agent.importing import Copied, Imported, OldHome
    from llmgate.config import Settings

_DEFAULT = "~/.memgpt"


@click.command("import")
@click.argument("folder", default=_DEFAULT)
@click.option("--agent", metavar="NAME", help="Only this one of the agents there.")
@click.option("--all", "all_", is_flag=True, help="All agents there.")
@click.option("--as", "name", metavar="NAME", help="Under another name than its own.")
@click.option("--preset", metavar="NAME", help="With a system prompt and functions of llmgate.")
@click.option("--config", metavar="FILE", help="Configuration (default: llmgate.toml).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    folder: str,
    agent: str | None,
    all_: bool,
    name: str | None,
    preset: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Bring agents over from an old MemGPT, as far as it kept them as JSON.

    FOLDER is that of MemGPT (default: ~/.memgpt) or of one of its agents. Personas, humans,
    presets and system prompts come along. Pickles are never read: what is only in them is listed.
    Nothing there is changed, and importing again changes nothing.
    """
    import asyncio

    from llmgate.agent.importing import find

    if agent is not None and all_:
        raise click.UsageError("--agent and --all can't both be given.")
    old = find(Path(folder).expanduser())
    chosen = _chosen(old, agent, all_)
    if name is not None and len(chosen) != 1:
        raise click.UsageError("--as is for one agent: say which with --agent.")
    failed = asyncio.run(_import(stores.settings_of(config), old, chosen, name, preset, as_json))
    if failed:
        raise click.exceptions.Exit(1)


def _chosen(old: OldHome, agent: str | None, all_: bool) -> list[str]:
    from llmgate.errors import ConfigError

    if agent is not None:
        old.chosen(agent)
        return [agent]
    if len(old.agents) > 1 and not all_:
        raise ConfigError(
            f"{old.folder} has {len(old.agents)} agents: {', '.join(old.agents)}.",
            hint="Choose one with --agent NAME, or take them --all.",
        )
    return list(old.agents)


async def _import(
    settings: Settings,
    old: OldHome,
    chosen: list[str],
    name: str | None,
    preset: str | None,
    as_json: bool,
) -> int:
    """Import and report; how many agents could not be."""
    from llmgate.agent import Home
    from llmgate.agent.importing import copy_texts, store
    from llmgate.errors import LlmgateError

    assert settings.user_folder is not None
    imported: list[Imported] = []
    failed: dict[str, str] = {}
    async with await Home.open(settings) as home:
        copied = (
            () if old.home is None else copy_texts(old.home, settings.user_folder, home.functions)
        )
        sources, unread = await _sources(home, old)
        for each in chosen:
            try:
                done = await store(
                    home, old.agents[each], name=name, preset=preset, sources=sources
                )
            except LlmgateError as error:
                if len(chosen) == 1:
                    raise
                failed[each] = str(error)
            else:
                imported.append(done)
    unread += [f"{path}: of another version, or of a database" for path in old.databases()]
    if as_json:
        _print_json(imported, copied, sources, unread, failed)
    else:
        _print(imported, copied, sources, unread, failed)
    return len(failed)


async def _sources(home: Home, old: OldHome) -> tuple[dict[str, int], list[str]]:
    """The sources that could be brought over with how much of each, and those that could not."""
    from llmgate.agent.importing import store_source
    from llmgate.errors import LlmgateError

    found: dict[str, int] = {}
    unread = []
    for name, folder in old.sources().items():
        try:
            passages = await store_source(home, name, folder)
        except LlmgateError as error:
            unread.append(f"source {name!r}: {error}")
            continue
        if passages is None:
            unread.append(f"source {name!r} ({folder}): only a pickle or a database has it")
        else:
            found[name] = passages
    return found, unread


def _print_json(
    imported: list[Imported],
    copied: tuple[Copied, ...],
    sources: dict[str, int],
    unread: list[str],
    failed: dict[str, str],
) -> None:
    import msgspec

    found = {
        "agents": imported,
        "failed": failed,
        "sources": sources,
        "texts": copied,
        "unread": unread,
    }
    click.echo(msgspec.json.encode(found).decode())


def _print(
    imported: list[Imported],
    copied: tuple[Copied, ...],
    sources: dict[str, int],
    unread: list[str],
    failed: dict[str, str],
) -> None:
    for agent in imported:
        _print_agent(agent)
    for name, why in failed.items():
        click.secho(f"{tables.shown(name)} was not imported: {tables.shown(why)}", fg="red")
    for name, passages in sources.items():
        click.echo(f"source {tables.shown(name)}: {passages} passages")
    for text in copied:
        if text.done != "same":
            why = f": {text.why}" if text.why else ""
            click.echo(tables.shown(f"{text.kind}/{text.name} {_DONE[text.done]}{why}"))
    if unread or any(agent.unread for agent in imported):
        click.echo(
            "Can't be read (reading a pickle runs whatever code is in it, so llmgate does not):"
        )
        for agent in imported:
            for line in agent.unread:
                click.echo(tables.shown(f"  {agent.folder}/{line}"))
        for line in unread:
            click.echo(tables.shown(f"  {line}"))
    if not imported and not failed:
        click.echo("There is no agent there.")


_DONE = {"copied": "was copied", "left": "was not copied"}


def _print_agent(agent: Imported) -> None:
    name = tables.shown(agent.name)
    if agent.again:
        click.echo(f"{name} was imported before: nothing has changed")
        return
    click.secho(name, bold=True, nl=False)
    of = f" of {agent.total}" if agent.total and agent.total > agent.messages else ""
    click.echo(
        f": {agent.messages} messages{of}, {agent.window} of them in its window;"
        f" core memory: {tables.shown(agent.blocks)};"
        f" {len(agent.functions)} functions; {agent.passages} passages"
    )
    for note in agent.notes:
        click.echo(tables.shown(f"  {note}"))
