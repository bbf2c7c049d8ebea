"""Recall memory: finding what was said, however long ago."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, tzinfo

import msgspec

from llmgate.errors import FunctionError
from llmgate.memory import names
from llmgate.memory.corrections import Correction
from llmgate.memory.counting import counts
from llmgate.memory.text import storable
from llmgate.storage import Entry, Page, Records

# How many entries are looked at together where all of them have to be.
_TOGETHER = 1000
_DAY = timedelta(days=1)


class Found(msgspec.Struct, frozen=True):
    """Something that was said: by a person, or thought and said by the agent."""

    at: datetime
    role: str
    text: str
    position: int


class FoundPage(msgspec.Struct, frozen=True):
    """A part of what was found, counted from 0; `total` counts all of it."""

    found: tuple[Found, ...]
    total: int
    page: int
    size: int

    @property
    def last(self) -> int:
        """The number of the last page; 0 if there is nothing."""
        return max(0, -(-self.total // self.size) - 1)


class Recall:
    """Searches through all that an agent and the people it spoke with have said.

    The newest is first. What was retracted is not found, and what was amended by its new text.
    Days are those of `zone`, the local one if it is not given.
    """

    def __init__(
        self,
        records: Records,
        name: str,
        *,
        root: str = names.AGENTS,
        zone: tzinfo | None = None,
    ) -> None:
        self._records = records
        self._name = name
        self._root = root
        self._zone = zone

    async def search(self, text: str, page: int = 0, size: int = 5) -> FoundPage:
        """What has every word of the text in it, inside of longer words too, whatever its case.

        Raises `FunctionError` for a text without a word, or a page that can't be.
        """
        text = storable(text)
        if not text.split():
            raise FunctionError(
                "there is nothing to search for.", hint="Give a word that was said."
            )
        return await self._page(text, None, None, page, size)

    async def search_dates(self, start: date, end: date, page: int = 0, size: int = 5) -> FoundPage:
        """What was said from the one day to the other, both included."""
        if start > end:
            raise FunctionError(
                f"the start date {start.isoformat()} is after the end date {end.isoformat()}.",
                hint="Exchange them.",
            )
        until = None if end >= date.max - _DAY else self._midnight(end + _DAY)
        return await self._page("", self._midnight(start), until, page, size)

    async def counts(self) -> dict[str, int]:
        """How many messages there are by their roles, those that left the window included."""
        return await counts(self._records, self._name, self._root)

    async def _page(
        self, text: str, since: datetime | None, until: datetime | None, page: int, size: int
    ) -> FoundPage:
        if page < 0 or size < 1:
            raise FunctionError(
                f"there is no page {page} of {size} results.", hint="Pages count from 0."
            )
        hidden = await self._hidden(text, since, until)
        # Of the hidden ones, some lie before the page and some in it: so many more are enough.
        offset, limit = page * size, size + len(hidden)
        found = await self._records.search(
            names.recall(self._name, self._root),
            text,
            since=since,
            until=until,
            limit=limit,
            offset=offset,
            reverse=True,
        )
        return FoundPage(
            tuple(map(_found, _visible(found, hidden)[:size])),
            max(0, found.total - len(hidden)),
            page,
            size,
        )

    async def _hidden(self, text: str, since: datetime | None, until: datetime | None) -> set[int]:
        """The entries of the log of messages that a search would find, and must not."""
        log = names.corrections(self._name, self._root)
        hidden: set[int] = set()
        seen, total = 0, await self._records.end(log)
        while seen < total:
            page = await self._records.search(
                log, text, since=since, until=until, limit=_TOGETHER, offset=seen
            )
            corrections = (msgspec.convert(entry.value, Correction) for entry in page.entries)
            hidden |= {correction.hidden for correction in corrections if correction.said}
            seen, total = seen + _TOGETHER, page.total
        return hidden

    def _midnight(self, day: date) -> datetime | None:
        """The beginning of the day; None if it is so far away that clocks don't know it."""
        try:
            begin = datetime.combine(day, time.min, self._zone)
            return begin if self._zone else begin.astimezone()
        except (OverflowError, ValueError, OSError):
            return None


def _visible(page: Page, hidden: set[int]) -> list[Entry]:
    """What is to be seen of entries that begin where a page would if nothing were hidden."""
    if not page.entries:
        return []
    # They are from the newest back: so many hidden ones came before.
    newest = page.entries[0].value["position"]
    skip = sum(position > newest for position in hidden)
    return [entry for entry in page.entries if entry.value["position"] not in hidden][skip:]


def _found(entry: Entry) -> Found:
    position = entry.value.get("of", entry.value["position"])
    return Found(entry.at, entry.value["role"], entry.text or "", position)
