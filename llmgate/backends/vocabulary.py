"""A model's tokens as texts, and which of them begin alike."""

from __future__ import annotations

import codecs
import ctypes
import threading
from collections.abc import Iterator, Sequence

import llama_cpp.llama_cpp as api
import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]

_USUAL_SIZE = 64


class Vocabulary:
    """The tokens of one model. May be used from several threads."""

    def __init__(self, pointer: api.llama_vocab_p) -> None:
        self.pointer = pointer
        self.size = int(api.llama_vocab_n_tokens(pointer))
        self._lock = threading.Lock()
        self._control: dict[int, str] | None = None
        self._texts: _Texts | None = None

    def prepare(self) -> None:
        """Make what constrained answers need, which takes half a second for 150,000 tokens."""
        _ = self.control
        self._read()

    def piece(self, token: int) -> bytes:
        """The text of a token, that of control tokens included. It may end within a character."""
        return next(self._pieces(token, token + 1))

    def text(self, token: int) -> str:
        """The text of a control token, empty for one that the model does not have."""
        return self.piece(token).decode("utf-8", "replace") if token >= 0 else ""

    def is_end(self, token: int) -> bool:
        """Whether an answer ends with this token."""
        return bool(api.llama_vocab_is_eog(self.pointer, token))

    @property
    def control(self) -> dict[int, str]:
        """The control tokens with which no answer ends, and their texts."""
        with self._lock:
            if self._control is None:
                self._control = {
                    token: self.text(token)
                    for token in range(self.size)
                    if api.llama_vocab_is_control(self.pointer, token) and not self.is_end(token)
                }
            return self._control

    @property
    def ends(self) -> Tokens:
        """The tokens with which answers end."""
        return self._read().ends

    @property
    def broken(self) -> list[int]:
        """The tokens that are no part of any text in UTF-8.

        llama.cpp takes some of them for the end of a token, allows them anywhere and then ends
        the process.
        """
        return self._read().broken

    @property
    def tree(self) -> Tree:
        """The tokens that are text."""
        return self._read().tree

    def spell(self, text: bytes) -> list[int] | None:
        """The text in tokens of one character or one byte, None if there are none for it.

        This is not how the model would write it, but says the same to who reads its tokens.
        """
        letters = self._read().letters
        tokens: list[int] = []
        at = 0
        while at < len(text):
            size = next((size for size in (4, 3, 2, 1) if text[at : at + size] in letters), 0)
            if not size:
                return None
            tokens.append(letters[text[at : at + size]])
            at += size
        return tokens

    def _read(self) -> _Texts:
        control = self.control
        with self._lock:
            if self._texts is None:
                ends = [token for token in range(self.size) if self.is_end(token)]
                pieces = list(self._pieces(0, self.size))
                for token in (*control, *ends):
                    pieces[token] = b""
                self._texts = _Texts(np.array(ends, dtype=np.int32), pieces)
            return self._texts

    def _pieces(self, start: int, stop: int) -> Iterator[bytes]:
        size = _USUAL_SIZE
        buffer = ctypes.create_string_buffer(size)
        read = api.llama_token_to_piece
        for token in range(start, stop):
            count = read(self.pointer, token, buffer, size, 0, True)
            if count < 0:
                size = -count
                buffer = ctypes.create_string_buffer(size)
                count = read(self.pointer, token, buffer, size, 0, True)
            yield buffer.raw[:count]


class _Texts:
    """What is made of the texts of all tokens."""

    def __init__(self, ends: Tokens, pieces: Sequence[bytes]) -> None:
        self.ends = ends
        self.broken = [token for token, piece in enumerate(pieces) if not _is_part(piece)]
        self.tree = Tree(pieces)
        self.letters = {piece: token for token, piece in enumerate(pieces) if _is_letter(piece)}


class Tree:
    """Tokens below those tokens that are their beginnings.

    Where a beginning can't follow, nothing can that begins so: to find all tokens that can
    follow is to look at those and at the ones directly below them, not at the whole vocabulary.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        """`pieces` are the texts of the tokens; those without a text are left out."""
        count = len(pieces)
        root, nowhere = count, count + 1
        order = sorted((token for token in range(count) if pieces[token]), key=pieces.__getitem__)
        parents = np.full(count, nowhere, dtype=np.int32)
        # The tokens that the last one begins with, longer ones further behind.
        path: list[int] = []
        for token in order:
            piece = pieces[token]
            while path and not piece.startswith(pieces[path[-1]]):
                path.pop()
            parents[token] = path[-1] if path else root
            path.append(token)
        self._by_parent = np.argsort(parents, kind="stable").astype(np.int32)
        self._starts = np.searchsorted(parents[self._by_parent], np.arange(count + 2))
        self.roots = self.below(np.array([root]))
        # Whether a token begins or ends within a character.
        self.cut = np.zeros(count, dtype=bool)
        self.cut[[token for token in order if not _is_whole(pieces[token])]] = True

    def below(self, tokens: npt.NDArray[np.integer]) -> Tokens:
        """The tokens directly below these."""
        starts, stops = self._starts[tokens], self._starts[tokens + 1]
        counts = stops - starts
        shifts = np.repeat(starts - (np.cumsum(counts) - counts), counts)
        return self._by_parent[shifts + np.arange(len(shifts))]


def unfinished(text: bytes) -> bytes | None:
    """The first bytes of a character that the text ends with; None if it is no UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(text)
        rest = decoder.getstate()[0]
        if len(rest) > 1:
            # Half of a surrogate is not seen to be wrong before it is complete.
            rest.ljust(3 if rest[0] < 0xF0 else 4, b"\x80").decode("utf-8")
    except UnicodeDecodeError:
        return None
    return rest


def _is_letter(piece: bytes) -> bool:
    """Whether a text is one byte or one character."""
    return len(piece) == 1 or (
        1 < len(piece) <= 4 and _is_whole(piece) and len(piece.decode("utf-8")) == 1
    )


def _is_part(piece: bytes) -> bool:
    """Whether a text in UTF-8 can have this part, cut within characters or not."""
    if piece.isascii():
        return True
    begun = next((n for n, byte in enumerate(piece[:3]) if byte >> 6 != 0b10), len(piece[:3]))
    return unfinished(piece[begun:]) is not None


def _is_whole(piece: bytes) -> bool:
    if piece.isascii():
        return True
    try:
        piece.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
