"""The engine behind `file:`: a journal for what counts, a tree of files for what is read."""

from __future__ import annotations

import contextlib
import logging
import time
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from llmgate.errors import Conflict, StorageError, StoreCorrupt
from llmgate.storage.base import Health, Stats
from llmgate.storage.batch import Batch, Results, Stage, StoredDocument
from llmgate.storage.files import copies
from llmgate.storage.files.journal import DocumentChange, Journal, LogChange, Record
from llmgate.storage.files.lock import Lock
from llmgate.storage.files.logs import Log, line_of, repaired
from llmgate.storage.files.names import is_long, path_of
from llmgate.storage.files.tree import LOG, Tree, load
from llmgate.storage.local import Found
from llmgate.storage.places import failure, make_folder, size_of
from llmgate.storage.scan import behind, page

logger = logging.getLogger(__name__)

# From how many bytes of journal on the files are flushed and a new one is begun.
_LONGEST_JOURNAL = 8 << 20
# How many logs are kept in mind.
_MOST_LOGS = 256


class Options(msgspec.Struct, frozen=True):
    """`pretty` indents documents; seconds to wait for another process; backups that are kept."""

    pretty: bool = False
    busy_timeout: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    backups: Annotated[int, Meta(ge=1)] = 5


class Files:
    """One folder. Every call holds the lock, so that several processes can share it.

    What was read stays in mind; what others have changed meanwhile is seen in the journal.
    """

    def __init__(self, folder: Path, options: Options) -> None:
        self.location = str(folder)
        self._folder = folder
        self._options = options
        self._tree = Tree(folder, pretty=options.pretty)
        self._journal = Journal(folder / "journal.jsonl")
        self._logs: dict[str, Log] = {}
        # All keys in order and those of them that expire, once somebody has asked for them.
        self._keys: list[str] | None = None
        self._expiring: set[str] = set()
        self._repaired: list[str] = []
        with contextlib.ExitStack() as stack:
            with self._errors("open"):
                make_folder(folder)
                copies.check_ours(folder)
                self._lock = Lock(folder / "lock", options.busy_timeout)
                stack.callback(self._lock.close)
                stack.callback(self._journal.close)
                with self._lock.held():
                    copies.prepare(folder, options.backups)
                    self._recover()
                    self._sweep(time.time_ns() // 1000)
            stack.pop_all()

    def commit(self, batches: Sequence[Batch], now: int) -> list[Results | StorageError]:
        with self._held("write to"):
            stage = Stage(self._journal.version, now, self._tree.document, self._end)
            results: list[Results | StorageError] = []
            for batch in batches:
                try:
                    results.append(stage.play(batch))
                except Conflict as error:
                    results.append(error)
            if stage.documents or stage.logs:
                self._write(self._record(stage))
        return results

    def get(self, key: str, now: int) -> StoredDocument | None:
        with self._held("read"):
            found = self._tree.document(key)
        return found if found is not None and found.alive(now) else None

    def keys(self, prefix: str, after: str, limit: int, now: int) -> list[str]:
        with self._held("read"):
            if self._keys is None:
                known = dict(self._tree.documents())
                self._keys = sorted(known)
                self._expiring = {key for key, expires in known.items() if expires}
            names = behind(self._keys, prefix, after)
            return page((key for key in names if self._is_alive(key, now)), prefix, limit)

    def logs(self, prefix: str, after: str, limit: int) -> list[str]:
        with self._held("read"):
            return page(behind(sorted(self._tree.logs(prefix)), prefix, after), prefix, limit)

    def end(self, log: str) -> int:
        with self._held("read"):
            return self._end(log)

    def read(self, log: str, after: int | None, limit: int, reverse: bool) -> Found:
        with self._held("read"):
            return self._log(log).read(after, limit, reverse)

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
        with self._held("search"):
            return self._log(log).search(words, since, until, limit, offset, reverse)

    def health(self) -> Health:
        problems = []
        with self._held("read"):
            for path in self._tree.files():
                try:
                    if path.name.endswith(LOG):
                        log, torn = Log.open(path)
                        if torn:
                            problems.append(f"{path}: its last line is not whole")
                        for start in range(0, len(log), 1000):
                            log.read(start, 1000, False)
                    elif (key := load(path).key) and path_of(key).name != path.name.split(".")[0]:
                        problems.append(f"{path}: is not where {key!r} belongs")
                except StorageError as error:
                    problems.append(error.message)
        return Health(not problems, tuple(problems), tuple(self._repaired))

    def stats(self, now: int) -> Stats:
        with self._held("read"):
            documents = sum(
                not expires or self._is_alive(key, now) for key, expires in self._tree.documents()
            )
            logs = list(self._tree.logs())
            entries = sum(map(self._end, logs))
            size = size_of(self._tree.data)
        return Stats("file", self.location, copies.SCHEMA, documents, len(logs), entries, size)

    def backup(self, path: Path | None) -> Path:
        with self._held("back up"):
            self._checkpoint()
            return copies.backup(self._folder, path, self._options.backups)

    def restore(self, path: Path) -> None:
        with self._held("restore"):
            copies.check_backup(path)
            self._checkpoint()
            version = max(self._journal.version, copies.version_of(path))
            copies.restore(self._folder, path)
            self._journal.start(version)
            self._forget()

    def close(self) -> None:
        try:
            with self._held("close"):
                self._checkpoint()
        finally:
            self._journal.close()
            self._lock.close()

    def _record(self, stage: Stage) -> Record:
        documents = tuple(
            DocumentChange(key)
            if new is None
            else DocumentChange(key, new.version, new.expires, msgspec.Raw(new.value))
            for key, new in stage.documents.items()
        )
        logs = []
        for name, change in stage.logs.items():
            inside = name if is_long(path_of(name)) else None
            offset = 0 if change.dropped else self._log(name).end
            lines = tuple(
                line_of(position, line, inside)
                for position, line in enumerate(change.lines, change.base + 1)
            )
            if lines or change.dropped:
                logs.append(LogChange(name, offset, change.dropped, lines))
        return Record(stage.version, documents, tuple(logs))

    def _write(self, record: Record) -> None:
        """Into the journal, where it counts, then into the files."""
        size, version = self._journal.size, self._journal.version
        self._lock.begin()
        try:
            self._journal.append(record)
        except OSError:
            self._lock.end()
            raise
        try:
            ready = self._tree.begin(record)
        except OSError:
            # If this fails as well, the next look finishes the write.
            self._journal.cut(size, version)
            self._lock.end()
            raise
        # From here on there is no way back: if this fails, the next look finishes it.
        self._tree.finish(record, ready)
        self._lock.end()
        self._take_in(record)
        if self._journal.size > _LONGEST_JOURNAL:
            try:
                self._checkpoint()
            except OSError as error:
                # The write is safe in the journal; the next one tries again.
                logger.warning("can't flush %s: %s", self.location, error)

    def _take_in(self, record: Record) -> None:
        """Keep what is in mind in step with a record that was applied."""
        self._tree.note(record)
        for change in record.logs:
            known = self._logs.get(change.log)
            if change.dropped or (known is not None and known.end != change.offset):
                self._logs.pop(change.log, None)
            elif known is not None:
                known.add(change.lines)
        if self._keys is None:
            return
        for document in record.documents:
            place = bisect_left(self._keys, document.key)
            there = place < len(self._keys) and self._keys[place] == document.key
            if document.version == 0 and there:
                del self._keys[place]
            elif document.version and not there:
                insort(self._keys, document.key)
            if document.version and document.expires is not None:
                self._expiring.add(document.key)
            else:
                self._expiring.discard(document.key)

    def _checkpoint(self) -> None:
        self._tree.flush()
        self._journal.start(self._journal.version)
        self._tree.forget()

    def _recover(self) -> None:
        """Make all changes in the journal once more, whoever was to have made them."""
        self._forget()
        self._tree.make()
        for record in self._journal.open():
            self._tree.apply(record)
            self._tree.note(record)
        self._lock.end()

    def _sweep(self, now: int) -> None:
        """Take away the documents whose time is over."""
        gone = [
            key
            for key, expires in self._tree.documents()
            if expires and (found := self._tree.document(key)) and not found.alive(now)
        ]
        for start in range(0, len(gone), 1000):
            changes = tuple(DocumentChange(key) for key in gone[start : start + 1000])
            self._write(Record(self._journal.version, changes))

    def _forget(self) -> None:
        self._logs.clear()
        self._keys = None
        self._expiring = set()
        self._tree.forget()

    def _is_alive(self, key: str, now: int) -> bool:
        if self._keys is not None and key not in self._expiring:
            return True
        found = self._tree.document(key)
        return found is not None and found.alive(now)

    def _end(self, log: str) -> int:
        return len(self._log(log))

    def _log(self, name: str) -> Log:
        if known := self._logs.get(name):
            return known
        log, torn = Log.open(self._tree.log_path(name))
        if torn:
            said = repaired(log, torn, self._folder / "damaged")
            self._repaired.append(said)
            logger.warning("%s", said)
        if len(self._logs) >= _MOST_LOGS:
            del self._logs[next(iter(self._logs))]
        self._logs[name] = log
        return log

    @contextlib.contextmanager
    def _held(self, doing: str) -> Iterator[None]:
        with self._errors(doing), self._lock.held() as crashed:
            if crashed:
                self._recover()
            elif (records := self._journal.follow()) is None:
                self._forget()
                for record in self._journal.open():
                    self._tree.note(record)
            else:
                for record in records:
                    self._take_in(record)
            yield

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise StoreCorrupt(
                f"{error.filename} is missing from {self.location}.",
                hint="Restore a backup: llmgate storage restore",
            ) from error
        except OSError as error:
            raise failure(error, f"can't {doing} {self.location}") from error
