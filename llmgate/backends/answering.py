"""From the events of one answer to its deltas: texts, stop strings, and an end that is one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from llmgate.backends.server import Server
from llmgate.backends.sse import Event
from llmgate.backends.stops import Stops
from llmgate.errors import LlmgateError
from llmgate.types import Delta, Finish, Usage


class Reader(Protocol):
    """Makes deltas of the replies of one answer: pure, one for each answer.

    `finish` is None until the server's own end mark has come, then why it ended. `usage` is None
    until it was told. `complete`: nothing that matters can come any more.
    """

    finish: Finish | None
    usage: Usage | None
    complete: bool

    def take(self, reply: dict[str, Any]) -> list[Delta]:
        """The deltas of one reply; never one with `finish` or `usage`.

        Raises `BackendError` for a reply that says that the answer has failed.
        """
        ...


class Answering:
    """One answer on its way.

    `over`: nothing more is wanted of the server. `ending` is set as soon as only what belongs to
    the end can come. `whole`: it has an end, of the server's or by a stop string.
    """

    def __init__(self, server: Server, reader: Reader, stop: Sequence[str]) -> None:
        self.over = False
        self.ending = asyncio.Event()
        self._server = server
        self._reader = reader
        self._stops = Stops(stop)
        self._said = False
        # A reader's short cut for the many replies that are a piece of the text and nothing
        # else: the text, or None for a reply that `take` has to look at.
        self._text_of: Callable[[str], str | None] | None = getattr(reader, "text_of", None)

    @property
    def whole(self) -> bool:
        return self._reader.finish is not None or self._stops.found

    def take(self, events: Iterable[Event]) -> Iterator[Delta]:
        """What these events say. Texts that came together go on together.

        Raises what a server reports, behind what it had said before.
        """
        reader, text, text_of = self._reader, "", self._text_of
        try:
            for event in events:
                if (
                    text_of is not None
                    and reader.finish is None
                    and event.name != "error"
                    and (piece := text_of(event.data)) is not None
                ):
                    text += piece
                elif event.data == "[DONE]":
                    self.over = True
                elif self.ending.is_set() and reader.finish is not None:
                    # An error behind the end takes nothing back.
                    with contextlib.suppress(LlmgateError):
                        reader.take(self._server.reply(event))
                else:
                    for delta in reader.take(self._server.reply(event)):
                        if delta.text:
                            text += delta.text
                            continue
                        yield from self._passed(text)
                        text = ""
                        self._said = self._said or bool(delta.call or delta.reasoning)
                        yield delta
                    # What is still to come is the usage.
                    if reader.finish is not None:
                        self.ending.set()
                if self.over or reader.complete:
                    break
        except LlmgateError:
            yield from self._passed(text)
            raise
        yield from self._passed(text)
        self.over = self.over or reader.complete
        if self.over or self._stops.found:
            self.ending.set()

    def end(self) -> Iterator[Delta]:
        """The end of an answer that is whole. Raises `BackendError` for one that is empty."""
        if text := self._stops.flush():
            self._said = True
            yield Delta(text)
        usage = self._reader.usage or Usage()
        if not self._said and not usage.completion and not self._stops.found:
            raise self._server.empty()
        finish = self._reader.finish
        yield Delta(finish="stop" if self._stops.found or finish is None else finish, usage=usage)

    def _passed(self, text: str) -> Iterator[Delta]:
        if text and (certain := self._stops.feed(text)):
            self._said = True
            yield Delta(certain)
