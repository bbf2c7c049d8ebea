"""`memory:` keeps everything in this process, for tests and for what need not last."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from pathlib import Path

import msgspec

from llmgate.errors import Conflict, StorageError, StoreCorrupt
from llmgate.storage.base import Health, Records, Stats
from llmgate.storage.batch import Batch, Results, Stage, StoredDocument, StoredLine
from llmgate.storage.local import Found, Local
from llmgate.storage.places import utc_stamp, write_whole
from llmgate.storage.scan import behind, in_direction, page, select
from llmgate.storage.url import Url

SCHEMA = 1


class Options(msgspec.Struct, frozen=True):
    """There are no parameters."""


class Image(msgspec.Struct, frozen=True):
    """Everything in a store, as a backup holds it."""

    schema: int
    version: int
    documents: dict[str, StoredDocument]
    logs: dict[str, list[StoredLine]]


async def open_url(url: Url) -> Records:
    """A new, empty store."""
    url.options(Options)
    return Local(Memory())


class Memory:
    """Dictionaries, and the keys beside them in order."""

    location = "memory:"

    def __init__(self) -> None:
        self._version = 0
        self._documents: dict[str, StoredDocument] = {}
        self._logs: dict[str, list[StoredLine]] = {}
        self._keys: list[str] = []

    def commit(self, batches: Sequence[Batch], now: int) -> list[Results | StorageError]:
        stage = Stage(self._version, now, self._documents.get, self.end)
        results: list[Results | StorageError] = []
        for batch in batches:
            try:
                results.append(stage.play(batch))
            except Conflict as error:
                results.append(error)
        self._version = stage.version
        for key, document in stage.documents.items():
            if document is None:
                self._forget(key)
                continue
            if key not in self._documents:
                insort(self._keys, key)
            self._documents[key] = document
        for name, change in stage.logs.items():
            if change.dropped:
                self._logs.pop(name, None)
            if change.lines:
                self._logs.setdefault(name, []).extend(change.lines)
        return results

    def get(self, key: str, now: int) -> StoredDocument | None:
        found = self._documents.get(key)
        if found is not None and not found.alive(now):
            self._forget(key)
            return None
        return found

    def keys(self, prefix: str, after: str, limit: int, now: int) -> list[str]:
        return page(
            (key for key in behind(self._keys, prefix, after) if self._documents[key].alive(now)),
            prefix,
            limit,
        )

    def logs(self, prefix: str, after: str, limit: int) -> list[str]:
        return page(behind(sorted(self._logs), prefix, after), prefix, limit)

    def end(self, log: str) -> int:
        return len(self._logs.get(log, ()))

    def read(self, log: str, after: int | None, limit: int, reverse: bool) -> Found:
        lines = self._logs.get(log, [])
        positions = in_direction(range(1, len(lines) + 1), after, limit, reverse)
        return [(position, lines[position - 1]) for position in positions]

    def search(
        self,
        log: str,
        words: tuple[str, ...],
        since: int | None,
        until: int | None,
        limit: int,
        offset: int,
        reverse: bool,
    ) -> tuple[Found, int]:
        lines = self._logs.get(log, [])
        texts, times = [line.folded for line in lines], [line.at for line in lines]
        found = select(texts, times, words, since, until)
        wanted = (found[::-1] if reverse else found)[offset : offset + limit]
        return [(position, lines[position - 1]) for position in wanted], len(found)

    def health(self) -> Health:
        return Health(True)

    def stats(self, now: int) -> Stats:
        return Stats(
            "memory",
            self.location,
            SCHEMA,
            sum(document.alive(now) for document in self._documents.values()),
            len(self._logs),
            sum(map(len, self._logs.values())),
            0,
        )

    def backup(self, path: Path | None) -> Path:
        path = path or Path(f"llmgate-{utc_stamp()}.json")
        image = Image(SCHEMA, self._version, self._documents, self._logs)
        write_whole(path, msgspec.json.encode(image))
        return path

    def restore(self, path: Path) -> None:
        try:
            image = msgspec.json.decode(path.read_bytes(), type=Image)
        except OSError as error:
            raise StorageError(f"can't read {path}: {error.strerror or error}.") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreCorrupt(f"{path} is not a backup of a memory: store: {error}.") from error
        self._version = max(self._version, image.version)
        self._documents, self._logs = image.documents, image.logs
        self._keys = sorted(image.documents)

    def close(self) -> None:
        self._documents, self._logs, self._keys = {}, {}, []

    def _forget(self, key: str) -> None:
        if self._documents.pop(key, None) is not None:
            del self._keys[bisect_right(self._keys, key) - 1]
