"""Vectors for texts: from a gateway, or from a model in this process."""

from __future__ import annotations

import asyncio
import importlib
import math
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from llmgate.errors import MissingPackage, OutputError, UnknownName
from llmgate.types import Embeddings

Embedder: TypeAlias = Callable[[Sequence[str]], Awaitable[Embeddings]]

_KINDS = ("fastembed", "sentence-transformers")


async def vectors_of(embed: Embedder, texts: Sequence[str]) -> tuple[Sequence[float], ...]:
    """A vector for each text. Raises `OutputError` if there are not so many, or one is none."""
    vectors = (await embed(texts)).vectors
    if len(vectors) != len(texts):
        raise OutputError(
            f"the embedding model gave {len(vectors)} vectors for {len(texts)} texts."
        )
    if not all(vector and all(map(math.isfinite, vector)) for vector in vectors):
        raise OutputError("the embedding model gave a vector that is empty or has NaN in it.")
    return vectors


def local_embedder(name: str) -> LocalEmbedder:
    """A model in this process: `fastembed:MODEL` or `sentence-transformers:MODEL`.

    MODEL is a name that the library knows, or for the latter a folder. It is loaded at first
    use, and downloaded then if it is not there. Raises `UnknownName` for another library.
    """
    kind, _, model = name.partition(":")
    if kind not in _KINDS or not model:
        raise UnknownName("embedding library", kind, _KINDS)
    return LocalEmbedder(kind, model)


class LocalEmbedder:
    """An `Embedder` over a library of Python, in a thread of its own."""

    def __init__(self, kind: str, model: str) -> None:
        self._kind = kind
        self._model = model
        self._encode: Callable[[list[str]], Any] | None = None
        # One at a time: these models use all cores by themselves.
        self._thread = ThreadPoolExecutor(1, "llmgate-embed")

    async def __call__(self, texts: Sequence[str]) -> Embeddings:
        """Vectors for the texts. Raises `MissingPackage` if the library is not installed."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._run, list(texts))

    def close(self) -> None:
        """Let go of the model."""
        self._thread.shutdown(wait=False)
        self._encode = None

    def _run(self, texts: list[str]) -> Embeddings:
        if self._encode is None:
            self._encode = self._load()
        return Embeddings(tuple(tuple(map(float, vector)) for vector in self._encode(texts)))

    def _load(self) -> Callable[[list[str]], Any]:
        if self._kind == "fastembed":
            try:
                library = importlib.import_module("fastembed")
            except ImportError as error:
                raise MissingPackage("an embedding model of fastembed", "fastembed") from error
            embed: Callable[[list[str]], Any] = library.TextEmbedding(self._model).embed
            return embed
        try:
            library = importlib.import_module("sentence_transformers")
        except ImportError as error:
            raise MissingPackage(
                "an embedding model of sentence-transformers", "sentence-transformers"
            ) from error
        encode: Callable[[list[str]], Any] = library.SentenceTransformer(self._model).encode
        return encode
