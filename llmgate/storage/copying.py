"""Moving everything from one store to another of any engine, and checking that it came."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from llmgate.errors import StorageError
from llmgate.storage.base import Document, Entry, Line, Records

# Where the target remembers how far the documents have come. Logs say so by themselves.
PROGRESS = "system/migration"
# So much is written in one transaction at most.
_BYTES = 4 << 20
_ENTRIES = 1000
# What expires while both sides are being compared can't be compared.
_SOON = timedelta(hours=1)

Watch = Callable[[int], None]


class Progress(msgspec.Struct, frozen=True):
    """What is kept in the target until the end: where from, and up to which key."""

    source: str
    after: str = ""


class Digest(msgspec.Struct, frozen=True):
    """What a store holds: the number and the checksum of its documents, and of each log."""

    documents: int
    checksum: str
    logs: dict[str, tuple[int, str]]

    @property
    def entries(self) -> int:
        """The entries of all logs."""
        return sum(count for count, _ in self.logs.values())


async def migrate(
    source: Records, target: Records, name: str, watch: Watch = lambda number: None
) -> Digest:
    """Copy all documents and logs into an empty store, and compare both sides.

    `name` says which source this is: what was interrupted goes on where it was when it is called
    with the same name again. `watch` hears how many documents or entries were copied or compared:
    each comes three times. Versions are given anew. Raises `StorageError` for a target that has
    other things in it, or if both sides differ at the end, as they do if the source is written to.
    """
    progress = await _begin(target, name)
    await _documents(source, target, progress, watch)
    await _logs(source, target, watch)
    now = datetime.now(UTC)
    wanted, got = await digest(source, now, watch), await digest(target, now, watch)
    if difference := _difference(wanted, got):
        raise StorageError(
            f"the copy is not the same: {difference}.",
            hint="Was the source written to meanwhile? Let nothing use it and migrate again into"
            " an empty store.",
        )
    await target.delete(PROGRESS)
    return got


async def digest(records: Records, now: datetime, watch: Watch = lambda number: None) -> Digest:
    """The counts and checksums of a store, without the documents that soon expire."""
    documents, checksum, after = 0, hashlib.sha256(), ""
    while page := await records.keys(after=after):
        for key in page:
            found = await records.get(key)
            if key == PROGRESS or found is None:
                continue
            if found.expires is None or found.expires > now + _SOON:
                documents += 1
                checksum.update(_canonical([found.key, found.value, found.expires]))
        watch(len(page))
        after = page[-1]
    logs: dict[str, tuple[int, str]] = {}
    name = ""
    while names := await records.logs(after=name):
        for name in names:
            logs[name] = await _log(records, name, watch)
    return Digest(documents, checksum.hexdigest(), logs)


async def _log(records: Records, log: str, watch: Watch) -> tuple[int, str]:
    checksum, position = hashlib.sha256(), 0
    while page := await records.read(log, after=position, limit=_ENTRIES):
        for entry in page:
            checksum.update(_canonical([entry.position, entry.at, entry.value, entry.text]))
        watch(len(page))
        position = page[-1].position
    return position, checksum.hexdigest()


async def _begin(target: Records, name: str) -> Progress:
    found = await target.get(PROGRESS)
    if found is not None:
        progress = msgspec.convert(found.value, Progress)
        if progress.source != name:
            raise StorageError(
                f"a migration from {progress.source} into this store is not finished.",
                hint="Finish it first, or choose an empty store.",
            )
        return progress
    if await target.keys(limit=1) or await target.logs(limit=1):
        raise StorageError("the target is not empty.", hint="Choose an empty store.")
    progress = Progress(name)
    await target.put(PROGRESS, msgspec.to_builtins(progress), expected=0)
    return progress


async def _documents(source: Records, target: Records, progress: Progress, watch: Watch) -> None:
    after = progress.after
    while page := await source.keys(after=after):
        found: list[Document] = []
        size = 0
        for key in page:
            document = await source.get(key)
            if document is not None and key != PROGRESS:
                found.append(document)
                size += len(_canonical(document.value))
            if size > _BYTES or key == page[-1]:
                after = key
                await _put(target, found, Progress(progress.source, after))
                found, size = [], 0
        watch(len(page))


async def _put(target: Records, documents: list[Document], progress: Progress) -> None:
    async with target.transaction() as changes:
        for document in documents:
            changes.put(document.key, document.value, expires=document.expires)
        changes.put(PROGRESS, msgspec.to_builtins(progress))


async def _logs(source: Records, target: Records, watch: Watch) -> None:
    name = ""
    while names := await source.logs(after=name):
        for name in names:
            position = await target.end(name)
            while page := await source.read(name, after=position, limit=_ENTRIES):
                await _append(target, name, page)
                watch(len(page))
                position = page[-1].position


async def _append(target: Records, log: str, entries: list[Entry]) -> None:
    lines = [Line(entry.value, entry.text, entry.at) for entry in entries]
    async with target.transaction() as changes:
        positions = await changes.append(log, *lines)
        if positions[0] != entries[0].position:
            raise StorageError(f"the log {log!r} of the target is written to by somebody else.")


def _difference(wanted: Digest, got: Digest) -> str | None:
    if wanted.documents != got.documents:
        return f"there are {wanted.documents} documents, and {got.documents} came"
    if wanted.checksum != got.checksum:
        return "a document has another value"
    for name in sorted({*wanted.logs, *got.logs}):
        here, there = wanted.logs.get(name, (0, "")), got.logs.get(name, (0, ""))
        if here[0] != there[0]:
            return f"the log {name!r} has {here[0]} entries, and {there[0]} came"
        if here[1] != there[1]:
            return f"the log {name!r} has other entries"
    return None


def _canonical(value: object) -> bytes:
    # Engines may give back an object's keys in another order.
    return msgspec.json.encode(value, order="sorted")
