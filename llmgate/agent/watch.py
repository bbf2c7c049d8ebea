"""What somebody who watches an agent at work is told, and asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmgate.types import Delta, Note, ToolCall

if TYPE_CHECKING:
    from llmgate.agent.functions.approval import Approver


class Watch:
    """Called as things happen; each method does nothing unless a subclass says otherwise.

    `approver` is asked before functions that need it. With none they are denied.
    """

    approver: Approver | None = None

    def thinking(self, event: str | None, attempt: int) -> None:
        """The model is about to be asked; `attempt` counts from 1 for each event."""

    def delta(self, delta: Delta) -> None:
        """A piece of the model's answer, as it comes."""

    def calling(self, call: ToolCall) -> None:
        """A function is about to run."""

    def said(self, text: str) -> None:
        """The agent tells the person something."""

    def note(self, note: Note) -> None:
        """Something happened that is not part of the conversation: a retry, a repair, a cut."""

    def compacting(self, count: int) -> None:
        """So many of the oldest messages are about to be summarised."""
