"""What Tab completes: commands, and what may stand behind them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmgate.cli.agent.commands import COMMANDS

if TYPE_CHECKING:
    from llmgate.agent import Agent
    from llmgate.cli.agent.editor import Choice, Complete

_MEMORY = {
    "edit": "write a block yourself",
    "set": "put a text in its place",
    "log": "what was changed, by whom",
    "diff": "the last change",
    "undo": "take the last change back",
}
_RULES = {
    "allow": "from now on",
    "deny": "from now on",
    "ask": "each time",
    "forget": "what was answered",
}


def completing(agent: Agent) -> Complete:
    """The completion of lines to this agent."""

    async def complete(line: str) -> tuple[int, Iterable[Choice]]:
        if not line.startswith("/") or "\n" in line:
            return 0, ()
        words = line.split(" ")
        typed = words[-1]
        if len(words) == 1:
            found: Iterable[Choice] = ((name, said.meaning) for name, said in COMMANDS.items())
        else:
            found = await _behind(agent, words[0], [word for word in words[1:-1] if word])
        return len(typed), [choice for choice in found if choice[0].startswith(typed)]

    return complete


async def _behind(agent: Agent, command: str, words: list[str]) -> Iterable[Choice]:
    match command, words:
        case "/memory", []:
            return [*_MEMORY.items(), *((label, "show the block") for label in agent.core.ids)]
        case "/memory", [verb] if verb in _MEMORY:
            return [(label, "") for label in agent.core.ids]
        case "/model", []:
            return [(name, "") for name in agent.home.gateway.names]
        case "/attach", []:
            attached = agent.state.sources
            return [
                (f"-{name}", "attached") if name in attached else (name, "")
                for name in await agent.home.sources()
            ]
        case "/approve", []:
            return [(name, "") for name in agent.state.functions]
        case "/approve", [_]:
            return _RULES.items()
    return ()
