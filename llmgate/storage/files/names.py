"""Names of documents and logs → paths, and back: the same on every file system.

A name's parts between its slashes become folders. Whatever some system has a meaning for or does
not tell apart (dots, capitals, anything but ASCII) is written as `%` and the byte in two digits:
`agents/Ann/état` is `agents/%41nn/%c3%a9tat.json`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

# An empty part, as in `a//b`; followed by no digits, so that nothing else is written so.
_EMPTY = "%"
# Where names are that are too long for a path: the file itself says what they are.
_LONG = "%long"
_LONGEST_PART = 100
_LONGEST = 180
_UNSAFE = re.compile(rb"[^a-z0-9_-]")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])\Z")
_ESCAPE = re.compile(r"%([0-9a-f]{2})")


def path_of(name: str) -> PurePosixPath:
    """Where the name is, without a suffix."""
    parts = [_part(part) for part in name.split("/")]
    if max(map(len, parts)) > _LONGEST_PART or sum(map(len, parts)) + len(parts) > _LONGEST:
        return PurePosixPath(_LONG, hashlib.sha256(name.encode()).hexdigest())
    return PurePosixPath(*parts)


def is_long(path: PurePosixPath) -> bool:
    """Whether the path does not say the name."""
    return path.parts[0] == _LONG


def name_of(path: PurePosixPath) -> str:
    """The name that `path_of` makes this path of, if `is_long` does not say otherwise."""
    return "/".join(_text(part) for part in path.parts)


def folders_of(prefix: str) -> Iterator[str]:
    """The folders below which all names with the prefix are, the long ones apart."""
    *parts, _ = prefix.split("/")
    return map(_part, parts)


def _part(part: str) -> str:
    if not part:
        return _EMPTY
    if _RESERVED.match(part):
        return f"%{ord(part[0]):02x}{part[1:]}"
    return _UNSAFE.sub(lambda match: b"%%%02x" % match[0][0], part.encode()).decode()


def _text(part: str) -> str:
    if part == _EMPTY:
        return ""
    raw = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), part)
    return raw.encode("latin-1").decode("utf-8")
