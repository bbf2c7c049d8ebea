"""Callers' values → the operations that engines get, and back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from llmgate.errors import Unstorable
from llmgate.storage import encoding
from llmgate.storage.base import Document, Entry, lines_of
from llmgate.storage.batch import Append, Put, StoredDocument, StoredLine


def document_of(key: str, stored: StoredDocument) -> Document:
    """The document as callers see it."""
    expires = None if stored.expires is None else encoding.moment(stored.expires)
    value = encoding.decode(stored.value, f"the document {key!r}")
    return Document(key, value, stored.version, expires)


def put_of(key: str, value: Any, expected: int | None, expires: datetime | timedelta | None) -> Put:
    """The operation for a `put`. Raises `Unstorable`."""
    encoding.check_name("key", key)
    until = None
    if isinstance(expires, timedelta):
        until = now() + expires // timedelta(microseconds=1)
    elif expires is not None:
        until = encoding.micros(expires)
    return Put(key, encoding.encode(value), expected, until)


def append_of(log: str, entries: Sequence[Any]) -> Append:
    """The operation for an `append`. Raises `Unstorable`."""
    encoding.check_name("log", log)
    this_moment = now()
    lines = []
    for line in lines_of(entries):
        value = encoding.encode(line.value)
        text = None if line.text is None else checked(line.text)
        at = this_moment if line.at is None else encoding.micros(line.at)
        lines.append(StoredLine(at, value, text, encoding.searched(line.value, text)))
    return Append(log, tuple(lines))


def entry_of(log: str, position: int, line: StoredLine) -> Entry:
    """The entry as callers see it."""
    value = encoding.decode(line.value, f"entry {position} of the log {log!r}")
    return Entry(position, encoding.moment(line.at), value, line.text)


def checked(text: str) -> str:
    """The text, if it is one. Raises `Unstorable`."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unstorable("the text has half of a surrogate pair, which is not text.") from error
    return text


def now() -> int:
    """Microseconds since 1970, by this machine's clock."""
    return time.time_ns() // 1000
