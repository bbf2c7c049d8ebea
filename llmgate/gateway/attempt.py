"""One attempt at an answer: a generation, up to where it can't be taken back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator

from llmgate.errors import BackendError
from llmgate.gateway.call import Call
from llmgate.gateway.generation import generate
from llmgate.gateway.replicas import Turn
from llmgate.types import Delta, Note, Request


class Answer:
    """An answer that has begun: what is there of it, and the rest as it comes.

    `rest` is None where all of it is there. `notes` are to be added to it.
    """

    def __init__(
        self,
        ready: list[Delta],
        rest: AsyncGenerator[Delta, None] | None = None,
        turn: Turn | None = None,
    ) -> None:
        self.ready = ready
        self.rest = rest
        self.notes: list[Note] = []
        self._turn = turn

    async def aclose(self, error: BaseException | None = None, *, finished: bool = False) -> None:
        """Stop what still runs and give the place back; `error` is what it failed with."""
        try:
            if self.rest is not None:
                await self.rest.aclose()
        finally:
            if self._turn is not None:
                self._turn.end(error, finished=finished)


class Ending:
    """What an answer ends with, whenever it came: notes, the usage, the finish."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._last: list[Delta] = []
        self._finish: Delta | None = None

    def takes(self, delta: Delta) -> bool:
        """Whether a delta belongs to the end; it is kept then."""
        if delta.usage is not None:
            self._call.used(delta.usage)
        elif delta.finish is not None:
            self._finish = self._finish or delta
        elif delta.note is not None:
            self._last.append(delta)
        else:
            return False
        return True

    def close(self) -> None:
        """All of the answer has come. Raises `BackendError` where it has no finish."""
        if self._finish is None:
            raise unfinished(self._call)
        self._call.finish = self._finish.finish

    def deltas(self, notes: Iterable[Note]) -> Iterator[Delta]:
        """The deltas of the end, with these notes behind its own."""
        assert self._finish is not None
        yield from self._last
        for note in notes:
            yield Delta(note=note)
        yield Delta(usage=self._call.usage)
        yield self._finish


async def begin(call: Call, turn: Turn, request: Request) -> Answer:
    """A generation whose first text is there; all of it, where the call wants it whole.

    Until then everything that fails raises, and can be tried again or elsewhere.
    """
    ready: list[Delta] = []
    deltas = generate(turn.replica.route, request, call.observer)
    try:
        async for delta in deltas:
            if delta.usage is not None:
                call.used(delta.usage)
            else:
                ready.append(delta)
                if not (call.whole or delta.note or delta.finish):
                    call.begun()
                    turn.worked()
                    return Answer(ready, deltas, turn)
    except BaseException:
        await deltas.aclose()
        raise
    if not any(delta.finish for delta in ready):
        raise unfinished(call)
    call.begun()
    turn.worked()
    turn.end(finished=True)
    return Answer(ready)


def unfinished(call: Call) -> BackendError:
    """What an answer without an end is: no answer."""
    return BackendError(f"The answer of {call.replica} was cut off before its end.")
