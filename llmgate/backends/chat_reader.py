"""What servers with `/v1/chat/completions` answer: their chunks as deltas."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from llmgate.backends.fields import count_in, piece_in
from llmgate.errors import BackendError, ContentFiltered
from llmgate.types import CallDelta, Delta, Finish, Note, Usage

_FINISHES: dict[str, Finish] = {
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
# What servers call the end of an answer that is none.
_FAILURES = frozenset({"error", "abort", "aborted", "cancelled", "insufficient_system_resource"})


class ChatReader:
    """Reads the chunks of one answer, see `llmgate.backends.http.Reader`.

    Calls come when all of them are whole: what a piece adds to is certain only then. `names` are
    those of the functions as the server knows them, and as the client does.
    """

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        # What follows the usage is the end mark, and a connection that can be used again.
        self.complete = False
        self._names = names or {}
        self._calls = Calls(self._names)

    def take(self, reply: dict[str, Any]) -> list[Delta]:
        """The deltas of one chunk. Raises `BackendError`, and `ContentFiltered`."""
        self.usage = usage_of(reply.get("usage")) or self.usage
        notes = list(_notes(reply.get("llmgate")))
        return [*notes, *self._chosen(reply)]

    def _chosen(self, reply: dict[str, Any]) -> list[Delta]:
        """What the one answer that was asked for says."""
        choices = reply.get("choices")
        # Azure's first chunk and everybody's last one have none.
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return []
        choice: dict[str, Any] = choices[0]
        said = choice.get("delta") or choice.get("message")
        deltas = list(self._said(said)) if isinstance(said, dict) else []
        if reason := choice.get("finish_reason"):
            deltas += self._end(str(reason))
        return deltas

    def _said(self, said: dict[str, Any]) -> Iterator[Delta]:
        thought = said.get("reasoning_content") or said.get("reasoning")
        if isinstance(thought, str) and thought:
            yield Delta(reasoning=thought)
        for key in ("content", "refusal"):
            if text := text_in(said, key):
                yield Delta(text)
        pieces = said.get("tool_calls")
        if isinstance(pieces, list):
            for piece in pieces:
                self._calls.add(piece)
        elif isinstance(said.get("function_call"), dict):
            self._calls.add({"index": 0, "function": said["function_call"]})

    def _end(self, reason: str) -> list[Delta]:
        if reason == "content_filter":
            raise ContentFiltered("The provider's content filter ended the answer.")
        if reason in _FAILURES:
            raise BackendError(f"The server gave the answer up: {reason!r}.")
        self.finish = _FINISHES.get(reason, "stop")
        return [Delta(call=self._renamed(call)) for call in self._calls.whole()]

    def _renamed(self, call: CallDelta) -> CallDelta:
        name = self._names.get(call.name or "", call.name)
        return call if name == call.name else msgspec.structs.replace(call, name=name)


class _Call:
    """One call as far as it has come."""

    def __init__(self, index: int | None, id_: str) -> None:
        self.index = index
        self.id = id_
        self.name = ""
        self.arguments = ""


class Calls:
    """Puts the pieces of calls together.

    Servers leave ids out or repeat them, cut names, repeat names, give all calls the index 0, or
    send arguments as an object.
    """

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = frozenset(names)
        self._calls: list[_Call] = []

    def add(self, piece: Any) -> None:
        """One entry of `tool_calls`."""
        if not isinstance(piece, dict):
            return
        function = piece.get("function")
        function = function if isinstance(function, dict) else {}
        id_, name = _text(piece.get("id")), _text(function.get("name"))
        arguments = _arguments(function.get("arguments"))
        index = piece.get("index")
        call = self._of(index if type(index) is int else None, id_, name, arguments)
        call.id = call.id or id_
        call.arguments += arguments
        call.name = self._name(call, name)

    def whole(self) -> Iterator[CallDelta]:
        """All calls, in the order in which they began."""
        for number, call in enumerate(self._calls):
            yield CallDelta(number, call.arguments, id=call.id or None, name=call.name)

    def _of(self, index: int | None, id_: str, name: str, arguments: str) -> _Call:
        """The call that a piece belongs to."""
        if index is None:
            known = self._calls[-1] if self._calls else None
        else:
            known = next((call for call in reversed(self._calls) if call.index == index), None)
        if known is None or self._begins(known, id_, name, arguments):
            known = _Call(index, id_)
            self._calls.append(known)
        return known

    def _begins(self, known: _Call, id_: str, name: str, arguments: str) -> bool:
        """Whether another call begins under the number of this one."""
        if not name:
            return False
        if id_ and known.id and id_ != known.id:
            return True
        # With one and the same id, or none, a name behind whole arguments is a new beginning.
        return bool(arguments) and not (id_ and known.id) and _is_object(known.arguments)

    def _name(self, call: _Call, piece: str) -> str:
        """The name with one piece more, which may be the whole name once more."""
        joined = call.name + piece
        cut = joined in self._names and not call.arguments
        return call.name if call.name == piece and not cut else joined


def _notes(extension: Any) -> Iterator[Delta]:
    """What another llmgate notes about its answer."""
    notes = extension.get("notes") if isinstance(extension, dict) else None
    for note in notes if isinstance(notes, list) else ():
        try:
            yield Delta(note=msgspec.convert(note, Note))
        except msgspec.ValidationError:
            continue


def usage_of(raw: Any) -> Usage | None:
    """The counts in a `usage` field, None where there are none."""
    if not isinstance(raw, dict):
        return None
    details = raw.get("prompt_tokens_details")
    return Usage(
        count_in(raw, "prompt_tokens") or 0,
        count_in(raw, "completion_tokens") or 0,
        count_in(details, "cached_tokens") if isinstance(details, dict) else None,
    )


def text_in(said: dict[str, Any], name: str) -> str:
    """The text of a content, which may come in parts. Raises `BackendError` for one without."""
    content = said.get(name)
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return piece_in(said, name)


def _arguments(value: Any) -> str:
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    return _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError):
        return False
