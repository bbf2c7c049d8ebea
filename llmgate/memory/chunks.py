"""Long texts cut into pieces that one vector can stand for, at paragraphs and sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

# What embedding models of the common kind take in whole.
TOKENS = 300
Count = Callable[[str], int]

# Where a text may be cut, the best first: paragraphs, lines, sentences, clauses, words.
_CUTS = tuple(
    map(
        re.compile,
        (
            r"(?<=\n)(?=\n)|(?<=\n\n)",
            r"(?<=\n)",
            r"(?<=[.!?…][\s\"'”’)\]])|(?<=[。！？।۔])",
            r"(?<=[,;:،、，；：][\s])|(?<=[、，；：])",
            r"(?<=\s)",
        ),
    )
)


def estimate(text: str) -> int:
    """About how many tokens a text is, on the high side, without any model's tokenizer.

    Four bytes make a token, and one letter of scripts that have thousands of them.
    """
    if text.isascii():
        return -(-len(text) // 4)
    wide = sum(letter > "\u2fff" for letter in text)
    narrow = len(text.encode(errors="surrogatepass")) - 3 * wide
    return -(-narrow // 4) + wide


def split(text: str, tokens: int = TOKENS, count: Count = estimate) -> tuple[str, ...]:
    """The text in pieces of at most so many tokens, as long as they can be, none of them empty.

    Together they are the text but for white space at the edges of pieces.
    """
    pieces: list[str] = []
    piece = ""
    for part in _parts(text, tokens, count, 0):
        if piece and count(piece + part) > tokens:
            pieces.append(piece)
            piece = ""
        piece += part
    pieces.append(piece)
    return tuple(trimmed for piece in pieces if (trimmed := piece.strip()))


def _parts(text: str, tokens: int, count: Count, cut: int) -> Iterator[str]:
    """Parts that are short enough each, cut no finer than they have to be."""
    if count(text) <= tokens:
        yield text
    elif cut < len(_CUTS):
        for part in _CUTS[cut].split(text):
            yield from _parts(part, tokens, count, cut + 1)
    else:
        # One word, or a script without any: letters then.
        step = max(1, len(text) * tokens // (2 * count(text)))
        for start in range(0, len(text), step):
            yield text[start : start + step]
