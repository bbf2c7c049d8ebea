"""What the first words of a new agent should be like.

The rule is soft: an answer that breaks it is asked for once more and then taken as it is, and
what was wrong with it is said either way.
"""

from __future__ import annotations

import re

from llmgate.types import Message

# What a new agent may call: speak, or look up what it was given to know.
FUNCTIONS = ("send_message", "archival_memory_search")
# Signs of a call that was written in the place of a thought.
_CODE = re.compile(r'[(){}\[\]"]|\bfunctions\b|\bsend_message\b')


def problem(message: Message) -> str | None:
    """What is wrong with a first answer, in one sentence; None where nothing is."""
    if not message.tool_calls:
        return "it called no function"
    if wrong := next((c.name for c in message.tool_calls if c.name not in FUNCTIONS), None):
        return f"it began with {wrong} in place of saying something"
    if found := _CODE.search(message.content or ""):
        return f"its thoughts have {found.group()!r} in them, as if they were a call"
    return None
