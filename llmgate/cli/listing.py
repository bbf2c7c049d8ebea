"""`llmgate list`: what there is of agents, personas, humans, presets, sources and functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from llmgate.cli import options, stores, tables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmgate.agent.catalogue import AgentEntry, PresetEntry, SourceEntry
    from llmgate.agent.functions.spec import Function
    from llmgate.agent.presets import Text
    from llmgate.config import Settings

_CONFIG = click.option("--config", metavar="FILE", help="Configuration (default: llmgate.toml).")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
# How much of a text a row shows, in characters.
_SHOWN = 60


@click.group("list")
def command() -> None:
    """List agents, personas, humans, presets, sources or functions."""


@command.command("agents")
@_CONFIG
@_JSON
def agents(config: str | None, as_json: bool) -> None:
    """List the agents."""
    import asyncio

    found = asyncio.run(_agents(stores.settings_of(config)))
    if as_json:
        tables.show_json("agents", found)
        return
    tables.show(
        ("name", "preset", "model", "messages", "sources", "last used", ""),
        (
            (
                agent.name,
                agent.preset,
                agent.model or "(as configured)",
                agent.messages,
                agent.sources,
                agent.used_at or agent.created_at,
                agent.problem or ("was interrupted" if agent.pending else ""),
            )
            for agent in found
        ),
    )
    _none(found, "There is no agent yet: `llmgate chat` makes one.")


@command.command("personas")
@_CONFIG
@_JSON
def personas(config: str | None, as_json: bool) -> None:
    """List who an agent can be."""
    _texts("persona", config, as_json)


@command.command("humans")
@_CONFIG
@_JSON
def humans(config: str | None, as_json: bool) -> None:
    """List whom an agent can be told about at its start."""
    _texts("human", config, as_json)


@command.command("presets")
@_CONFIG
@_JSON
def presets(config: str | None, as_json: bool) -> None:
    """List what agents can be made from: a system prompt and functions each."""
    from llmgate.agent import catalogue

    settings = stores.settings_of(config)
    found = catalogue.all_presets(settings.user_folder, _functions(settings))
    if as_json:
        tables.show_json("presets", found)
        return
    tables.show(
        ("name", "what for", "functions", "from", ""),
        (
            (
                preset.name,
                preset.description,
                len(preset.functions) or None,
                preset.source,
                preset.problem or "",
            )
            for preset in found
        ),
    )


@command.command("sources")
@_CONFIG
@_JSON
def sources(config: str | None, as_json: bool) -> None:
    """List the sources that agents can search."""
    import asyncio

    found = asyncio.run(_sources(stores.settings_of(config)))
    if as_json:
        tables.show_json("sources", found)
        return
    tables.show(
        ("name", "passages", "attached to"),
        ((source.name, source.passages, source.agents) for source in found),
    )
    _none(found, "There is no source yet.")


@command.command("functions")
@_CONFIG
@_JSON
def functions(config: str | None, as_json: bool) -> None:
    """List what agents can call, and whether they ask first."""
    from llmgate.agent import catalogue

    settings = stores.settings_of(config)
    known = _functions(settings)
    found = catalogue.functions(
        known,
        catalogue.all_presets(settings.user_folder, known),
        settings.agent.approvals,
    )
    if as_json:
        tables.show_json("functions", found)
        return
    tables.show(
        ("name", "what it does", "approval", "from"),
        (
            (
                entry.name,
                options.shortened(entry.description, _SHOWN),
                "; ".join((entry.approval, *entry.unless)),
                entry.source,
            )
            for entry in found
        ),
    )


def _texts(kind: Text, config: str | None, as_json: bool) -> None:
    from llmgate.agent import catalogue

    found = catalogue.texts(kind, stores.settings_of(config).user_folder)
    if as_json:
        tables.show_json(f"{kind}s", found)
        return
    tables.show(
        ("name", "text", "characters", "from", ""),
        (
            (
                entry.name,
                options.shortened(entry.text, _SHOWN),
                None if entry.problem else entry.characters,
                entry.source,
                entry.problem or "",
            )
            for entry in found
        ),
    )


async def _agents(settings: Settings) -> tuple[AgentEntry, ...]:
    from llmgate.agent import catalogue

    async with stores.records_if_there(settings) as records:
        return () if records is None else await catalogue.agents(records)


async def _sources(settings: Settings) -> tuple[SourceEntry, ...]:
    from llmgate.agent import catalogue

    agents = await _agents(settings)
    async with stores.vectors_if_there(settings) as store:
        return await catalogue.sources(store, agents)


def _functions(settings: Settings) -> dict[str, Function]:
    """All functions; what is wrong with the user's own is said."""
    from llmgate.agent.functions.loading import load

    known, warnings = load(settings.user_folder)
    for warning in warnings:
        options.note_line("skipped", warning)
    return known


def _none(
    found: Iterable[AgentEntry] | Iterable[SourceEntry] | Iterable[PresetEntry], said: str
) -> None:
    if not list(found):
        click.echo(said, err=True)
