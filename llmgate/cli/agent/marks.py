"""What stands before a line of the agent's terminal: icons, or words where icons can't be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from rich.console import Console


class Marks(msgspec.Struct, frozen=True):
    """A mark for each kind of line, with the space behind it."""

    thoughts: str
    says: str
    calls: str
    memory: str
    ok: str
    failed: str
    heartbeat: str
    event: str
    prompt: str
    between: str


ICONS = Marks("💭 ", "🤖 ", "⚡ ", "🧠 ", "🟢 ", "🔴 ", "💓 ", "🔔 ", "🧑 ", " · ")
WORDS = Marks(
    "thinks: ", "says: ", "calls: ", "calls: ", "ok: ", "failed: ", "heartbeat: ", "event: ", "> ",
    ", ",
)  # fmt: skip
# Functions that are about the agent's memory.
_MEMORY = ("core_memory_", "archival_memory_", "conversation_search")


def marks_for(console: Console) -> Marks:
    """Icons on a terminal that can show them and whose user has not asked for plain text."""
    utf8 = console.encoding.lower().replace("-", "") == "utf8"
    plain = console.no_color or console.is_dumb_terminal or not console.is_terminal
    return ICONS if utf8 and not plain and not console.legacy_windows else WORDS


def is_memory(function: str) -> bool:
    """Whether a function is about the agent's memory."""
    return function.startswith(_MEMORY)
