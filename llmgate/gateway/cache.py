"""Answers to requests that were asked before, word for word."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import msgspec

from llmgate.gateway.call import Call
from llmgate.gateway.clock import Clock
from llmgate.types import CallDelta, Delta, Note, Request, Usage

_ENTRIES = 10_000
_BYTES = 64 * 1024 * 1024
# One answer may not push out all others.
_LARGEST = _BYTES // 8
# What an entry takes beside its text, about.
_OVERHEAD = 1024


class Kept(msgspec.Struct, frozen=True):
    """An answer that was given: its deltas, what it took then, and until when it is good."""

    deltas: tuple[Delta, ...]
    usage: Usage
    stored: float
    expires: float
    size: int


class Cache:
    """Keeps whole answers, up to a number and a size; those that were not used longest go first."""

    def __init__(self, clock: Clock, *, entries: int = _ENTRIES, size: int = _BYTES) -> None:
        self._clock = clock
        self._entries = entries
        self._limit = size
        self._size = 0
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()

    def get(self, key: bytes) -> Kept | None:
        """The answer, if there is one that is still good."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.expires <= self._clock.now():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: bytes, deltas: Sequence[Delta], usage: Usage, seconds: float) -> None:
        """Keep an answer for so many seconds."""
        joined = tuple(join(deltas))
        size = _OVERHEAD + sum(map(_length, joined))
        if size > min(_LARGEST, self._limit):
            return
        if key in self._kept:
            self._drop(key)
        now = self._clock.now()
        self._kept[key] = Kept(joined, usage, now, now + seconds, size)
        self._size += size
        while self._size > self._limit or len(self._kept) > self._entries:
            self._drop(next(iter(self._kept)))

    async def through(
        self,
        call: Call,
        model: str,
        request: Request,
        seconds: float,
        answered: Callable[[], AsyncGenerator[Delta, None]],
    ) -> AsyncGenerator[Delta, None]:
        """The answer that is kept, else the one that `answered` makes, which is then kept."""
        key = key_of(model, request)
        kept = self.get(key) if key is not None else None
        deltas = answered() if kept is None else replayed(call, request, kept, self.age(kept))
        given: list[Delta] = []
        async with aclosing(deltas):
            async for delta in deltas:
                given.append(delta)
                yield delta
        if key is not None and not (call.from_cache or call.fallback):
            self.put(key, lasting(given, request), call.usage, seconds)

    def age(self, kept: Kept) -> Note:
        """The note that says where the answer is from."""
        seconds = self._clock.now() - kept.stored
        return Note("cached", f"the same request was answered {seconds:.0f} s ago")

    def _drop(self, key: bytes) -> None:
        self._size -= self._kept.pop(key).size


def key_of(model: str, request: Request) -> bytes | None:
    """What is the same for requests that are the same, whatever they call their conversation.

    None for a request that can't be written down, which no backend will take either.
    """
    bare = msgspec.structs.replace(request, model=model, notes=(), conversation=None)
    try:
        return hashlib.blake2b(msgspec.json.encode(bare), digest_size=32).digest()
    except (UnicodeEncodeError, OverflowError, RecursionError):
        return None


async def replayed(
    call: Call, request: Request, kept: Kept, note: Note
) -> AsyncGenerator[Delta, None]:
    """An answer from the cache, as it would come from a model."""
    *deltas, finish = kept.deltas
    call.begun()
    call.from_cache, call.finish = True, finish.finish
    for delta in deltas:
        yield delta
    for own in (*request.notes, note):
        yield Delta(note=own)
    yield Delta(usage=kept.usage)
    yield finish


def lasting(deltas: Sequence[Delta], request: Request) -> list[Delta]:
    """What of an answer belongs to everybody who asks the same."""
    return [
        delta
        for delta in deltas
        if delta.usage is None and (delta.note is None or delta.note not in request.notes)
    ]


def join(deltas: Sequence[Delta]) -> list[Delta]:
    """The same answer in as few deltas as possible."""
    joined: list[Delta] = []
    for delta in deltas:
        both = _merged(joined[-1], delta) if joined else None
        if both is None:
            joined.append(delta)
        else:
            joined[-1] = both
    return joined


def _merged(first: Delta, second: Delta) -> Delta | None:
    """One delta for two that follow each other, if they are of the same kind."""
    for delta in (first, second):
        if delta.note or delta.finish or delta.usage:
            return None
    if first.call is not None or second.call is not None:
        return _merged_call(first, second)
    if bool(first.text) != bool(second.text) or bool(first.reasoning) != bool(second.reasoning):
        return None
    return Delta(text=first.text + second.text, reasoning=first.reasoning + second.reasoning)


def _merged_call(first: Delta, second: Delta) -> Delta | None:
    one, other = first.call, second.call
    texts = first.text or second.text or first.reasoning or second.reasoning
    if one is None or other is None or texts or one.index != other.index or other.id is not None:
        return None
    arguments = one.arguments + other.arguments
    return Delta(call=CallDelta(one.index, arguments, one.id, one.name or other.name))


def _length(delta: Delta) -> int:
    call = len(delta.call.arguments) if delta.call is not None else 0
    note = len(delta.note.message) if delta.note is not None else 0
    return 4 * (len(delta.text) + len(delta.reasoning) + call + note)
