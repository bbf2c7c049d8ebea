"""The functions that every agent has: to speak, to wait, and to work on its memory.

Models read these descriptions in every prompt, so they are short.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from llmgate.agent.context import Context
from llmgate.agent.functions.paging import (
    PAGE_SIZE,
    archival_line,
    checked,
    page_text,
    recall_line,
)
from llmgate.agent.functions.spec import function
from llmgate.errors import FunctionError

if TYPE_CHECKING:
    from llmgate.memory.blocks import Block

LONGEST_PAUSE = 360
Page = Annotated[int, Meta(ge=0)]


@function(approval="allow", replayable=True, returns_data=False)
async def send_message(agent: Context, message: str) -> None:
    """Say something to the user. Nothing else that you write is shown to them.

    Args:
        message: What to say.
    """
    agent.say(message)


@function(approval="allow", replayable=True, returns_data=False)
async def pause_heartbeats(agent: Context, minutes: int) -> str:
    """Pause timed heartbeats. Messages of the user still wake you.

    Args:
        minutes: How long, at most 360.
    """
    if minutes < 0:
        raise FunctionError(f"{minutes} minutes are no pause: use 0 to 360.")
    minutes = min(LONGEST_PAUSE, minutes)
    agent.pause(minutes)
    return f"Pausing timed heartbeats for {minutes} min"


@function(approval="allow", replayable=True, returns_data=False)
async def core_memory_append(agent: Context, name: str, content: str) -> str:
    """Add a line to a section of your core memory.

    Args:
        name: Section, such as persona or human.
        content: Text to add.
    """
    return _size(await agent.core.append(name, content, call=agent.call))


@function(approval="allow", replayable=True, returns_data=False)
async def core_memory_replace(agent: Context, name: str, old_content: str, new_content: str) -> str:
    """Replace a text in a section of your core memory.

    Args:
        name: Section, such as persona or human.
        old_content: Exact text to replace; it must be there once.
        new_content: Text to put there; empty deletes.
    """
    block = await agent.core.replace(name, old_content, new_content, call=agent.call)
    return _size(block)


@function(approval="allow", replayable=True, unlimited=True)
async def conversation_search(agent: Context, query: str, page: Page = 0) -> str:
    """Search all earlier messages for a text.

    Args:
        query: Words to look for.
        page: Page of results, 0 is the first.
    """
    found = await agent.recall.search(query, page=checked(page), size=PAGE_SIZE)
    now = agent.now()
    lines = [recall_line(one.at, one.role, one.text, now) for one in found.found]
    return page_text(lines, page, found.total)


@function(approval="allow", replayable=True, unlimited=True)
async def conversation_search_date(
    agent: Context, start_date: date, end_date: date, page: Page = 0
) -> str:
    """List earlier messages of some days.

    Args:
        start_date: First day, YYYY-MM-DD.
        end_date: Last day, YYYY-MM-DD.
        page: Page of results, 0 is the first.
    """
    if end_date < start_date:
        raise FunctionError(f"end_date {end_date} is before start_date {start_date}.")
    found = await agent.recall.search_dates(
        start_date, end_date, page=checked(page), size=PAGE_SIZE
    )
    now = agent.now()
    lines = [recall_line(one.at, one.role, one.text, now) for one in found.found]
    return page_text(lines, page, found.total)


@function(approval="allow", replayable=True, returns_data=False)
async def archival_memory_insert(agent: Context, content: str) -> None:
    """Put a text into archival memory, which has no limit.

    Args:
        content: Text to keep, clear by itself.
    """
    if not content.strip():
        raise FunctionError("There is nothing in content to keep.")
    await agent.archival.insert(content, call=agent.call)


@function(approval="allow", replayable=True, unlimited=True)
async def archival_memory_search(agent: Context, query: str, page: Page = 0) -> str:
    """Search archival memory by meaning and words.

    Args:
        query: What to look for.
        page: Page of results, 0 is the first.
    """
    found = await agent.archival.search(query, page=checked(page), size=PAGE_SIZE)
    now = agent.now()
    lines = [archival_line(one.at, one.text, now) for one in found.found]
    notes = [f"(Note: {note.message})" for note in found.notes]
    return "\n".join([page_text(lines, page, found.total), *notes])


def _size(block: Block) -> str:
    return f"{block.label}: {len(block.value)} of {block.limit} characters used."


BASE = (
    send_message,
    pause_heartbeats,
    core_memory_append,
    core_memory_replace,
    conversation_search,
    conversation_search_date,
    archival_memory_insert,
    archival_memory_search,
)
