"""What every engine for records offers: keyed documents, append-only logs, and both at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec

# How many keys or entries one call gives if it is not told: callers page through the rest.
PAGE = 1000


class Document(msgspec.Struct, frozen=True):
    """A stored value. Its `version` grows with every write of the key and never comes again.

    A document with `expires` is gone from then on.
    """

    key: str
    value: Any
    version: int
    expires: datetime | None = None


class Line(msgspec.Struct, frozen=True):
    """An entry to be: `at` is None for now, `text` is what searches look at.

    Without a `text` they look at all strings in the value, but not at the keys of its objects.
    An empty one keeps the entry out of text searches.
    """

    value: Any
    text: str | None = None
    at: datetime | None = None


class Entry(msgspec.Struct, frozen=True):
    """An entry of a log. Positions count from 1 and have no gaps."""

    position: int
    at: datetime
    value: Any
    text: str | None = None


class Page(msgspec.Struct, frozen=True):
    """A part of what a search found; `total` counts all of it."""

    entries: tuple[Entry, ...]
    total: int


class Health(msgspec.Struct, frozen=True):
    """What a full look through the store found; `repaired` is what was mended on opening it."""

    ok: bool
    problems: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()


class Stats(msgspec.Struct, frozen=True):
    """How much there is. `bytes` are those on the disk, with indexes and journals."""

    engine: str
    location: str
    schema: int
    documents: int
    logs: int
    entries: int
    bytes: int


class Transaction(Protocol):
    """Changes of documents and logs that happen all together, or not at all.

    Nothing is locked while it is open: what it has read is looked at again at the end, and if
    somebody has changed it meanwhile `Conflict` is raised and nothing is written. What a
    transaction wrote, it reads; nobody else does before its end.

    `ends` are those of the logs that it appends to, as they will be at its end. When that has
    come, `versions` are those of the documents that it has put.
    """

    @property
    def ends(self) -> Mapping[str, int]: ...

    @property
    def versions(self) -> Mapping[str, int]: ...

    async def get(self, key: str) -> Document | None:
        """As `Records.get`; a document written here has version -1 until the end."""
        ...

    def put(
        self,
        key: str,
        value: Any,
        *,
        expected: int | None = None,
        expires: datetime | timedelta | None = None,
    ) -> None:
        """As `Records.put`, at the end."""
        ...

    def delete(self, key: str, *, expected: int | None = None) -> None:
        """As `Records.delete`, at the end."""
        ...

    async def append(self, log: str, *entries: Any) -> tuple[int, ...]:
        """As `Records.append`: these are the positions, or the end raises `Conflict`."""
        ...

    def drop(self, log: str) -> None:
        """As `Records.drop`, at the end."""
        ...


class Records(Protocol):
    """Keyed JSON documents and append-only logs of JSON entries.

    What was acknowledged, in that an awaited write has returned, survives the end of the process
    and of the machine. A write that raised has left nothing behind; of one that was cancelled
    while it was waited for, all is stored or nothing.

    Keys and names of logs are any text that is not empty, `/` puts them in groups. Documents and
    logs have nothing to do with each other, even under the same name. Values are what JSON can
    say: see `encoding.encode`.
    """

    async def get(self, key: str) -> Document | None:
        """The document, or None where there is none or its time is over."""
        ...

    async def put(
        self,
        key: str,
        value: Any,
        *,
        expected: int | None = None,
        expires: datetime | timedelta | None = None,
    ) -> int:
        """Store a value and return its version.

        `expected` is the version that must be there, 0 for no document. Raises `Conflict`.
        """
        ...

    async def delete(self, key: str, *, expected: int | None = None) -> bool:
        """Take a document away; whether there was one. Raises `Conflict` as `put` does."""
        ...

    async def keys(self, prefix: str = "", *, after: str = "", limit: int = PAGE) -> list[str]:
        """The keys that begin so, in the order of code points, from behind `after` on."""
        ...

    async def append(self, log: str, *entries: Any) -> tuple[int, ...]:
        """Add entries, all or none, and return their positions. Each is a value or a `Line`."""
        ...

    async def read(
        self, log: str, *, after: int | None = None, limit: int = PAGE, reverse: bool = False
    ) -> list[Entry]:
        """Entries in order, or from the last one back with `reverse`.

        `after` is the position behind which to go on, in the direction of reading.
        """
        ...

    async def end(self, log: str) -> int:
        """The position of the last entry, 0 for a log without any."""
        ...

    async def search(
        self,
        log: str,
        text: str = "",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 10,
        offset: int = 0,
        reverse: bool = False,
    ) -> Page:
        """The entries that have every word of the text in them, in the order of their positions.

        A word is found inside of longer ones, in any script and whatever its case. `since` is
        included, `until` is not.
        """
        ...

    async def logs(self, prefix: str = "", *, after: str = "", limit: int = PAGE) -> list[str]:
        """The names of the logs, as `keys`. A log is there from its first entry on."""
        ...

    async def drop(self, log: str) -> int:
        """Take a whole log away, and return how many entries it had."""
        ...

    def transaction(
        self, *, ends: Mapping[str, int] | None = None
    ) -> AbstractAsyncContextManager[Transaction]:
        """Changes that happen together at the end of the `async with`, unless it raises.

        `ends` are where logs end, as far as the writer knows: they are not read again, and the
        end raises `Conflict` if somebody has added to one of them.
        """
        ...

    async def health(self) -> Health:
        """Look through everything that is stored."""
        ...

    async def stats(self) -> Stats:
        """Count what is stored."""
        ...

    async def backup(self, path: Path | None = None) -> Path:
        """Write a copy of all that is stored at this moment, and return where it is.

        Without a path it goes beside the store, named after the time, and the oldest such ones
        are removed. Raises `StorageError` if there is something at `path`.
        """
        ...

    async def restore(self, path: Path) -> None:
        """Put a backup in the place of all that is stored, in one step."""
        ...

    async def close(self) -> None:
        """Finish what is being written and let go of the store. Closing again does nothing."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def lines_of(entries: Sequence[Any]) -> list[Line]:
    """Entries as they come to `append`, where a plain value stands for a `Line` of it."""
    return [entry if isinstance(entry, Line) else Line(entry) for entry in entries]
