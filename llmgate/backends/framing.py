"""How the pieces of a body are told apart: events, lines of JSON, or one whole document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from llmgate.backends.sse import MAX_LINE, Event, Events


class Framing(Protocol):
    """Cuts a byte stream into events, whatever pieces it comes in.

    `types` are the content types that it can have (the beginnings of them, empty for any).
    `open_end`: what stands at the end without its end mark is whole all the same.
    """

    @property
    def types(self) -> tuple[str, ...]: ...
    @property
    def open_end(self) -> bool: ...

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that are complete with `data`. Raises ValueError on an absurd length."""
        ...

    def close(self) -> Event | None:
        """What stands at the end without its end mark."""
        ...


class Lines:
    """Newline-delimited JSON: each line is an event."""

    types = ("application/x-ndjson", "application/json", "application/jsonl")
    open_end = True

    def __init__(self) -> None:
        self._line = bytearray()

    def feed(self, data: bytes) -> Iterator[Event]:
        """The lines that are complete with `data`. Raises ValueError on an absurd length."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line += line
            text = self._line.decode("utf-8", "replace").strip()
            self._line.clear()
            if text:
                yield Event(text)
        self._line += rest
        if len(self._line) > MAX_LINE:
            raise ValueError(f"a line of more than {MAX_LINE} bytes")

    def close(self) -> Event | None:
        """The last line, which may have no newline."""
        text = self._line.decode("utf-8", "replace").strip()
        self._line.clear()
        return Event(text) if text else None


class Document:
    """A body that is one JSON document, of servers that don't stream."""

    types = ("application/json",)
    open_end = True

    def __init__(self) -> None:
        self._body = bytearray()

    def feed(self, data: bytes) -> Iterator[Event]:
        """Nothing yet. Raises ValueError on an absurd length."""
        self._body += data
        if len(self._body) > MAX_LINE:
            raise ValueError(f"a document of more than {MAX_LINE} bytes")
        return iter(())

    def close(self) -> Event | None:
        """The whole document."""
        text = self._body.decode("utf-8", "replace").strip()
        self._body.clear()
        return Event(text) if text else None


class EventsOrDocument:
    """Events, or one JSON document from a server that does not stream what it was asked for."""

    types = (*Events.types, *Document.types)

    def __init__(self) -> None:
        self._framing: Framing | None = None

    @property
    def open_end(self) -> bool:
        """Whether it is a document."""
        return self._framing is not None and self._framing.open_end

    def feed(self, data: bytes) -> Iterator[Event]:
        """What is complete with `data`. Raises ValueError on an absurd length."""
        if self._framing is None:
            data = data.lstrip()
            if not data:
                return iter(())
            # No field of an event begins so.
            self._framing = Document() if data.startswith(b"{") else Events()
        return self._framing.feed(data)

    def close(self) -> Event | None:
        """The whole document, or what stands at the end without its empty line."""
        return None if self._framing is None else self._framing.close()
