"""Columns of numbers in few characters, for pages with ten thousand rows.

Each column has whole numbers and is written in digits of base 64, as many for each row as its
largest number needs; the digits `/` alone stand for an unknown one. A column of few different
numbers has these as `v`, and digits that say which. `report.js` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

DIGITS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def packed(whole: Sequence[int | None], scale: int = 1) -> dict[str, Any]:
    """A column of whole numbers from 0 on, as `{"w": digits, "s": scale, "d": text}`.

    `scale` is what they are divided by when they are read.
    A column that is the same in each row has `w` 0 and its only number as `d`.
    """
    if len(set(whole)) <= 1:
        return {"w": 0, "s": scale, "d": whole[0] if whole else None}
    known = sorted({value for value in whole if value is not None})
    width = 1
    # The largest number of a width is kept for what is unknown.
    while known[-1] >= 64**width - 1:
        width += 1
    column: dict[str, Any] = {"w": width, "s": scale}
    if width > 1 and len(known) < 64:
        places = {value: place for place, value in enumerate(known)}
        whole = [None if value is None else places[value] for value in whole]
        column["w"] = width = 1
        column["v"] = known
    unknown = DIGITS[-1] * width
    column["d"] = "".join(unknown if value is None else _digits(value, width) for value in whole)
    return column


def unpacked(column: Mapping[str, Any], rows: int) -> list[float | None]:
    """The numbers of a packed column, divided by its scale."""
    width, scale, data = column["w"], column["s"], column["d"]
    if width == 0:
        return [None if data is None else data / scale] * rows
    values = column.get("v")
    found: list[float | None] = []
    for row in range(rows):
        digits = data[row * width : (row + 1) * width]
        value = 0
        for digit in digits:
            value = value * 64 + DIGITS.index(digit)
        if digits == DIGITS[-1] * width:
            found.append(None)
        else:
            found.append((values[value] if values else value) / scale)
    return found


def inert_json(value: object) -> str:
    """JSON text that can stand in a script element: nothing in it ends that or begins another."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for each in "<>&\u2028\u2029":
        text = text.replace(each, f"\\u{ord(each):04x}")
    return text


def _digits(value: int, width: int) -> str:
    digits = []
    for _ in range(width):
        value, digit = divmod(value, 64)
        digits.append(DIGITS[digit])
    return "".join(reversed(digits))
