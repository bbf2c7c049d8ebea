"""Which agent `llmgate chat` wakes, and what its options change about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
import msgspec

from llmgate.agent import Agent, Home
from llmgate.cli.agent.clean import one_line
from llmgate.cli.agent.wrapping import wrapped
from llmgate.errors import RequestError, UnknownModel, UnknownName
from llmgate.types import Message, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmgate.agent import AgentState

COMPRESSED = "memgpt_chat_compressed"
# Presets that are short enough for any window.
_SHORT = (COMPRESSED, "pilot")
# The share of the window that an agent's instructions may take before shorter ones are better.
_SHARE = 0.5
_NAME = "agent"


class Wishes(msgspec.Struct, frozen=True):
    """What the options say of the agent; None is whatever it is."""

    agent: str | None = None
    persona: str | None = None
    human: str | None = None
    preset: str | None = None
    model: str | None = None

    @property
    def of_a_kind(self) -> bool:
        """Whether they say what kind of agent it should be."""
        return any((self.persona, self.human, self.preset))

    def fit(self, state: AgentState) -> bool:
        """Whether an agent was made as they say."""
        wanted = ((self.persona, state.persona), (self.human, state.human))
        return all(wish in (None, made) for wish, made in (*wanted, (self.preset, state.preset)))


async def open_agent(home: Home, wishes: Wishes, *, may_ask: bool) -> Agent:
    """The agent that the options ask for: the last one if they don't say, a new one if need be.

    What a stored agent was made with and the options say otherwise is changed, with a warning.
    Raises what `Agent.open` and `Agent.create` raise.
    """
    names = await home.agents()
    name = wishes.agent if wishes.agent is not None else home.settings.agent.name
    if name is None:
        name = await _which(home, wishes, names, may_ask)
    if name in names:
        agent = await Agent.open(home, name)
        await _know_model(agent)
        await _change(agent, wishes)
        return agent
    if names and may_ask and wishes.agent:
        await _confirm_new(wishes.agent, names)
    return await _create(home, free_name(names) if name is None else name, wishes)


def free_name(names: tuple[str, ...]) -> str:
    """A name that no agent has: `agent`, or with the next number."""
    if _NAME not in names:
        return _NAME
    numbers = [
        int(found[1]) for name in names if (found := re.fullmatch(rf"{_NAME}_(\d{{1,9}})", name))
    ]
    return f"{_NAME}_{max([1, *numbers]) + 1}"


async def _which(home: Home, wishes: Wishes, names: tuple[str, ...], may_ask: bool) -> str | None:
    """The agent to go on with; None for a new one."""
    if wishes.of_a_kind:
        # The one made like that that was used last, so that the same command goes on with it.
        states = [state for name in names if wishes.fit(state := await home.state(name))]
        used = [state for state in states if state.used_at is not None] or states
        return max(used, key=_used_at).name if used else None
    latest = await home.latest()
    if len(names) < 2 or not may_ask:
        return latest
    return await _choose(names, latest)


def _used_at(state: AgentState) -> float:
    return (state.used_at or state.created_at).timestamp()


async def _choose(names: tuple[str, ...], latest: str | None) -> str | None:
    """Ask which; an empty answer is the last one, a new name a new agent."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter

    for name in names:
        click.echo(f"{'*' if name == latest else ' '} {name}")
    session: PromptSession[str] = PromptSession(
        completer=WordCompleter(list(names), WORD=True), complete_while_typing=False
    )
    try:
        given = await session.prompt_async(f"Which agent (Enter for {latest}, or a new name)? ")
    except (KeyboardInterrupt, EOFError):
        raise click.Abort from None
    return given.strip() or latest


async def _confirm_new(name: str, names: tuple[str, ...]) -> None:
    """An unknown name may be a slip of the keyboard."""
    from prompt_toolkit import PromptSession

    hint = str(UnknownName("agent", name, names))
    click.echo(hint)
    session: PromptSession[str] = PromptSession()
    try:
        given = await session.prompt_async(f"Make a new agent {name!r} (y/n)? ")
    except (KeyboardInterrupt, EOFError):
        raise click.Abort from None
    if given.strip().lower() not in ("y", "yes"):
        raise click.Abort


async def _create(home: Home, name: str, wishes: Wishes) -> Agent:
    preset = wishes.preset
    if preset is None:
        preset = await _preset_for(home, wishes.model)
    agent = await Agent.create(
        home,
        name,
        preset=preset,
        persona=wishes.persona,
        human=wishes.human,
        model=wishes.model,
    )
    state = agent.state
    say(f"New agent {name}: preset {state.preset}, persona {state.persona}, human {state.human}.")
    return agent


async def _preset_for(home: Home, model: str | None) -> str:
    """The configured preset, or the short one where it would fill a small window."""
    from llmgate.agent import presets

    settings = home.settings.agent
    if settings.preset in _SHORT:
        return settings.preset
    preset = presets.load(settings.preset, home.settings.user_folder)
    asked = model or settings.model or next(iter(home.gateway.names))
    tools = tuple(
        home.functions[name].tool for name in sorted(preset.functions) if name in home.functions
    )
    measured = await home.gateway.measure(
        Request(asked, (Message("system", preset.text), Message("user", "")), tools)
    )
    window = min(filter(None, (settings.window, measured.context)), default=None)
    if window is None or measured.tokens + settings.reply_tokens <= _SHARE * window:
        return settings.preset
    say(
        f"The preset {settings.preset} would take {measured.tokens:,} of the {window:,} tokens "
        f"that {asked} can read: the new agent gets the short one, {COMPRESSED}. --preset chooses."
    )
    return COMPRESSED


async def _know_model(agent: Agent) -> None:
    """Have an agent think with the configured model if its own is not configured any more."""
    model = agent.state.model
    try:
        agent.home.gateway.check(agent.model)
    except UnknownModel:
        if model is None:
            raise
        await agent.set_model(None)
        say(
            f"Warning: {agent.name} thought with {model}, which is not configured now; "
            f"{agent.model} takes its place."
        )


async def _change(agent: Agent, wishes: Wishes) -> None:
    """Do to a stored agent what the options say, and say so."""
    from llmgate.agent import presets
    from llmgate.memory.core import USER

    state, user = agent.state, agent.home.settings.user_folder
    if wishes.preset not in (None, state.preset):
        raise RequestError(
            f"the agent {agent.name!r} was made with the preset {state.preset!r}, which can't be "
            "changed.",
            hint="Make a new one with --agent NEWNAME.",
        )
    read: dict[str, Callable[..., str]] = {"persona": presets.persona, "human": presets.human}
    for label, wish, made in (
        ("persona", wishes.persona, state.persona),
        ("human", wishes.human, state.human),
    ):
        if wish is None or wish == made:
            continue
        await agent.core.rewrite(label, read[label](wish, user), by=USER)
        say(
            f"Warning: {agent.name} was made with the {label} {made!r}, --{label} put {wish!r} in "
            f"its place. /memory undo {label} takes that back."
        )
    if wishes.model is not None and wishes.model != agent.model:
        before = agent.model
        await agent.set_model(wishes.model)
        say(f"Warning: {agent.name} thought with {before}, --model makes it {wishes.model}.")


def say(text: str) -> None:
    """A line of the program itself, on standard error."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    shown = one_line(text)
    console.out(wrapped(shown, console.width) if console.is_terminal else shown, style="dim")
