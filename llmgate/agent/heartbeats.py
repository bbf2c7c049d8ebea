"""Timed heartbeats: when the next one is due."""

from __future__ import annotations

from datetime import datetime, timedelta

from llmgate.agent.state import AgentState

# How often somebody who waits looks again, in seconds: a pause may have begun or ended meanwhile.
LOOK = 60.0
_SOON = 0.01


def seconds_to_wait(state: AgentState, now: datetime, minutes: float) -> float:
    """Until the next timed heartbeat: 0 if it is due.

    It comes when nothing has happened for so many minutes, and not in a pause.
    """
    due = (state.used_at or state.created_at) + timedelta(minutes=minutes)
    if state.paused_until is not None:
        due = max(due, state.paused_until)
    seconds = (due - now).total_seconds()
    return 0.0 if seconds <= 0 else min(max(seconds, _SOON), LOOK)
