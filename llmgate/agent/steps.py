"""What an agent did with one answer of its model."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from llmgate.types import Note, ToolCall, Usage

Next = Literal["heartbeat", "failed", "pressure", "data"]


class Step(msgspec.Struct, frozen=True):
    """One call of a function and what led to it, as it is kept in the agent's log of steps.

    `event` is the kind of the event that the model answered, None for a further call of the same
    answer. `thoughts` are what it wrote beside the call, `reasoning` what it thought before all
    of it. `call` is None where the model called nothing. `ok` and `result` are what came of the
    call, `said` is what it told the person.

    `next` says why the agent goes on by itself, None if it waits for an event. `stopped` says why
    it waits although `next` says more. `seconds` are those of the whole step. `resumed`: it was
    begun before a crash or an interruption, and finished after it.
    """

    number: int
    at: datetime
    event: str | None = None
    thoughts: str | None = None
    reasoning: str | None = None
    call: ToolCall | None = None
    ok: bool | None = None
    result: str | None = None
    said: str | None = None
    next: Next | None = None
    usage: Usage = Usage()
    notes: tuple[Note, ...] = ()
    seconds: float = 0.0
    resumed: bool = False
    stopped: str | None = None
