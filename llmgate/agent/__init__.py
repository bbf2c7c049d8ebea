"""An agent with tiered memory: it thinks with any model of the gateway, and forgets nothing.

async with await Home.open(settings) as home:
    agent = await Agent.create(home, "ann", blocks={"human": "He is called Bo."})
    async for step in agent.run(UserMessage("Hello!")):
        print(step.said)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmgate.agent.agent import Agent
    from llmgate.agent.events import Alert, Event, Heartbeat, Login, UserMessage
    from llmgate.agent.home import Home
    from llmgate.agent.state import AgentState, Pending
    from llmgate.agent.steps import Step
    from llmgate.agent.watch import Watch

__all__ = [
    "Agent",
    "AgentState",
    "Alert",
    "Event",
    "Heartbeat",
    "Home",
    "Login",
    "Pending",
    "Step",
    "UserMessage",
    "Watch",
]

_MODULES = {
    "Agent": "agent",
    "AgentState": "state",
    "Alert": "events",
    "Event": "events",
    "Heartbeat": "events",
    "Home": "home",
    "Login": "events",
    "Pending": "state",
    "Step": "steps",
    "UserMessage": "events",
    "Watch": "watch",
}


def __getattr__(name: str) -> Any:
    # At first use: functions import parts of this package without the loop that calls them.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
