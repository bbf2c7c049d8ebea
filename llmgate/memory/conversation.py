"""Conversations over records: all that was said, and what the model sees of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from llmgate.errors import RequestError, UnknownAgent
from llmgate.memory import names
from llmgate.memory.agents import agents
from llmgate.memory.corrections import Correction, corrections
from llmgate.memory.text import spoken, storable, storable_message
from llmgate.storage import Entry, Line, Records, Transaction
from llmgate.types import Message

# The kind of an entry that says an earlier message anew.
AMENDED = "amended"
# How many messages one read brings.
_PAGE = 1000


class Logged(msgspec.Struct, frozen=True):
    """A message and its place in the log.

    `kind` says where it came from: "event:user_message", "event:login" and other events,
    "assistant", "result", "boot".
    """

    position: int
    at: datetime
    message: Message
    kind: str


class Summary(msgspec.Struct, frozen=True):
    """What stands for the messages `first` to `last` of the log, which have left the window.

    `how` it was made: by a model, by a model from parts, or dropped without one. `hidden` counts
    all messages that are no longer in the window.
    """

    first: int
    last: int
    text: str
    how: Literal["model", "recursive", "dropped"]
    at: datetime
    hidden: int


class Window(msgspec.Struct, frozen=True):
    """What the model sees: `head` is the system text exactly as sent, then the messages from
    `start` on, with the summary of that number before them.

    `alerted`: the agent was told that it fills up. `version` is that of the stored window.
    """

    head: str
    start: int
    summary: int | None = None
    alerted: bool = False
    version: int = 0


class Conversation:
    """The messages of one agent, or of another conversation under its own `root`.

    Nothing is ever taken out of the log: what is retracted or amended is said by later entries.
    Writes happen at the end of the transaction that they are given.
    """

    def __init__(
        self,
        records: Records,
        name: str,
        *,
        root: str = names.AGENTS,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._records = records
        self._name = names.check_name(name)
        self._root = root
        self._clock = clock or _now
        self._log = names.messages(name, root)

    async def window(self) -> Window | None:
        """What the model sees, None for a conversation that has not begun."""
        found = await self._records.get(names.window(self._name, self._root))
        if found is None:
            return None
        return msgspec.convert({**found.value, "version": found.version}, Window)

    async def load(self) -> tuple[Window, tuple[Logged, ...], Summary | None]:
        """The window, the messages in it as they stand, and its summary: no more is read.

        Raises `UnknownAgent` for a conversation that has not begun.
        """
        window = await self.window()
        if window is None:
            raise UnknownAgent(self._name, await agents(self._records, root=self._root))
        logged = await self.messages(window.start)
        summary = None if window.summary is None else await self.summary(window.summary)
        return window, logged, summary

    async def append(
        self, tx: Transaction, *messages: tuple[str, Message], at: datetime | None = None
    ) -> tuple[Logged, ...]:
        """Add messages, each with its kind, and return them as they are stored.

        They are as they were given, but for halves of surrogate pairs in their texts, which no
        store can keep. `at` is now if it is not given.
        """
        at = at or self._clock()
        clean = [(kind, storable_message(message)) for kind, message in messages]
        positions = await tx.append(self._log, *(_line(kind, said, at) for kind, said in clean))
        await self._recall(tx, zip(positions, clean, strict=True), at)
        return tuple(
            Logged(position, at, message, kind)
            for position, (kind, message) in zip(positions, clean, strict=True)
        )

    def put_window(self, tx: Transaction, window: Window) -> None:
        """Store the window. Who else may write it is for the agent's state to guard."""
        value = msgspec.structs.asdict(window)
        del value["version"]
        tx.put(names.window(self._name, self._root), value)

    async def add_summary(self, tx: Transaction, summary: Summary) -> int:
        """Store a summary and return its number."""
        summary = msgspec.structs.replace(summary, text=storable(summary.text))
        [number] = await tx.append(
            names.summaries(self._name, self._root), Line(summary, text="", at=summary.at)
        )
        return number

    async def summaries(self) -> tuple[Summary, ...]:
        """Every summary, by number from 1 on."""
        found: list[Summary] = []
        log = names.summaries(self._name, self._root)
        while entries := await self._records.read(log, after=len(found)):
            found += [msgspec.convert(entry.value, Summary) for entry in entries]
        return tuple(found)

    async def summary(self, number: int) -> Summary:
        """The summary of that number. Raises `RequestError` if there is none."""
        log = names.summaries(self._name, self._root)
        if number > 0 and (entries := await self._records.read(log, after=number - 1, limit=1)):
            return msgspec.convert(entries[0].value, Summary)
        raise RequestError(f"the conversation {self._name!r} has no summary {number}.")

    async def end(self) -> int:
        """The position of the last entry of the log, 0 before the first."""
        return await self._records.end(self._log)

    async def messages(self, first: int, last: int | None = None) -> tuple[Logged, ...]:
        """The messages of these positions as they stand: amended where they were, none retracted.

        Up to the end of the log if `last` is not given. They are read from the log of all
        messages, whatever has left the window since.
        """
        return tuple(logged for logged, _ in await self._standing(first, last))

    async def raw(self, first: int, last: int | None = None) -> tuple[Logged, ...]:
        """The entries of these positions as they were written, whatever was corrected later."""
        found: list[Logged] = []
        after = max(first, 1) - 1
        while last is None or after < last:
            limit = _PAGE if last is None else min(_PAGE, last - after)
            entries = await self._records.read(self._log, after=after, limit=limit)
            found += map(_logged, entries)
            if len(entries) < limit:
                break
            after += len(entries)
        return tuple(found)

    async def amend(self, tx: Transaction, position: int, message: Message) -> Logged:
        """Say a message anew. The first one stays in the log, and is seen and found no more.

        Raises `RequestError` if there is no such message, or if it was retracted. A message can be
        amended once in one transaction.
        """
        logged, hidden = (await self._changeable(position))[0]
        message = storable_message(message)
        line = _line(AMENDED, message, logged.at, stands_for=position)
        [now] = await tx.append(self._log, line)
        await self._correct(tx, [(logged, hidden)], now)
        await self._recall(tx, [(now, (logged.kind, message))], logged.at, of=position)
        return msgspec.structs.replace(logged, message=message)

    async def retract(self, tx: Transaction, *positions: int) -> tuple[Logged, ...]:
        """Take messages back: they stay in the log, and are seen and found no more.

        Returns them as they stood. Raises `RequestError` if one is not there or was retracted
        before.
        """
        if not positions:
            return ()
        standing = await self._changeable(*positions)
        await self._correct(tx, standing, None)
        return tuple(logged for logged, _ in standing)

    async def _standing(self, first: int, last: int | None) -> list[tuple[Logged, int]]:
        """The messages as they stand, and the position of the entry that says each."""
        changed: dict[int, Correction] = {}
        for correction in await corrections(self._records, self._name, self._root, first):
            # They come from the last one back, and the last one counts.
            changed.setdefault(correction.position, correction)
        found = []
        for logged in await self.raw(first, last):
            if logged.kind == AMENDED:
                continue
            if logged.position not in changed:
                found.append((logged, logged.position))
            elif (now := changed[logged.position].now) is not None:
                [new] = await self.raw(now, now)
                found.append((msgspec.structs.replace(logged, message=new.message), now))
        return found

    async def _changeable(self, *positions: int) -> list[tuple[Logged, int]]:
        """As `_standing`, of these positions. Raises `RequestError` where there is no message."""
        between = await self._standing(min(positions), max(positions))
        standing = {logged.position: (logged, entry) for logged, entry in between}
        for position in positions:
            if position not in standing:
                raise RequestError(
                    f"the conversation {self._name!r} has no message {position} that can be "
                    "changed.",
                    hint="It may have been retracted before.",
                    param="position",
                )
        return [standing[position] for position in sorted(set(positions))]

    async def _correct(
        self, tx: Transaction, standing: list[tuple[Logged, int]], now: int | None
    ) -> None:
        end = max(await self.end(), now or 0)
        lines = []
        for logged, hidden in standing:
            said = spoken(logged.kind, logged.message)
            role = logged.message.role
            correction = Correction(logged.position, hidden, now, end, role, bool(said))
            lines.append(Line(correction, text=said, at=logged.at))
        await tx.append(names.corrections(self._name, self._root), *lines)

    async def _recall(
        self, tx: Transaction, messages: Any, at: datetime, of: int | None = None
    ) -> None:
        lines = []
        for position, (kind, message) in messages:
            if said := spoken(kind, message):
                value = {"position": position, "role": message.role}
                if of is not None:
                    value["of"] = of
                lines.append(Line(value, text=said, at=at))
        await tx.append(names.recall(self._name, self._root), *lines)


def _line(kind: str, message: Message, at: datetime, stands_for: int | None = None) -> Line:
    value: dict[str, Any] = {"kind": kind, "message": _lean(message)}
    if stands_for is not None:
        value["stands_for"] = stands_for
    # What was said is in another log for searches, without results and system events.
    return Line(value, text="", at=at)


def _lean(message: Message) -> dict[str, Any]:
    """The message without what it does not have."""
    return {
        name: value
        for name in message.__struct_fields__
        if (value := getattr(message, name)) is not None and value != ()
    }


def _logged(entry: Entry) -> Logged:
    message = msgspec.convert(entry.value["message"], Message)
    return Logged(entry.position, entry.at, message, entry.value["kind"])


def _now() -> datetime:
    return datetime.now(UTC)
