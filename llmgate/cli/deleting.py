"""`llmgate delete`: an agent, a persona, a human or a source goes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from llmgate.cli import stores

if TYPE_CHECKING:
    from llmgate.agent import Home
    from llmgate.agent.presets import Text

_CONFIG = click.option("--config", metavar="FILE", help="Configuration (default: llmgate.toml).")
_YES = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@click.group("delete")
def command() -> None:
    """Delete an agent, a persona, a human or a source, for good.

    No copy is kept: `llmgate storage backup` makes one before.
    """


@command.command("agent")
@click.argument("name")
@_YES
@_CONFIG
def agent(name: str, yes: bool, config: str | None) -> None:
    """Delete an agent with all that was said and all that it remembers."""
    import asyncio

    asyncio.run(_agent(name, yes, config))


@command.command("persona")
@click.argument("name")
@_YES
@_CONFIG
def persona(name: str, yes: bool, config: str | None) -> None:
    """Delete a persona of your own; agents keep what they have of it."""
    _text("persona", name, yes, config)


@command.command("human")
@click.argument("name")
@_YES
@_CONFIG
def human(name: str, yes: bool, config: str | None) -> None:
    """Delete a human of your own; agents keep what they have of it."""
    _text("human", name, yes, config)


@command.command("source")
@click.argument("name")
@_YES
@_CONFIG
def source(name: str, yes: bool, config: str | None) -> None:
    """Delete a source with its passages; agents search it no longer."""
    import asyncio

    asyncio.run(_source(name, yes, config))


async def _agent(name: str, yes: bool, config: str | None) -> None:
    from llmgate.agent import catalogue
    from llmgate.errors import UnknownAgent

    async with stores.home_if_there(stores.settings_of(config)) as home:
        known = {} if home is None else {a.name: a for a in await catalogue.agents(home.records)}
        if home is None or name not in known:
            raise UnknownAgent(name, known)
        async with await home.open_collection(f"agent/{name}") as own:
            passages = await own.size()
        _agree(
            f"The agent {name!r}: {_count(known[name].messages, 'message')}, its core memory, and"
            f" {_count(passages, 'passage')} of archival memory.",
            yes,
        )
        await home.delete(name)
    click.echo(f"deleted the agent {name!r}")


async def _source(name: str, yes: bool, config: str | None) -> None:
    from llmgate.agent import catalogue
    from llmgate.errors import UnknownName

    settings = stores.settings_of(config)
    async with (
        stores.home_if_there(settings) as home,
        stores.vectors_if_there(settings) as store,
    ):
        agents = () if home is None else await catalogue.agents(home.records)
        found = {entry.name: entry for entry in await catalogue.sources(store, agents)}
        if name not in found:
            raise UnknownName("source", name, found)
        entry = found[name]
        users = f" {', '.join(entry.agents)} will search it no longer." if entry.agents else ""
        _agree(f"The source {name!r}: {_count(entry.passages, 'passage')}.{users}", yes)
        for user in entry.agents:
            assert home is not None
            await _detach(home, user, name)
        if store is not None:
            await store.drop(catalogue.collection_of(name))
    click.echo(f"deleted the source {name!r}")


async def _detach(home: Home, name: str, source: str) -> None:
    from llmgate.agent import Agent

    agent = await Agent.open(home, name)
    try:
        await agent.detach(source)
    finally:
        await agent.aclose()


def _text(kind: Text, name: str, yes: bool, config: str | None) -> None:
    from llmgate.agent import texts

    user = stores.settings_of(config).user_folder
    assert user is not None
    path = texts.own(kind, name, user)
    _agree(f"The {kind} {name!r}: {path}.", yes)
    texts.delete(path)
    click.echo(f"deleted the {kind} {name!r}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _agree(what: str, yes: bool) -> None:
    """Say what goes, and ask."""
    click.echo(what, err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked here: say --yes.")
    click.confirm("Delete it for good?", abort=True, err=True)
