"""How many messages a conversation has, without reading all of it every time."""

from __future__ import annotations

import msgspec

from llmgate.memory import names
from llmgate.memory.corrections import Correction
from llmgate.storage import Records

# From how many more messages on the counts are stored, so that they are not read again.
_WORTH = 200
_PAGE = 500


class _Counts(msgspec.Struct):
    """Messages by role, up to a position of the log and of that of its corrections."""

    position: int = 0
    corrections: int = 0
    roles: dict[str, int] = msgspec.field(default_factory=dict)


async def counts(records: Records, name: str, root: str) -> dict[str, int]:
    """The number of messages by role; what was retracted does not count."""
    key = names.counts(name, root)
    found = await records.get(key)
    known = _Counts() if found is None else msgspec.convert(found.value, _Counts)
    before = known.position
    log = names.messages(name, root)
    while entries := await records.read(log, after=known.position, limit=_PAGE):
        for entry in entries:
            # What amends a message is no other one.
            if "stands_for" not in entry.value:
                role = entry.value["message"]["role"]
                known.roles[role] = known.roles.get(role, 0) + 1
        known.position = entries[-1].position
    log = names.corrections(name, root)
    while entries := await records.read(log, after=known.corrections, limit=_PAGE):
        for entry in entries:
            correction = msgspec.convert(entry.value, Correction)
            if correction.now is None:
                known.roles[correction.role] -= 1
        known.corrections = entries[-1].position
    if known.position - before >= _WORTH:
        # Whoever counts comes to the same: the logs only grow. So the last one may win.
        await records.put(key, known)
    return dict(known.roles)
