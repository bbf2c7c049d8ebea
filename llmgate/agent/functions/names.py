"""Names of files inside a folder: which are refused before anything is looked for."""

from __future__ import annotations

import re

from llmgate.errors import FunctionError
from llmgate.validation.words import shortened

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Windows has devices under these names in every folder, whatever comes behind a dot.
_DEVICES = re.compile(r"(?i)(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])(?:\s*\..*)?")
_LONGEST = 255
_DEEPEST = 32


def parts_of(name: str) -> tuple[str, ...]:
    """The folders and the file that a relative name goes through, at least one.

    The rules are the same on every system, so that what an agent has learnt on one holds on the
    others. Raises FunctionError that says what is wrong with the name.
    """
    shown = shortened(name)
    if not name.strip():
        raise FunctionError("The name of the file is empty.")
    if _CONTROL.search(name):
        raise FunctionError(f"The name {shown} has characters in it that names can't have.")
    if name.startswith(("/", "~")):
        raise FunctionError(f"The name {shown} leads out of the folder: use a relative name.")
    parts = tuple(name.split("/"))
    if len(parts) > _DEEPEST:
        raise FunctionError(f"The name {shown} is none of a file.")
    for part in parts:
        if part == "..":
            raise FunctionError(f"The name {shown} leads out of the folder: .. is not allowed.")
        # One file has one name: else a rule about a name could be got around.
        if part == ".":
            raise FunctionError(f"The name {shown} has a . too many: write it without ./")
        if not part or set(part) & set('\\:*?"<>|'):
            raise FunctionError(f"The name {shown} is not allowed: use names with / between them.")
        if part != part.strip() or part.endswith("."):
            raise FunctionError(f"The name {shown} has a part that begins or ends badly.")
        if _DEVICES.fullmatch(part):
            raise FunctionError(f"The name {shown} is that of a device, not of a file.")
        if len(part.encode()) > _LONGEST:
            raise FunctionError(f"The name {shown} is too long.")
    return parts
