"""What is kept of an agent beside its messages and memory: one document, put by version."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from llmgate.agent.runner import Runner
from llmgate.agent.steps import Next
from llmgate.types import Note, ToolCall, Usage

SCHEMA = 1


class Pending(msgspec.Struct, frozen=True):
    """What the agent was in the middle of.

    `think`: the event of that kind waits for an answer. `call`: the calls of an answer are to be
    made, from the first of `calls` on. `running`: the first of them has begun, and can't be made
    again without saying so.
    `asked` counts how often the model was asked since the last event from outside, `refused` how
    often in a row its answer could not be used.
    """

    phase: Literal["think", "call", "running"]
    event: str | None = None
    asked: int = 0
    refused: int = 0
    calls: tuple[ToolCall, ...] = ()
    thoughts: str | None = None
    reasoning: str | None = None
    usage: Usage = Usage()
    notes: tuple[Note, ...] = ()
    next: Next | None = None
    resumed: bool = False
    runner: Runner | None = None


class AgentState(msgspec.Struct, frozen=True):
    """An agent as it is kept under `agents/{name}`.

    `model` is None for the configured one. `system` is the text of its system prompt, `functions`
    the names of those it may call. `blocks` says under which id each block of its core memory is
    kept, `sources` what is attached to its archival memory. `seen` counts the edits of each block
    that the model knows of, `shown` those that the head of its prompts shows.

    `steps` counts its steps. `greeted` is set when it has given its first answer. `last_seen` is
    when a person was here last, `used_at` when anything happened, `paused_until` until when there
    are no timed heartbeats.
    """

    name: str
    created_at: datetime
    system: str
    functions: tuple[str, ...]
    blocks: dict[str, str]
    preset: str = ""
    persona: str = ""
    human: str = ""
    model: str | None = None
    sources: tuple[str, ...] = ()
    seen: dict[str, int] = msgspec.field(default_factory=dict)
    shown: dict[str, int] = msgspec.field(default_factory=dict)
    steps: int = 0
    greeted: bool = False
    last_seen: datetime | None = None
    used_at: datetime | None = None
    paused_until: datetime | None = None
    pending: Pending | None = None
    schema: int = SCHEMA
