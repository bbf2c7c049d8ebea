"""Callers' passages → the form in which SQLite keeps them, and back."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from llmgate.errors import ConfigError, Unstorable
from llmgate.storage import encoding
from llmgate.storage.operations import checked, now
from llmgate.storage.passages import Metric, Passage, id_of
from llmgate.storage.terms import indexed

# Longer values of metadata are compared by their checksums.
_LONG = 200
# Columns of a row with its vector.
_WITH_VECTOR = 6


class StoredPassage(msgspec.Struct, frozen=True):
    """A passage as a row: JSON, microseconds, little-endian floats. `terms` go to the index."""

    id: str
    text: str
    doc: str | None
    metadata: str
    at: int
    vector: bytes | None
    terms: str
    tags: frozenset[tuple[str, str]]


def stored(passage: Passage) -> StoredPassage:
    """The row for a passage. Raises `Unstorable`."""
    text = checked(passage.text)
    doc = None if passage.doc_id is None else checked(passage.doc_id)
    metadata = passage.metadata
    if not isinstance(metadata, dict):
        raise Unstorable(f"the metadata is a {type(metadata).__name__}, and has to be an object.")
    encoded = encoding.encode(metadata)
    return StoredPassage(
        encoding.check_name("passage's id", passage.id or id_of(text, doc)),
        text,
        doc,
        encoded.decode(),
        now() if passage.created_at is None else encoding.micros(passage.created_at),
        None if passage.embedding is None else pack(passage.embedding),
        indexed(text),
        frozenset(_tags(msgspec.json.decode(encoded))),
    )


def passage_of(row: Sequence[Any]) -> Passage:
    """The passage of a row: name, text, doc, metadata, at, and the vector if that was read."""
    name, text, doc, metadata, at, vector = row if len(row) == _WITH_VECTOR else (*row, None)
    return Passage(
        text,
        name,
        None if vector is None else unpack(vector),
        doc,
        encoding.decode(metadata.encode(), f"the metadata of the passage {name!r}"),
        encoding.moment(at),
    )


def pack(vector: Sequence[float]) -> bytes:
    """A vector as bytes. Raises `Unstorable` for one that is empty or has NaN or infinity in it."""
    numbers = vector.tolist() if hasattr(vector, "tolist") else vector
    try:
        packed = struct.pack(f"<{len(numbers)}f", *numbers)
    except (struct.error, OverflowError, TypeError) as error:
        raise Unstorable(f"the vector is not made of numbers that fit: {error}.") from error
    if not numbers:
        raise Unstorable("the vector has no numbers.")
    if not all(map(math.isfinite, numbers)):
        raise Unstorable("the vector has NaN or an infinity in it, which no other can be near to.")
    return packed


def unpack(vector: bytes) -> tuple[float, ...]:
    """The vector that `pack` made this of."""
    return struct.unpack(f"<{len(vector) // 4}f", vector)


def check_dimension(collection: str, dimension: int | None, got: int) -> None:
    """Raise `ConfigError` unless a vector fits."""
    if dimension is not None and got != dimension:
        raise ConfigError(
            f"the vectors of {collection!r} have {dimension} dimensions, and this one has {got}.",
            hint="Use the embedding model that the others were made with, or a new collection.",
        )


def check_metric(collection: str, metric: str, wanted: Metric | None) -> None:
    """Raise `ConfigError` unless it is the metric that is wanted, if one is."""
    if wanted is not None and wanted != metric:
        raise ConfigError(
            f"the metric of {collection!r} is {metric}, and can't be {wanted}.",
            hint=f"Open it with metric={metric!r}, or make a new collection.",
        )


def chosen(collection: int, wanted: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """SQL for the rows of passages that a filter lets through, and its values."""
    parts: list[str] = []
    values: list[Any] = []
    for key, value in wanted.items():
        several = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
        places = ", ".join("?" * len(several))
        if key == "doc_id":
            also = " OR doc IS NULL" if None in several else ""
            sql = f"SELECT id FROM passages WHERE collection = ? AND (doc IN ({places}){also})"  # noqa: S608
            parts.append(sql)
            values += [collection, *(None if doc is None else checked(str(doc)) for doc in several)]
        else:
            tags = "SELECT passage FROM tags WHERE collection = ? AND key = ?"
            parts.append(f"{tags} AND value IN ({places})")
            values += [collection, checked(key), *(_tag_value(key, one) for one in several)]
    return " INTERSECT ".join(parts), values


def _tags(metadata: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for key, value in metadata.items():
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, (dict, list)):
                yield key, _tag_value(key, one)


def _tag_value(key: str, value: Any) -> str:
    if isinstance(value, (dict, list, tuple)):
        raise Unstorable(
            f"metadata can't be filtered by {key!r} = {value!r}: only by plain values."
        )
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = encoding.encode(value).decode()
    return text if len(text) <= _LONG else f"#{hashlib.sha256(text.encode()).hexdigest()}"
