"""The dialect of `POST /v1/embeddings`. Source: openai-python `src/openai/types`."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from llmgate.errors import RequestError, Unsupported
from llmgate.types import Embeddings, Note
from llmgate.wire.bodies import decoded

_MOST_TEXTS = 2048


class _Body(msgspec.Struct):
    model: str
    input: str | list[str | int | list[int]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None


class Asked(msgspec.Struct, frozen=True):
    """What a client wants: vectors of these texts, of the first `dimensions` numbers if given."""

    model: str
    texts: tuple[str, ...]
    base64: bool = False
    dimensions: int | None = None


def decode(raw: bytes) -> Asked:
    """The request in a body. Raises `RequestError` that names the field at fault."""
    _, found = decoded(raw, _Body)
    texts = [found.input] if isinstance(found.input, str) else found.input
    if not texts:
        raise RequestError("`input` is empty.", param="input")
    if len(texts) > _MOST_TEXTS:
        raise RequestError(
            f"`input` has {len(texts)} texts; at most {_MOST_TEXTS} are taken at a time.",
            param="input",
        )
    wanted: list[str] = []
    for at, text in enumerate(texts):
        if not isinstance(text, str):
            raise Unsupported(
                "`input` has token numbers: those of one model mean nothing to another.",
                hint="Send texts (in LangChain: check_embedding_ctx_length=False).",
                param="input",
            )
        if not text.strip():
            raise RequestError(f"Text number {at + 1} of `input` is empty.", param="input")
        wanted.append(text)
    if found.dimensions is not None and found.dimensions < 1:
        raise RequestError("`dimensions` must be at least 1.", param="dimensions")
    return Asked(found.model, tuple(wanted), found.encoding_format == "base64", found.dimensions)


def answer(asked: Asked, made: Embeddings) -> dict[str, Any]:
    """The body of the answer. Raises `RequestError` for more dimensions than there are."""
    vectors, notes = made.vectors, made.notes
    if asked.dimensions is not None:
        vectors, notes = _shortened(asked.dimensions, made)
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _packed(vector) if asked.base64 else vector,
        }
        for index, vector in enumerate(vectors)
    ]
    tokens = made.usage.prompt
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    whole = {"object": "list", "data": data, "model": asked.model, "usage": usage}
    return {**whole, "llmgate": {"notes": notes}} if notes else whole


def _shortened(
    dimensions: int, made: Embeddings
) -> tuple[tuple[tuple[float, ...], ...], tuple[Note, ...]]:
    """The vectors' first numbers, at length 1 again."""
    size = len(made.vectors[0])
    if dimensions > size:
        raise RequestError(
            f"This model's vectors have {size} dimensions, not {dimensions}.", param="dimensions"
        )
    if dimensions == size:
        return made.vectors, made.notes
    shorter = []
    for vector in made.vectors:
        kept = vector[:dimensions]
        length = sum(number * number for number in kept) ** 0.5 or 1.0
        shorter.append(tuple(number / length for number in kept))
    message = f"the first {dimensions} of {size} numbers: only some models are made for that"
    return tuple(shorter), (*made.notes, Note("truncated", message))


def _packed(vector: Sequence[float]) -> str:
    """Base64 of little-endian 32-bit floats."""
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode("ascii")
