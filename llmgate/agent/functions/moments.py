"""Forms of types that JSON writes as texts or numbers: dates, times, paths and the like."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

import msgspec

from llmgate.agent.functions.forms import Form, number, text, wrong
from llmgate.types import Note

_WITH_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ]\d.*", re.DOTALL)


def _day(value: Any, where: str, notes: list[Note]) -> date:
    """A day; of a whole time, as search results show it, the day is taken."""
    said = text(value, where, notes).strip()
    if (longer := _WITH_TIME.fullmatch(said)) is not None:
        said = longer[1]
        notes.append(Note("coerced", f"{where}: {value!r} became {said!r}."))
    try:
        return date.fromisoformat(said)
    except ValueError:
        wrong(where, value, "a day, written YYYY-MM-DD")


def _moment(value: Any, where: str, notes: list[Note]) -> datetime:
    try:
        return datetime.fromisoformat(text(value, where, notes).strip())
    except ValueError:
        wrong(where, value, "a time, written YYYY-MM-DDTHH:MM:SSZ")


def _clock(value: Any, where: str, notes: list[Note]) -> time:
    try:
        return time.fromisoformat(text(value, where, notes).strip())
    except ValueError:
        wrong(where, value, "a time of the day, written HH:MM:SS")


def _converted(kind: type, wanted: str) -> Callable[[Any, str, list[Note]], Any]:
    def load(value: Any, where: str, notes: list[Note]) -> Any:
        try:
            return msgspec.convert(text(value, where, notes).strip(), kind)
        except msgspec.ValidationError:
            wrong(where, value, wanted)

    return load


def _decimal(value: Any, where: str, notes: list[Note]) -> Decimal:
    number(value, where, notes)
    return Decimal(str(value))


def _path(value: Any, where: str, notes: list[Note]) -> Path:
    return Path(text(value, where, notes))


def _bytes(value: Any, where: str, notes: list[Note]) -> bytes:
    try:
        return base64.b64decode(text(value, where, notes), validate=True)
    except (binascii.Error, ValueError):
        wrong(where, value, "base64")


def _texts(form: str) -> dict[str, Any]:
    return {"type": "string", "format": form}


MOMENTS: dict[type, Form] = {
    datetime: Form(_texts("date-time"), _moment),
    date: Form(_texts("date"), _day),
    time: Form(_texts("time"), _clock),
    timedelta: Form(_texts("duration"), _converted(timedelta, "a duration, written PT1H30M")),
    UUID: Form(_texts("uuid"), _converted(UUID, "a UUID")),
    Decimal: Form({"type": "number"}, _decimal),
    Path: Form({"type": "string"}, _path),
    PurePath: Form({"type": "string"}, _path),
    bytes: Form({"type": "string", "contentEncoding": "base64"}, _bytes),
}
