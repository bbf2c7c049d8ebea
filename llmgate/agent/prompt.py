"""What an agent's model is sent: the head, and the request made of it and of the turns behind it.

All of it is pure. In the layout `cached` the head stands still between two compactions, and the
turns stand behind it as they were stored: each prompt begins with the one before it, so that a
server's cache of it is of use. What changes (the time, counts, fresh edits of the core memory) is
told in the turns. In the layout `memgpt` the head holds all of that and is written anew.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from llmgate.agent.events import Alert, shown
from llmgate.memory.blocks import Block
from llmgate.memory.conversation import Logged, Summary, Window
from llmgate.types import Message, Request, Sampling, Tool, ToolChoice

Layout = Literal["cached", "memgpt"]

# What stands at the end of a block of which only the beginning is shown.
UNSHOWN = "more characters do not fit in here: shorten this block]"
# The order in which people write the keywords of a schema; others follow by name.
_KEYWORDS = ("type", "description", "enum", "const", "items", "properties", "required")
# Keywords whose value is an object of names: the order of those says something.
_NAMED = ("properties", "$defs", "definitions")


class Counts(msgspec.Struct, frozen=True):
    """How much an agent has outside of its prompt: messages in recall, passages in archival."""

    recall: int = 0
    archival: int = 0


class Parts(msgspec.Struct, frozen=True):
    """What a request is made of.

    `window`, `logged` and `summary` are what `Conversation.load` gives. `tools` are in any order.
    `choice` may name the tools that are allowed now; `tools` stay the same all the time.
    """

    agent: str
    model: str
    window: Window
    logged: tuple[Logged, ...]
    summary: Summary | None = None
    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = ToolChoice("required")
    sampling: Sampling = Sampling()


def head(
    system: str, blocks: Sequence[Block], *, layout: Layout, counts: Counts, now: datetime
) -> str:
    """The system message: the system prompt with the core memory behind it."""
    if layout == "memgpt":
        lines = [
            f"### Memory [last modified: {shown(now)}]",
            f"{counts.recall} messages are in recall memory, which functions can search.",
            f"{counts.archival} passages are in archival memory, which functions can search.",
            "",
            "This is the core memory; what is not in it is in recall or archival memory:",
        ]
        return "\n".join([system, "", "", *lines, *(_plain(block) for block in blocks)])
    return "\n".join([system, *(_described(block) for block in blocks)])


def request(
    parts: Parts,
    *,
    reply: int,
    shown: Callable[[Logged], Message] | None = None,
    ordered: bool = False,
) -> Request:
    """The request for all of the parts; `reply` tokens are the most that the answer may have.

    `shown` says how a message stands in the prompt, if not as it was stored. `ordered`: the tools
    are what `sorted_tools` gave.
    """
    turns = (shown(logged) if shown is not None else logged.message for logged in parts.logged)
    begin = [Message("system", parts.window.head)]
    if parts.summary is not None:
        begin.append(summary_message(parts.summary))
    return Request(
        model=parts.model,
        messages=(*begin, *turns),
        tools=parts.tools if ordered else sorted_tools(parts.tools),
        tool_choice=parts.choice,
        parallel=False,
        sampling=msgspec.structs.replace(parts.sampling, max_tokens=reply),
        conversation=f"agent/{parts.agent}",
    )


def sorted_tools(tools: Iterable[Tool]) -> tuple[Tool, ...]:
    """The tools in the order of their names, each written the same way whoever made it."""
    return tuple(
        msgspec.structs.replace(tool, parameters=_schema(tool.parameters))
        for tool in sorted(tools, key=lambda tool: tool.name)
    )


def summary_message(summary: Summary) -> Message:
    """What stands in the place of the messages that have left the window."""
    text = f"{_messages(summary.hidden)} of this conversation are not shown any more."
    if summary.how == "dropped":
        text += " Not all of what was said in them is in a summary."
    text += " Search the conversation to read what was said."
    if summary.text:
        text += f" This is a summary of it:\n{summary.text}"
    return Message("user", Alert(text).packaged(summary.at.astimezone()))


def _messages(count: int) -> str:
    return "1 earlier message" if count == 1 else f"{count} earlier messages"


def _plain(block: Block) -> str:
    size = f'characters="{len(block.value)}/{block.limit}"'
    return f"<{block.label} {size}>\n{block.value}\n</{block.label}>"


def _described(block: Block) -> str:
    """A block with what the agent has to know to use it."""
    more = f' description="{html.escape(block.description)}"' if block.description else ""
    more += ' read_only="true"' if block.read_only else ""
    size = f'characters="{len(block.value)}/{block.limit}"'
    return f"<{block.label} {size}{more}>\n{block.value}\n</{block.label}>"


def _schema(schema: Any) -> Any:
    """A schema with its keywords in one order; properties keep theirs, which says something."""
    if isinstance(schema, list):
        return [_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    known = [key for key in _KEYWORDS if key in schema]
    rest = sorted(schema.keys() - set(known))
    return {
        key: {name: _schema(value) for name, value in schema[key].items()}
        if key in _NAMED and isinstance(schema[key], dict)
        else schema[key]
        if key in ("enum", "const", "default", "examples", "required")
        else _schema(schema[key])
        for key in (*known, *rest)
    }
