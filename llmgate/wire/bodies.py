"""JSON bodies → structs, with errors that name the field at fault."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from llmgate.errors import RequestError

T = TypeVar("T", bound=msgspec.Struct)


def decoded(raw: bytes, kind: type[T]) -> tuple[dict[str, Any], T]:
    """The object in a body, as it came and as a struct. Raises `RequestError`."""
    try:
        data = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RequestError(f"The body is not valid JSON: {error}.") from error
    if not isinstance(data, dict):
        raise RequestError("The body must be a JSON object.")
    try:
        return data, msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").removeprefix(".") or None
        where = f"{field}: " if field else ""
        text = problem.replace("`", "'")
        raise RequestError(f"{where}{text}.", param=field) from error
