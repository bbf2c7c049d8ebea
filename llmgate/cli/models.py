"""`llmgate models`: what can be asked for, and where it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from llmgate.cli import options

if TYPE_CHECKING:
    from llmgate.config import ModelSettings


@click.command("models")
@options.models
@click.option("--live", is_flag=True, help="Ask the servers for all the models they have.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    config: str | None, model: str | None, wrapper: str | None, live: bool, as_json: bool
) -> None:
    """List the models, with their aliases and where they run."""
    import asyncio

    import msgspec

    settings = options.settings_of(config, model, wrapper)
    rows = [_row(name, entry) for name, entry in settings.models.items()]
    if live:
        there = asyncio.run(_there(list(settings.models.values())))
        rows = [{**row, "there": names} for row, names in zip(rows, there, strict=True)]
    if as_json:
        click.echo(msgspec.json.encode({"models": rows}).decode())
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        also = f"  (also {', '.join(row['aliases'])})" if row["aliases"] else ""
        places = ", ".join(row["places"])
        click.echo(f"{row['name']:<{width}}  {row['backend']}  {places}  {row['wrapper']}{also}")
        for name in row.get("there", ()):
            click.echo(f"{'':<{width}}    {name}")


def _row(name: str, model: ModelSettings) -> dict[str, Any]:
    from llmgate.config import is_shipped

    own = [model.url] if model.url else []
    places = [*own, *(replica.url for replica in model.replicas)]
    if not places:
        places = ["comes with llmgate" if is_shipped(model) else model.path or "its own address"]
    return {
        "name": name,
        "backend": model.backend,
        "places": places,
        "model": model.model,
        "wrapper": model.wrapper,
        "aliases": list(model.aliases),
        "fallbacks": list(model.fallbacks),
    }


async def _there(models: list[ModelSettings]) -> list[list[str]]:
    """What each model's server lists, or why it does not."""
    import asyncio

    from llmgate.backends import open_backend
    from llmgate.errors import LlmgateError

    async def listed(model: ModelSettings) -> list[str]:
        if model.url is None:
            return []
        backend = open_backend("listed", model)
        try:
            return list(await backend.models())
        except LlmgateError as error:
            return [f"! {error}"]
        finally:
            await backend.aclose()

    return list(await asyncio.gather(*map(listed, models)))
