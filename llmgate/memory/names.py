"""Where in a store agents keep what they know: the keys and the names of logs."""

from __future__ import annotations

import unicodedata

from llmgate.errors import RequestError

AGENTS = "agents"
BLOCKS = "blocks"
GENERATIONS = "generations"
SYSTEM = "system"
# How long a name may be, in characters.
LONGEST = 64
# What can't be seen, or is no character at all.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def check_name(name: str, kind: str = "agent") -> str:
    """The name, if it can be one: 1 to 64 characters that can be seen, and no `/`.

    Raises `RequestError`.
    """
    if not name:
        problem = "is empty"
    elif len(name) > LONGEST:
        problem = f"has {len(name)} characters, and {LONGEST} are the most"
    elif "/" in name:
        problem = "has a '/' in it"
    elif any(unicodedata.category(character) in _UNSEEN for character in name):
        problem = "has characters in it that can't be seen"
    elif name != name.strip():
        problem = "begins or ends with a space"
    else:
        return name
    # Only the beginning of a long one is of use to a reader.
    shown = name if len(name) <= LONGEST else f"{name[:LONGEST]}…"
    raise RequestError(
        f"the name {shown!r} of the {kind} {problem}.",
        hint=f"A name has 1 to {LONGEST} visible characters and no '/'.",
        param="name",
    )


def state(name: str, root: str = AGENTS) -> str:
    """The document with the state of an agent."""
    return f"{root}/{name}"


def window(name: str, root: str = AGENTS) -> str:
    """The document that says which messages the model sees."""
    return f"{root}/{name}/window"


def counts(name: str, root: str = AGENTS) -> str:
    """The document with the number of messages up to a position."""
    return f"{root}/{name}/counts"


def messages(name: str, root: str = AGENTS) -> str:
    """The log of every message ever."""
    return f"{root}/{name}/messages"


def recall(name: str, root: str = AGENTS) -> str:
    """The log of what people and the agent said, which searches look at."""
    return f"{root}/{name}/recall"


def corrections(name: str, root: str = AGENTS) -> str:
    """The log of what was taken back or said otherwise later."""
    return f"{root}/{name}/corrections"


def summaries(name: str, root: str = AGENTS) -> str:
    """The log of what stands for messages that have left the window."""
    return f"{root}/{name}/summaries"


def steps(name: str, root: str = AGENTS) -> str:
    """The log of an agent's steps: thoughts, calls, results."""
    return f"{root}/{name}/steps"


def block(block_id: str) -> str:
    """The document with a block of core memory."""
    return f"{BLOCKS}/{block_id}"


def history(block_id: str) -> str:
    """The log of the edits of a block."""
    return f"{BLOCKS}/{block_id}/history"


def generation(digest: str) -> str:
    """The document with an answer that was given before."""
    return f"{GENERATIONS}/{digest}"


def system(key: str) -> str:
    """The document with a part of the system's state."""
    return f"{SYSTEM}/{key}"
