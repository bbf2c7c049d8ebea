"""`llmgate chat`: an agent in the terminal, or a plain conversation with a model."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmgate.cli import options
from llmgate.errors import ConfigError, UnknownModel, UnknownName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmgate.cli.agent.opening import Wishes
    from llmgate.config import ModelSettings, Settings


@click.command("chat")
@click.option("--agent", metavar="NAME", help="The agent; a new one if there is none yet.")
@click.option("--persona", metavar="NAME", help="Who the agent is (llmgate list personas).")
@click.option("--human", metavar="NAME", help="Whom it talks with (llmgate list humans).")
@click.option("--preset", metavar="NAME", help="What it is told and can do (llmgate list presets).")
@click.option("--config", metavar="FILE", help="Configuration (default: llmgate.toml).")
@click.option("--model", metavar="NAME|FILE", help="A configured model, or a GGUF file.")
@click.option("--wrapper", metavar="NAME", help="Prompt format, for every model.")
@click.option("--first", is_flag=True, help="You say the first words, not a new agent.")
@click.option("--no-verify", is_flag=True, help="A new agent may begin in any way it likes.")
@click.option("--debug", is_flag=True, help="Show everything in full.")
@click.option("--yes", "-y", is_flag=True, help="Begin without a question.")
@click.option("--json", is_flag=True, help="One JSON object for each step of the agent.")
@click.option("--no-agent", is_flag=True, help="Talk with the model itself: no memory, no tools.")
@click.option("--system", metavar="TEXT", help="The system message, with --no-agent.")
def command(
    agent: str | None,
    persona: str | None,
    human: str | None,
    preset: str | None,
    config: str | None,
    model: str | None,
    wrapper: str | None,
    first: bool,
    no_verify: bool,
    debug: bool,
    yes: bool,
    json: bool,
    no_agent: bool,
    system: str | None,
) -> None:
    """Chat in the terminal with an agent that remembers.

    It goes on with the agent that was used last, and makes one if there is none. With a pipe for
    standard input, each line is a message. /help lists the commands.
    """
    import asyncio
    import logging

    for stream in (sys.stdout, sys.stderr):
        # What a terminal has no letters for is no reason to end.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    settings, chosen = settings_of(config, model, wrapper, alone=no_agent)
    logging.basicConfig(
        format="llmgate: %(levelname)s: %(message)s",
        level=logging.DEBUG if debug else logging.WARNING,
    )
    if not debug:
        # Failures of models are told where they are asked.
        logging.getLogger("llmgate.gateway").setLevel(logging.ERROR)
    else:
        # What the libraries beneath have to say is about themselves.
        for name in ("asyncio", "httpcore", "httpx"):
            logging.getLogger(name).setLevel(logging.WARNING)
    if no_agent:
        _refuse(
            "--no-agent",
            agent=agent, persona=persona, human=human, preset=preset, first=first,
            no_verify=no_verify, json=json,
        )  # fmt: skip
        if warning := options.pilot_warning(settings):
            click.secho(warning, dim=True, err=True)
        from llmgate.cli.conversation import Chat
        from llmgate.cli.terminal import Terminal

        chat = Chat(settings, system)
        if chosen is not None:
            chat.use_model(chosen)
        asyncio.run(Terminal(chat, settings.user_folder).run())
        return
    if system is not None:
        raise ConfigError(
            "--system is for --no-agent.", hint="An agent's system message is in its --preset."
        )
    from llmgate.cli.agent.opening import Wishes

    wishes = Wishes(agent, persona, human, preset, chosen)
    went_well = asyncio.run(
        _converse(settings, wishes, first=first, verify=not no_verify, debug=debug, yes=yes,
                  json=json)
    )  # fmt: skip
    if not went_well:
        raise SystemExit(1)


def settings_of(
    config: str | None, model: str | None, wrapper: str | None, *, alone: bool
) -> tuple[Settings, str | None]:
    """The settings, and which of their models was asked for: by its name, or as a file.

    A file stands `alone`, or before the configured models, which an agent may need too. Raises
    `UnknownName` for what is neither.
    """
    import msgspec

    if model is None:
        return options.settings_of(config, None, wrapper), None
    path = Path(model).expanduser()
    is_file = path.suffix.lower() == ".gguf" or path.is_file()
    from llmgate import config as configuration

    configured = configuration.load(Path(config) if config else None)
    known = configured.models
    exact = model in known or any(model in entry.aliases for entry in known.values())
    if is_file and not exact:
        settings = options.settings_of(config, model, wrapper)
        chosen = next(iter(settings.models))
        if not alone and configured.source is not None:
            others = {name: entry for name, entry in known.items() if name != chosen}
            settings = msgspec.structs.replace(settings, models={**settings.models, **others})
        return settings, chosen
    settings = options.settings_of(config, None, wrapper)
    name = _behind(model, settings.models)
    if name is None:
        raise UnknownName("model", model, settings.models, where=" (and there is no such file)")
    # An agent keeps the name that was given, in case it will stand for another model.
    return settings, name if alone and "*" not in name else model


def _behind(model: str, configured: Mapping[str, ModelSettings]) -> str | None:
    """The configured model that a name, an alias or a pattern stands for."""
    from llmgate.gateway.routing import Router

    router: Router[str] = Router()
    for name, entry in configured.items():
        for known in (name, *entry.aliases):
            # The gateway refuses what stands for two, and says where it is.
            if known.strip() and known not in router:
                router.add(known, name)
    try:
        return router.find(model)[0]
    except UnknownModel:
        return None


async def _converse(
    settings: Settings,
    wishes: Wishes,
    *,
    first: bool,
    verify: bool,
    debug: bool,
    yes: bool,
    json: bool,
) -> bool:
    import msgspec

    from llmgate.agent import Home
    from llmgate.cli.agent.opening import open_agent, say
    from llmgate.cli.agent.session import converse

    if not verify:
        table = msgspec.structs.replace(settings.agent, first_message=False)
        settings = msgspec.structs.replace(settings, agent=table)
    interactive = sys.stdin.isatty() and sys.stdout.isatty() and not json
    async with await Home.open(settings) as home:
        for warning in home.warnings:
            say(f"Warning: {warning}")
        agent = await open_agent(home, wishes, may_ask=interactive and not yes)
        if entry := settings.models.get(agent.model):
            used = msgspec.structs.replace(settings, models={agent.model: entry})
            for line in (options.pilot_warning(used) or "").splitlines():
                say(line)
            if options.pilot_warning(used):
                say(
                    "As an agent it writes down a name or a place that it is told, and garbles "
                    "most other things. With --no-agent it chats, which it does better."
                )
        try:
            return await converse(
                agent,
                first=first,
                json=json,
                debug=debug,
                interactive=interactive,
                folder=settings.user_folder,
            )
        finally:
            await agent.aclose()


def _refuse(because: str, **given: object) -> None:
    """Refuse options that mean nothing together with another one."""
    for name, value in given.items():
        if value:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option} means nothing with {because}.", hint="Leave one out.")
