"""What the gateway and the embedded engine's process say to each other, and its framing.

A frame is four bytes of length (big-endian) and one msgpack value, tagged by its type. The
first frame to the worker is `Load`; it answers `Ready` or `Failed`. After that every frame
carries the id of the request it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from llmgate.types import ChatTemplate, Prompt

MAX_FRAME = 256 * 1024 * 1024
_HEADER = 4


class ToWorker(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Base of what the gateway sends."""


class Load(ToWorker, frozen=True):
    """Load this model file, for vectors with `embedding`, else to complete prompts.

    `context` None: what it was trained for, at most 8192 (for vectors 2048).
    """

    path: str
    context: int | None
    threads: int | None
    gpu_layers: int
    extra_buffers: bool
    embedding: bool = False


class Run(ToWorker, frozen=True):
    """Complete this prompt."""

    id: int
    prompt: Prompt


class Cancel(ToWorker, frozen=True):
    """Nobody waits for the answer to this request any more."""

    id: int


class Count(ToWorker, frozen=True):
    """Count the tokens of this text."""

    id: int
    text: str


class Embed(ToWorker, frozen=True):
    """Make a vector of each of these texts."""

    id: int
    texts: tuple[str, ...]


class FromWorker(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Base of what the worker sends."""


class Ready(FromWorker, frozen=True):
    """The model is loaded and has evaluated a first prompt. Sizes are in tokens."""

    context: int
    trained: int
    template: ChatTemplate | None


class Failed(FromWorker, frozen=True):
    """The model can't be loaded; the worker ends after this."""

    message: str


class Started(FromWorker, frozen=True):
    """The worker turned to this request: from here on it may be what ends the worker."""

    id: int


class Piece(FromWorker, frozen=True):
    """One more token; `text` is empty while it is held back for a stop string or a character."""

    id: int
    text: str


class Done(FromWorker, frozen=True):
    """The answer is complete."""

    id: int
    length: bool
    prompt: int
    completion: int
    cached: int


class Problem(FromWorker, frozen=True):
    """The request can't be answered; `kind` is the name of the error's class."""

    id: int
    kind: str
    message: str


class Counted(FromWorker, frozen=True):
    """The answer to `Count`."""

    id: int
    tokens: int


class Embedded(FromWorker, frozen=True):
    """The answer to `Embed`: 32-bit floats in this machine's order for each text."""

    id: int
    vectors: tuple[bytes, ...]
    tokens: int


Command = Load | Run | Cancel | Count | Embed
Report = Ready | Failed | Started | Piece | Done | Problem | Counted | Embedded


def pack(message: ToWorker | FromWorker) -> bytes:
    """The message as one frame. Raises ValueError if it is larger than `MAX_FRAME`."""
    body = msgspec.msgpack.encode(message)
    if len(body) > MAX_FRAME:
        raise ValueError(f"a message of {len(body)} bytes; at most {MAX_FRAME} are sent.")
    return len(body).to_bytes(_HEADER, "big") + body


class Frames:
    """Cuts a byte stream, fed in any pieces, into the bodies of its frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bodies that are complete with `data`. Raises ValueError on an absurd length."""
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= _HEADER:
                length = int.from_bytes(self._buffer[start : start + _HEADER], "big")
                if length > MAX_FRAME:
                    raise ValueError(f"a frame announces {length} bytes: not our protocol.")
                end = start + _HEADER + length
                if len(self._buffer) < end:
                    break
                body = bytes(self._buffer[start + _HEADER : end])
                start = end
                yield body
        finally:
            del self._buffer[:start]


def commands(data: bytes, frames: Frames) -> Iterator[Command]:
    """The commands that are complete with `data`."""
    decoder = msgspec.msgpack.Decoder(Command)
    return (decoder.decode(body) for body in frames.feed(data))


def reports(data: bytes, frames: Frames) -> Iterator[Report]:
    """The reports that are complete with `data`."""
    decoder = msgspec.msgpack.Decoder(Report)
    return (decoder.decode(body) for body in frames.feed(data))
