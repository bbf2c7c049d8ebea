"""Server-sent events from bytes in any pieces."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

MAX_LINE = 16 * 1024 * 1024


class Event(msgspec.Struct, frozen=True):
    """One event. `name` is `message` where the server gives none."""

    data: str
    name: str = "message"


class Events:
    """Cuts a byte stream into events: only CR and LF end lines, comments are left out.

    An `error:` line, as llama-server once sent in place of `data:`, makes an event of the
    name `error`. Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    types = ("text/event-stream",)
    open_end = False

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[str] = []
        self._name = "message"
        self._begun = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that are complete with `data`. Raises ValueError on an absurd length."""
        end = data.rfind(b"\n") + 1
        # All lines at once: no character of several bytes has a line's end in it. A CR may
        # come in one piece and its LF in the next.
        text = (bytes(self._line) + data[:end]).decode("utf-8", "replace") if end else ""
        if end:
            self._line.clear()
        self._line += data[end:]
        if len(self._line) > MAX_LINE:
            raise ValueError(f"a line of more than {MAX_LINE} bytes")
        if not text:
            return iter(())
        if not self._begun:
            self._begun = True
            text = text.removeprefix("\ufeff")
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        if text.startswith("data: ") and text.endswith("\n\n") and not self._within:
            blocks = text[6:-2].split("\n\ndata: ")
            if text.count("\n") == 2 * len(blocks):  # each is one line, as nearly all are
                return map(Event, blocks)
        return self._taken(text)

    def close(self) -> Event | None:
        """What stands at the end without the empty line that completes an event."""
        rest, self._line = self._line.decode("utf-8", "replace"), bytearray()
        return self._take(rest) or self._take("")

    @property
    def _within(self) -> bool:
        """Whether an event has begun."""
        return bool(self._data) or self._name != "message"

    def _taken(self, text: str) -> Iterator[Event]:
        """The events that are complete with these lines."""
        for line in text.split("\n")[:-1]:
            if (event := self._take(line)) is not None:
                yield event

    def _take(self, line: str) -> Event | None:
        if not line:
            if not self._data:
                self._name = "message"
                return None
            event = Event("\n".join(self._data), self._name)
            self._data, self._name = [], "message"
            return event
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
        elif field == "error":
            self._data.append(value)
            self._name = "error"
        return None
