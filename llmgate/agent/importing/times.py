"""Times as MemGPT wrote them, in names of files and in packaged messages."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

# In names of files, spaces and colons are underscores.
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[ _T](\d\d)[:_](\d\d)[:_](\d\d)(?:[ _]+([AP]M))?"
    r"(?:[ _]+(?:[A-Za-z]+)?([+-])(\d\d)(\d\d))?"
)


def time_of(text: str) -> datetime | None:
    """The time that a text begins with; without a zone it is one of this machine's."""
    if (found := _TIME.match(text)) is None:
        return None
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    half, sign, hours, minutes = found.groups()[6:]
    if half is not None:
        hour = hour % 12 + (12 if half == "PM" else 0)
    try:
        naive = datetime(year, month, day, hour, minute, second)
        if sign is None:
            return naive.astimezone()
        ahead = timedelta(hours=int(hours), minutes=int(minutes))
        return naive.replace(tzinfo=timezone(-ahead if sign == "-" else ahead))
    except (ValueError, OverflowError):
        return None
