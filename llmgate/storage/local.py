"""Records over an engine in this process: values become JSON, writes are committed together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from llmgate.errors import StorageError, Unstorable
from llmgate.storage import encoding
from llmgate.storage.base import PAGE, Document, Entry, Health, Page, Stats
from llmgate.storage.batch import Batch, Delete, Drop, Results, StoredDocument, StoredLine
from llmgate.storage.operations import (
    append_of,
    checked,
    document_of,
    entry_of,
    now,
    put_of,
)
from llmgate.storage.transaction import Collected

# How many writes are committed together at most.
_TOGETHER = 1000
# From how many entries on they are encoded in a thread.
_LONG = 100

T = TypeVar("T")
Found = list[tuple[int, StoredLine]]


class Engine(Protocol):
    """What an engine does, one call at a time except that reads may go beside one `commit`.

    Everything that it raises on purpose is a `StorageError`.
    """

    location: str

    def commit(self, batches: Sequence[Batch], now: int) -> list[Results | StorageError]:
        """Do each batch all or nothing; what has a result is on the disk, if there is one."""
        ...

    def get(self, key: str, now: int) -> StoredDocument | None: ...
    def keys(self, prefix: str, after: str, limit: int, now: int) -> list[str]: ...
    def logs(self, prefix: str, after: str, limit: int) -> list[str]: ...
    def end(self, log: str) -> int: ...
    def read(self, log: str, after: int | None, limit: int, reverse: bool) -> Found: ...
    def search(
        self,
        log: str,
        words: tuple[str, ...],
        since: int | None,
        until: int | None,
        limit: int,
        offset: int,
        reverse: bool,
    ) -> tuple[Found, int]: ...
    def health(self) -> Health: ...
    def stats(self, now: int) -> Stats: ...
    def backup(self, path: Path | None) -> Path: ...
    def restore(self, path: Path) -> None: ...
    def close(self) -> None: ...


class Local:
    """Records over an `Engine`; all that waits for a disk is done in threads.

    Writes that come while others are being written are committed together after them: one
    flush of the disk serves all who wait.
    """

    def __init__(
        self, engine: Engine, *, writer: Executor | None = None, reader: Executor | None = None
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._reader = reader or writer
        self._waiting: list[tuple[Batch, asyncio.Future[Results]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, engine: Callable[[], Engine], *, readers: bool = False) -> Self:
        """Open an engine in the thread that will write, with one more for reads if wanted."""
        writer = ThreadPoolExecutor(1, "llmgate-storage-write")
        try:
            opened = await asyncio.get_running_loop().run_in_executor(writer, engine)
        except BaseException:
            writer.shutdown(wait=False)
            raise
        reader = ThreadPoolExecutor(1, "llmgate-storage-read") if readers else None
        return cls(opened, writer=writer, reader=reader)

    async def get(self, key: str) -> Document | None:
        """As `Records.get`."""
        encoding.check_name("key", key)
        found = await self._read(self._engine.get, key, now())
        return None if found is None else document_of(key, found)

    async def put(
        self,
        key: str,
        value: Any,
        *,
        expected: int | None = None,
        expires: datetime | timedelta | None = None,
    ) -> int:
        """As `Records.put`."""
        return (await self._commit((put_of(key, value, expected, expires),)))[0]

    async def delete(self, key: str, *, expected: int | None = None) -> bool:
        """As `Records.delete`."""
        encoding.check_name("key", key)
        return bool((await self._commit((Delete(key, expected),)))[0])

    async def keys(self, prefix: str = "", *, after: str = "", limit: int = PAGE) -> list[str]:
        """As `Records.keys`."""
        _check_limit(limit)
        return await self._read(self._engine.keys, prefix, after, limit, now())

    async def append(self, log: str, *entries: Any) -> tuple[int, ...]:
        """As `Records.append`."""
        if not entries:
            return ()
        if len(entries) > _LONG:
            # So many take a time that the loop should not wait for.
            append = await asyncio.to_thread(append_of, log, entries)
        else:
            append = append_of(log, entries)
        end = (await self._commit((append,)))[0]
        return tuple(range(end - len(entries) + 1, end + 1))

    async def read(
        self, log: str, *, after: int | None = None, limit: int = PAGE, reverse: bool = False
    ) -> list[Entry]:
        """As `Records.read`."""
        encoding.check_name("log", log)
        _check_limit(limit)
        found = await self._read(self._engine.read, log, after, limit, reverse)
        return [entry_of(log, position, line) for position, line in found]

    async def end(self, log: str) -> int:
        """As `Records.end`."""
        encoding.check_name("log", log)
        return await self._read(self._engine.end, log)

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
        """As `Records.search`."""
        encoding.check_name("log", log)
        _check_limit(limit)
        _check_limit(offset, "offset")
        found, total = await self._read(
            self._engine.search,
            log,
            encoding.words(checked(text)),
            None if since is None else encoding.micros(since),
            None if until is None else encoding.micros(until),
            limit,
            offset,
            reverse,
        )
        return Page(tuple(entry_of(log, position, line) for position, line in found), total)

    async def logs(self, prefix: str = "", *, after: str = "", limit: int = PAGE) -> list[str]:
        """As `Records.logs`."""
        _check_limit(limit)
        return await self._read(self._engine.logs, prefix, after, limit)

    async def drop(self, log: str) -> int:
        """As `Records.drop`."""
        encoding.check_name("log", log)
        return (await self._commit((Drop(log),)))[0]

    @asynccontextmanager
    async def transaction(
        self, *, ends: Mapping[str, int] | None = None
    ) -> AsyncIterator[Collected]:
        """As `Records.transaction`."""
        transaction = Collected(self, ends)
        try:
            yield transaction
        except BaseException:
            transaction.finish()
            raise
        if batch := transaction.finish():
            transaction.done(batch, await self._commit(batch))

    async def health(self) -> Health:
        """As `Records.health`."""
        return await self._alone(self._engine.health)

    async def stats(self) -> Stats:
        """As `Records.stats`."""
        return await self._alone(self._engine.stats, now())

    async def backup(self, path: Path | None = None) -> Path:
        """As `Records.backup`."""
        return await self._alone(self._engine.backup, path)

    async def restore(self, path: Path) -> None:
        """As `Records.restore`."""
        await self._alone(self._engine.restore, path)

    async def close(self) -> None:
        """As `Records.close`."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _close(self) -> None:
        if self._flushing is not None:
            await asyncio.shield(self._flushing)
        # Behind every read that is still under way in the same thread.
        if self._reader is not None and self._reader is not self._writer:
            await asyncio.to_thread(self._reader.shutdown)
        try:
            await self._run(self._writer, self._engine.close)
        finally:
            if self._writer is not None:
                self._writer.shutdown(wait=False)

    async def _commit(self, batch: Batch) -> Results:
        self._check_open()
        done: asyncio.Future[Results] = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, done))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        return await done

    async def _flush(self) -> None:
        try:
            while waiting := self._waiting:
                waiting, self._waiting = waiting[:_TOGETHER], waiting[_TOGETHER:]
                outcomes: Sequence[Results | BaseException]
                try:
                    batches = [batch for batch, _ in waiting]
                    outcomes = await self._run(self._writer, self._engine.commit, batches, now())
                except Exception as error:  # noqa: BLE001 - it goes to everyone who waits
                    outcomes = [error] * len(waiting)
                for (_, done), outcome in zip(waiting, outcomes, strict=True):
                    if done.done():
                        continue
                    if isinstance(outcome, BaseException):
                        done.set_exception(outcome)
                    else:
                        done.set_result(outcome)
        finally:
            self._flushing = None

    async def _read(self, function: Callable[..., T], *arguments: Any) -> T:
        self._check_open()
        return await self._run(self._reader, function, *arguments)

    async def _alone(self, function: Callable[..., T], *arguments: Any) -> T:
        """In the thread that writes, so that nothing is written meanwhile."""
        self._check_open()
        return await self._run(self._writer, function, *arguments)

    @staticmethod
    async def _run(executor: Executor | None, function: Callable[..., T], *arguments: Any) -> T:
        if executor is None:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(executor, function, *arguments)

    def _check_open(self) -> None:
        if self._closing is not None:
            raise StorageError(f"the store {self._engine.location} is closed.")


def _check_limit(number: int, name: str = "limit") -> None:
    if number < 0:
        raise Unstorable(f"`{name}` is {number}, and can't be below 0.")
