"""What was taken back of a conversation, or said otherwise later."""

from __future__ import annotations

import msgspec

from llmgate.memory import names
from llmgate.storage import Records


class Correction(msgspec.Struct, frozen=True):
    """A message that is not to be seen any more as it was.

    `position` is the message, `hidden` the entry that has said it so far: itself, or what amended
    it before. `now` is the entry that says it from now on, None if it was retracted. `end` is
    where the log ended then. `said`: searches find the hidden entry.
    """

    position: int
    hidden: int
    now: int | None
    end: int
    role: str
    said: bool


async def corrections(records: Records, name: str, root: str, first: int) -> list[Correction]:
    """The corrections of messages from `first` on, the last one first, and maybe of others."""
    found: list[Correction] = []
    log = names.corrections(name, root)
    after: int | None = None
    # Most are of the last messages, and few of them: so are the steps that this takes.
    limit = 16
    while entries := await records.read(log, after=after, limit=limit, reverse=True):
        for entry in entries:
            correction = msgspec.convert(entry.value, Correction)
            # The log had not come to `first` yet: nothing before can be of interest.
            if correction.end < first:
                return found
            found.append(correction)
        after = entries[-1].position
        limit = 1000
    return found
