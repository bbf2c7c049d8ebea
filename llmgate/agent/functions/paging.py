"""Pages of what a search found, in the words that models know from MemGPT."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from llmgate.agent.events import shown
from llmgate.errors import FunctionError

PAGE_SIZE = 5
# A page is not cut as a whole, so that no hit of it is lost: each hit is, if it is this long.
MOST_CHARACTERS = 2000


def checked(page: int) -> int:
    """The page, if there can be one of that number. Raises FunctionError."""
    if page < 0:
        raise FunctionError(f"There is no page {page}: the first one is 0.")
    return page


def page_text(lines: Iterable[str], page: int, total: int, size: int = PAGE_SIZE) -> str:
    """A page of `total` results as text for the model."""
    lines = list(lines)
    last = max(0, -(-total // size) - 1)
    if not total:
        return "No results found."
    if not lines:
        return f"No results on page {page}: there are {total}, and the last page is {last}."
    listed = json.dumps(lines, ensure_ascii=False)
    return f"Showing {len(lines)} of {total} results (page {page}/{last}): {listed}"


def recall_line(at: datetime, role: str, text: str, now: datetime) -> str:
    """One found message, its time in the zone of `now`."""
    return f"timestamp: {_shown(at, now)}, {role} - {_clipped(text)}"


def archival_line(at: datetime | None, text: str, now: datetime) -> str:
    """One found passage, with the time at which it was put there."""
    time = "unknown" if at is None else _shown(at, now)
    return f"timestamp: {time}, memory: {_clipped(text)}"


def _shown(at: datetime, now: datetime) -> str:
    if at.tzinfo is not None and now.tzinfo is not None:
        return shown(at.astimezone(now.tzinfo))
    return shown(at)


def _clipped(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}… (cut: {MOST_CHARACTERS} of {len(text)} characters)"
