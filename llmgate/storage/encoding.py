"""Values, times and texts in the forms in which engines keep them."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from llmgate.errors import StoreCorrupt, Unstorable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_STRICT = json.JSONEncoder(allow_nan=False, check_circular=False)


def encode(value: Any) -> bytes:
    """A value as JSON; times, bytes and the like become strings, tuples become lists.

    Raises `Unstorable` for what has no JSON form: NaN and infinities, halves of surrogate
    pairs, objects of other classes, nesting beyond the interpreter's limit.
    """
    try:
        data = msgspec.json.encode(value)
        # msgspec writes them as null, which is somebody else's value.
        if b"null" in data and not _is_finite(value):
            number = _not_finite(value)
            raise Unstorable(f"{number} has no form in JSON.")
    except UnicodeEncodeError as error:
        raise Unstorable(
            f"the character {error.object[error.start]!r} is half of a surrogate pair, not text."
        ) from error
    except RecursionError as error:
        raise Unstorable("the value is nested too deeply to be stored.") from error
    except (TypeError, OverflowError, ValueError) as error:
        raise Unstorable(f"the value can't be stored as JSON: {error}.") from error
    return data


def decode(data: bytes, where: str) -> Any:
    """The value that `encode` made this of. `where` is named when it did not."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise StoreCorrupt(
            f"{where} is not valid JSON: {error}.", hint="Restore a backup: llmgate storage restore"
        ) from error


def check_name(kind: str, name: str) -> str:
    """The name, if it can be one. Raises `Unstorable`."""
    if not name:
        raise Unstorable(f"a {kind} can't be empty.")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise Unstorable(f"the {kind} {name!r} has half of a surrogate pair, not text.") from error
    return name


def micros(moment: datetime) -> int:
    """Microseconds since 1970. Raises `Unstorable` for a time without a time zone."""
    if moment.tzinfo is None:
        raise Unstorable(
            f"the time {moment.isoformat()} has no time zone.",
            hint="Give it one: datetime.now(UTC)",
        )
    return (moment - _EPOCH) // _MICROSECOND


def moment(since_epoch: int) -> datetime:
    """The time, in UTC, that `micros` made this of."""
    return _EPOCH + since_epoch * _MICROSECOND


def searched(value: Any, text: str | None) -> str:
    """What a search looks at, in the form in which it compares."""
    return fold("\n".join(_strings(msgspec.to_builtins(value))) if text is None else text)


def fold(text: str) -> str:
    """The text without what a reader does not tell apart: case, width, ways of composing."""
    return unicodedata.normalize("NFKC", text.casefold()).replace("\0", " ")


def words(text: str) -> tuple[str, ...]:
    """The words of a search, each once."""
    return tuple(dict.fromkeys(fold(text).split()))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _strings(inner)


def _is_finite(value: Any) -> bool:
    """Whether there is no NaN and no infinity in it: in C, several times faster than a walk."""
    try:
        _STRICT.encode(msgspec.to_builtins(value))
    except ValueError:
        return False
    return True


def _not_finite(value: Any) -> float | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else value
    if isinstance(value, msgspec.Struct):
        inner: Any = msgspec.structs.asdict(value).values()
    elif isinstance(value, dict):
        inner = [*value, *value.values()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        inner = value
    else:
        return None
    return next((found for one in inner if (found := _not_finite(one)) is not None), None)
