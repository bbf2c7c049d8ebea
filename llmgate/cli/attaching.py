"""`llmgate attach`: an agent may search a source."""

from __future__ import annotations

import click

from llmgate.cli import stores


@click.command("attach")
@click.option("--agent", required=True, metavar="NAME", help="The agent.")
@click.option(
    "--source", "--data-source", required=True, metavar="NAME", help="The source (llmgate list)."
)
@click.option("--detach", is_flag=True, help="Take the source from the agent again.")
@click.option("--config", metavar="FILE", help="Configuration (default: llmgate.toml).")
def command(agent: str, source: str, detach: bool, config: str | None) -> None:
    """Let the archival memory of an agent search a source too."""
    import asyncio

    click.echo(asyncio.run(_attach(agent, source, detach, config)))


async def _attach(name: str, source: str, detach: bool, config: str | None) -> str:
    from llmgate.agent import Agent
    from llmgate.errors import UnknownAgent, UnknownName

    async with stores.home_if_there(stores.settings_of(config)) as home:
        if home is None:
            raise UnknownAgent(name, ())
        agent = await Agent.open(home, name)
        try:
            had = agent.state.sources
            if detach:
                if source not in had:
                    raise UnknownName("source", source, had, where=f" of the agent {name!r}")
                await agent.detach(source)
                return f"{name} no longer searches {source}"
            if source not in (known := await home.sources()):
                raise UnknownName("source", source, known)
            await agent.attach(source)
            return f"{name} {'already searched' if source in had else 'now searches'} {source}"
        finally:
            await agent.aclose()
