"""The requests file: one JSON object a line, read a line at a time however large the file is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Self

import msgspec

from llmgate.batch.nesting import DEEPEST, too_deep
from llmgate.errors import ConfigError
from llmgate.types import Note

if TYPE_CHECKING:
    from llmgate.batch.journal import Done

# Longer lines are refused unread: one missing line break must not fill the memory.
LONGEST_LINE = 64 * 1024 * 1024
CHAT = "/v1/chat/completions"
_PIECE = 1024 * 1024
_SHOWN = 2000
_BOM = b"\xef\xbb\xbf"

Form = Literal["plain", "openai"]


class Line(msgspec.Struct, frozen=True):
    """One line that is not empty. `index` counts all lines from 0; `raw` is None if too long."""

    index: int
    raw: bytes | None
    digest: str | None = None

    @property
    def hash(self) -> str:
        """What tells this line from others, made only where it is asked for."""
        return _hash(self.raw).hexdigest() if self.raw is not None else self.digest or ""


class Job(msgspec.Struct, frozen=True):
    """A request to be answered: `body` is to be sent to `path`."""

    index: int
    hash: str
    form: Form
    path: str
    body: dict[str, Any]
    metadata: Any = None
    custom_id: str | None = None
    notes: tuple[Note, ...] = ()


class Malformed(msgspec.Struct, frozen=True):
    """A line that is no request: what it has in place of one, and why it can't be used."""

    index: int
    hash: str
    form: Form
    request: Any
    code: str
    message: str
    custom_id: str | None = None


class Requests:
    """A requests file, looked through once: `total` lines hold something."""

    def __init__(self, path: Path, total: int, form: Form) -> None:
        self.path = path
        self.total = total
        self._form = form

    @classmethod
    def survey(cls, path: Path, done: Done) -> Self:
        """Look through the file, which has to hold what was `done` of it.

        Raises `ConfigError` naming the line that has changed since it was answered.
        """
        total, found, form = 0, 0, None
        for line in lines(path):
            total += 1
            if form is None:
                form = _form(line)
            if line.index in done:
                found += 1
                if not done.is_same(line.index, line.hash):
                    raise _changed(path, f"line {line.index + 1} is another request than")
        if found < len(done):
            raise _changed(path, f"{len(done) - found} lines are gone that were there")
        return cls(path, total, form or "plain")

    def pending(self, done: Done) -> Iterator[Job | Malformed]:
        """The lines that are not done, in their order."""
        for line in lines(self.path):
            if line.index not in done:
                yield read(line, self._form)


def lines(path: Path) -> Iterator[Line]:
    """The lines of a file that are not empty. Raises `ConfigError` if it can't be read."""
    try:
        with path.open("rb") as file:
            index = 0
            while piece := file.readline(_PIECE):
                if index == 0:
                    piece = piece.removeprefix(_BOM)
                line = Line(index, piece.rstrip(b"\r\n"))
                if len(piece) >= _PIECE - len(_BOM) and not piece.endswith(b"\n"):
                    line = _long_line(index, piece, file)
                if line.raw is None or line.raw.strip():
                    yield line
                index += 1
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror or error}.") from error


def _long_line(index: int, piece: bytes, file: BinaryIO) -> Line:
    """The line that begins so, without what is more than can be kept."""
    digest, size, pieces = _hash(), 0, []
    while piece:
        digest.update(piece)
        size += len(piece)
        pieces.append(piece)
        if size > LONGEST_LINE:
            pieces.clear()
        if piece.endswith(b"\n"):
            break
        piece = file.readline(_PIECE)
    if size > LONGEST_LINE:
        return Line(index, None, digest.hexdigest())
    return Line(index, b"".join(pieces).rstrip(b"\r\n"))


def _hash(data: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(data, digest_size=8)


def read(line: Line, form: Form) -> Job | Malformed:
    """The request in a line. `form` is that of its neighbours, for lines that show none."""

    def malformed(
        code: str, message: str, request: Any, form: Form = form, name: str | None = None
    ) -> Malformed:
        text = f"Line {line.index + 1} {message}"
        return Malformed(line.index, line.hash, form, request, code, text, name)

    if line.raw is None:
        return malformed("line_too_long", f"is longer than {LONGEST_LINE} bytes.", None)
    try:
        data = msgspec.json.decode(line.raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        shown = line.raw[:_SHOWN].decode("utf-8", "replace")
        return malformed("invalid_json", f"is not valid JSON: {error}.", shown)
    if too_deep(line.raw, data):
        shown = line.raw[:_SHOWN].decode("utf-8", "replace")
        return malformed("invalid_json", f"is nested deeper than {DEEPEST} levels.", shown)
    if not isinstance(data, dict):
        return malformed("invalid_request", "is not a JSON object.", data)
    form = "openai" if _is_openai(data) else "plain"
    custom_id = data.get("custom_id")
    if custom_id is not None and not isinstance(custom_id, str):
        return malformed("invalid_request", "has a custom_id that is no string.", data, form)
    if form == "plain":
        body = {k: v for k, v in data.items() if k not in ("metadata", "custom_id")}
        body, notes = _whole(body)
        metadata = data.get("metadata")
        return Job(line.index, line.hash, form, _path(body), body, metadata, custom_id, notes)
    sent, method, path = data.get("body"), data.get("method", "POST"), data.get("url", CHAT)
    problem = None
    if not isinstance(sent, dict):
        problem = "has no body that is a JSON object."
        return malformed("invalid_request", problem, data, form, custom_id)
    if method != "POST":
        problem = f"has the method {method!r}: only POST is possible."
    elif not isinstance(path, str) or not path.startswith("/") or path.startswith("//"):
        problem = f"has the url {path!r}: it has to be a path, as {CHAT!r}."
    if problem is not None:
        return malformed("invalid_request", problem, data, form, custom_id)
    body, notes = _whole(sent)
    return Job(line.index, line.hash, form, path, body, None, custom_id, notes)


def _is_openai(data: dict[str, Any]) -> bool:
    return "body" in data or ("url" in data and "method" in data)


def _form(line: Line) -> Form | None:
    """The form of a line that can be read."""
    if line.raw is None:
        return None
    try:
        data = msgspec.json.decode(line.raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if not isinstance(data, dict):
        return None
    return "openai" if _is_openai(data) else "plain"


def _path(body: dict[str, Any]) -> str:
    if "messages" not in body:
        if "input" in body:
            return "/v1/embeddings"
        if "prompt" in body:
            return "/v1/completions"
    return CHAT


def _whole(body: dict[str, Any]) -> tuple[dict[str, Any], tuple[Note, ...]]:
    """The body as one that asks for a whole answer."""
    if not body.get("stream"):
        return body, ()
    body = {k: v for k, v in body.items() if k not in ("stream", "stream_options")}
    return body, (Note("ignored_parameter", "stream was left out: a batch has whole answers"),)


def _changed(path: Path, how: str) -> ConfigError:
    return ConfigError(
        f"{path} has changed since its results were written: {how} at that time.",
        hint="Restore it, or write the results to a new file. Lines may be added at the end.",
    )
