"""A matrix of vectors in a file that is mapped into memory: never changed, only replaced.

It holds nothing that the table of vectors does not: a file that is not whole, or that was made of
another state of the store, is passed over and made anew.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from llmgate.storage.places import failure, make_folder, sync_folder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ids = npt.NDArray[np.int64]
    Rows = npt.NDArray[np.float32]

_MAGIC = b"llmgate matrix 1\n"
_HEADER = 4096
_SUFFIX = ".matrix"
# A file that is being written, and was left by a process that died.
_UNFINISHED = ".new"


class Header(msgspec.Struct, frozen=True):
    """What a matrix is of, and up to where: the last vector and the last removal that are in it."""

    generation: int
    collection: int
    dimension: int
    metric: str
    rows: int
    last: int
    removed: int
    ids: int = 0
    vectors: int = 0


class Stored(msgspec.Struct, frozen=True):
    """A matrix as a file has it: for each row its vector's id and its passage's."""

    header: Header
    ids: Ids
    passages: Ids
    rows: Rows
    path: Path | None = None


def read(folder: Path, generation: int, collection: int) -> Stored | None:
    """The newest whole matrix of this collection, None if there is none that is of use."""
    for path in sorted(folder.glob(f"{collection}-*{_SUFFIX}"), reverse=True):
        stored = _read(path)
        if stored is not None and (stored.header.generation, stored.header.collection) == (
            generation,
            collection,
        ):
            return stored
    return None


def write(folder: Path, stored: Stored) -> Path:
    """Put a matrix on the disk, and take older ones of the collection away.

    Raises `StorageError` if there is no space; nothing has changed then.
    """
    import numpy as np

    header = stored.header
    path = folder / f"{header.collection}-{header.last:020d}-{secrets.token_hex(4)}{_SUFFIX}"
    beside = path.with_name(path.name + _UNFINISHED)
    ids = np.ascontiguousarray(stored.ids, "<i8")
    passages = np.ascontiguousarray(stored.passages, "<i8")
    rows = np.ascontiguousarray(stored.rows, "<f4")
    header = msgspec.structs.replace(header, ids=_checksum(ids, passages), vectors=_checksum(rows))
    try:
        make_folder(folder)
        with beside.open("wb") as file:
            file.write(_head(header))
            for array in (ids, passages, rows):
                file.write(array.data if array.size else b"")
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
        sync_folder(folder)
    except OSError as error:
        discard(beside)
        raise failure(error, f"can't write {path}") from error
    for old in folder.glob(f"{header.collection}-*{_SUFFIX}*"):
        if old.name != path.name and not old.name.endswith(_UNFINISHED):
            discard(old)
    return path


def discard(path: Path) -> None:
    """Remove a file, unless a system refuses that because somebody reads it: later then."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def is_whole(stored: Stored) -> bool:
    """Whether the vectors are those that were written, to the last bit."""
    import numpy as np

    return _checksum(np.ascontiguousarray(stored.rows)) == stored.header.vectors


def _checksum(*arrays: npt.NDArray[Any]) -> int:
    checksum = 0
    for array in arrays:
        # An empty array has no buffer that could be taken.
        checksum = zlib.crc32(array.data.cast("B"), checksum) if array.size else checksum
    return checksum


def _head(header: Header) -> bytes:
    body = msgspec.json.encode(header)
    head = _MAGIC + b"%08x" % zlib.crc32(body) + body
    return head.ljust(_HEADER, b"\n")


def _read(path: Path) -> Stored | None:
    import numpy as np

    try:
        with path.open("rb") as file:
            head = file.read(_HEADER)
            size = os.fstat(file.fileno()).st_size
            header = _header(head)
            if header is None or header.rows < 0 or header.dimension < 1:
                return None
            body = 16 * header.rows
            if size != _HEADER + body + 4 * header.rows * header.dimension:
                return None
            data = file.read(body)
        if zlib.crc32(data) != header.ids:
            return None
        ids = np.frombuffer(data, "<i8")
        shape = (header.rows, header.dimension)
        rows: Rows
        if header.rows:
            rows = np.memmap(path, dtype="<f4", mode="r", offset=_HEADER + body, shape=shape)
        else:
            rows = np.empty(shape, np.float32)
    except (OSError, ValueError):
        # Gone meanwhile, or not to be mapped: it is made anew.
        return None
    return Stored(header, ids[: header.rows], ids[header.rows :], rows, path)


def _header(head: bytes) -> Header | None:
    if not head.startswith(_MAGIC) or len(head) != _HEADER:
        return None
    checksum, body = head[len(_MAGIC) : len(_MAGIC) + 8], head[len(_MAGIC) + 8 :].rstrip(b"\n")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        return msgspec.json.decode(body, type=Header)
    except msgspec.DecodeError:
        return None
