"""Transactions that lock nothing: what they rest on is looked at again with the changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from llmgate.errors import StorageError, Unstorable
from llmgate.storage import encoding
from llmgate.storage.base import Document, Records
from llmgate.storage.batch import (
    Append,
    Batch,
    Check,
    Delete,
    Drop,
    Operation,
    Put,
    Results,
    StoredDocument,
)
from llmgate.storage.operations import append_of, document_of, put_of


class Collected:
    """A transaction: collects changes, and what they rest on, for one batch."""

    def __init__(self, records: Records, ends: Mapping[str, int] | None = None) -> None:
        self._records = records
        self._operations: list[Operation] = []
        self._written: dict[str, Document | None] = {}
        self._seen: dict[str, int] = {}
        self._ends = dict(ends or {})
        self._versions: dict[str, int] = {}
        self._open = True

    @property
    def ends(self) -> Mapping[str, int]:
        """As `Transaction.ends`."""
        return self._ends

    @property
    def versions(self) -> Mapping[str, int]:
        """As `Transaction.versions`."""
        return self._versions

    async def get(self, key: str) -> Document | None:
        """As `Transaction.get`."""
        self._check()
        if key in self._written:
            return self._written[key]
        found = await self._records.get(key)
        version = found.version if found else 0
        # The first sight counts: a second one that differs must not pass.
        self._seen.setdefault(key, version)
        return found

    def put(
        self,
        key: str,
        value: Any,
        *,
        expected: int | None = None,
        expires: datetime | timedelta | None = None,
    ) -> None:
        """As `Transaction.put`."""
        self._check()
        put = put_of(key, value, self._expected(key, expected), expires)
        self._operations.append(put)
        self._written[key] = document_of(key, StoredDocument(-1, put.expires, put.value))

    def delete(self, key: str, *, expected: int | None = None) -> None:
        """As `Transaction.delete`."""
        self._check()
        encoding.check_name("key", key)
        self._operations.append(Delete(key, self._expected(key, expected)))
        self._written[key] = None

    async def append(self, log: str, *entries: Any) -> tuple[int, ...]:
        """As `Transaction.append`."""
        self._check()
        if not entries:
            return ()
        append = append_of(log, entries)
        if log not in self._ends:
            self._ends[log] = await self._records.end(log)
        base = self._ends[log]
        self._operations.append(Append(log, append.lines, base))
        self._ends[log] = base + len(entries)
        return tuple(range(base + 1, base + len(entries) + 1))

    def drop(self, log: str) -> None:
        """As `Transaction.drop`."""
        self._check()
        encoding.check_name("log", log)
        self._operations.append(Drop(log))
        self._ends[log] = 0

    def finish(self) -> Batch:
        """All changes, behind the conditions that they rest on. Nothing can be added then."""
        self._open = False
        if not self._operations:
            return ()
        checks = [Check(key, version) for key, version in self._seen.items()]
        return (*checks, *self._operations)

    def done(self, batch: Batch, results: Results) -> None:
        """Take in what came of the changes."""
        for operation, result in zip(batch, results, strict=True):
            if isinstance(operation, Put):
                self._versions[operation.key] = result
            elif isinstance(operation, Delete):
                self._versions.pop(operation.key, None)

    def _expected(self, key: str, expected: int | None) -> int | None:
        if expected is None or key not in self._written:
            return expected
        # Only what was there before has a version that can be named.
        raise Unstorable(
            f"{key!r} was already written in this transaction: it has no version to expect yet.",
            hint="Leave `expected` out for the second write.",
        )

    def _check(self) -> None:
        if not self._open:
            raise StorageError("this transaction is over.")
