"""Changes as engines get them: batches of encoded writes that happen all together or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

import msgspec

from llmgate.errors import Conflict


class StoredDocument(msgspec.Struct, frozen=True):
    """A document as engines keep it: the value is JSON, `expires` in microseconds since 1970."""

    version: int
    expires: int | None
    value: bytes

    def alive(self, now: int) -> bool:
        """Whether its time is not over."""
        return self.expires is None or self.expires > now


class StoredLine(msgspec.Struct, frozen=True):
    """An entry as engines keep it, without its position; `folded` is what searches compare."""

    at: int
    value: bytes
    text: str | None
    folded: str


class Put(msgspec.Struct, frozen=True):
    """Store a document. The result is its version."""

    key: str
    value: bytes
    expected: int | None
    expires: int | None


class Delete(msgspec.Struct, frozen=True):
    """Take a document away. The result is whether there was one."""

    key: str
    expected: int | None


class Append(msgspec.Struct, frozen=True):
    """Add entries behind position `expected`, or wherever the log ends. The result is that end."""

    log: str
    lines: tuple[StoredLine, ...]
    expected: int | None = None


class Drop(msgspec.Struct, frozen=True):
    """Take a log away. The result is how many entries it had."""

    log: str


class Check(msgspec.Struct, frozen=True):
    """Nothing but the condition that a document is still at this version, 0 for none."""

    key: str
    version: int


T = TypeVar("T")
Operation: TypeAlias = Put | Delete | Append | Drop | Check
Batch: TypeAlias = tuple[Operation, ...]
Results: TypeAlias = list[int]


def check_version(key: str, expected: int | None, actual: int) -> None:
    """Raise `Conflict` unless the document is at the expected version."""
    if expected is not None and expected != actual:
        raise Conflict("the document", key, expected=expected, actual=actual)


def check_end(log: str, expected: int | None, actual: int) -> None:
    """Raise `Conflict` unless the log ends at the expected position."""
    if expected is not None and expected != actual:
        raise Conflict("the end of the log", log, expected=expected, actual=actual)


class LogChange(msgspec.Struct):
    """What happens to a log: it is dropped first if `dropped`, then lines are added to `base`."""

    dropped: bool
    base: int
    lines: list[StoredLine]

    @property
    def end(self) -> int:
        return self.base + len(self.lines)


class Stage:
    """What several batches come to, before any of it is written.

    For engines that have no transactions of their own. A batch that raises leaves no trace.
    """

    def __init__(
        self,
        version: int,
        now: int,
        document: Callable[[str], StoredDocument | None],
        end: Callable[[str], int],
    ) -> None:
        self.version = version
        self.documents: dict[str, StoredDocument | None] = {}
        self.logs: dict[str, LogChange] = {}
        self._now = now
        self._document = document
        self._end = end
        self._undo: list[Callable[[], None]] = []

    def play(self, batch: Batch) -> Results:
        """Take a batch in. Raises `Conflict`."""
        version = self.version
        self._undo = []
        try:
            return [self._play(operation) for operation in batch]
        except Conflict:
            self.version = version
            for undo in reversed(self._undo):
                undo()
            raise

    def _play(self, operation: Operation) -> int:
        match operation:
            case Put(key, value, expected, expires):
                check_version(key, expected, self._version(key))
                self.version += 1
                self._set(self.documents, key, StoredDocument(self.version, expires, value))
                return self.version
            case Delete(key, expected):
                check_version(key, expected, actual := self._version(key))
                self._set(self.documents, key, None)
                return int(actual > 0)
            case Append(log, lines, expected):
                if log not in self.logs:
                    self._set(self.logs, log, LogChange(False, self._end(log), []))
                change = self.logs[log]
                check_end(log, expected, change.end)
                change.lines.extend(lines)
                self._undo.append(lambda: change.lines.__delitem__(slice(-len(lines), None)))
                return change.end
            case Drop(log):
                known = self.logs.get(log)
                self._set(self.logs, log, LogChange(True, 0, []))
                return known.end if known else self._end(log)
            case Check(key, version):
                check_version(key, version, self._version(key))
                return version

    def _set(self, table: dict[str, T], name: str, new: T) -> None:
        if name in table:
            old = table[name]
            self._undo.append(lambda: table.__setitem__(name, old))
        else:
            self._undo.append(lambda: table.__delitem__(name))
        table[name] = new

    def _version(self, key: str) -> int:
        found = self.documents[key] if key in self.documents else self._document(key)
        return found.version if found is not None and found.alive(self._now) else 0
