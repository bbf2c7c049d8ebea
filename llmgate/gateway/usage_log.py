"""One line of JSON for each request, written beside the requests and never in their way."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path

import msgspec

from llmgate.gateway.call import Call

logger = logging.getLogger("llmgate.gateway")

# How many lines may wait for a slow disk.
_WAITING = 10_000


class Entry(msgspec.Struct, frozen=True):
    """What is written of one request. No text of it, and no text of its answer."""

    time: float
    key: str | None
    model: str
    answered_by: str | None
    replica: str | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None
    first_ms: float | None
    total_ms: float
    status: int
    error: str | None
    finish: str | None
    retries: int
    fallback: bool
    from_cache: bool


class UsageLog:
    """Appends to the file at `path`, which is opened for each batch: it may be moved away.

    A disk that is full or gone costs lines and one warning, not requests.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[bytes] = []
        self._lost = 0
        self._writer: asyncio.Task[None] | None = None

    def add(self, call: Call) -> None:
        """Note a request that is over."""
        if len(self._lines) >= _WAITING:
            self._lose(1, "the disk is too slow")
            return
        self._lines.append(msgspec.json.encode(_entry(call)) + b"\n")
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def aclose(self) -> None:
        """Return when everything is written."""
        while self._writer is not None:
            await self._writer

    async def _write(self) -> None:
        try:
            while self._lines:
                lines, self._lines = self._lines, []
                try:
                    await asyncio.to_thread(_append, self._path, b"".join(lines))
                except OSError as error:
                    self._lose(len(lines), str(error))
                else:
                    if self._lost:
                        logger.warning("%s: %d lines were lost", self._path, self._lost)
                        self._lost = 0
        finally:
            self._writer = None

    def _lose(self, lines: int, why: str) -> None:
        if not self._lost:
            logger.warning("the usage log %s can't be written: %s", self._path, why)
        self._lost += lines


def _append(path: Path, data: bytes) -> None:
    """Append all of it or, as far as that can be had, nothing."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(file).st_size
        try:
            written = 0
            while written < len(data):
                written += os.write(file, data[written:])
        except OSError:
            os.truncate(file, size)
            raise
    finally:
        os.close(file)


def _entry(call: Call) -> Entry:
    now = call.clock.now()
    first = call.first_at
    return Entry(
        time=round(time.time(), 3),
        key=call.client.name if call.client is not None else None,
        model=call.model,
        answered_by=call.answered_by,
        replica=call.replica,
        prompt_tokens=call.usage.prompt,
        completion_tokens=call.usage.completion,
        cached_tokens=call.usage.cached,
        first_ms=None if first is None else round((first - call.began) * 1000, 3),
        total_ms=round((now - call.began) * 1000, 3),
        status=call.status,
        error=call.error,
        finish=call.finish,
        retries=call.retries,
        fallback=call.fallback,
        from_cache=call.from_cache,
    )
