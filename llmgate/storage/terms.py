"""Texts as indexes of words take them, and the words to look for in a query."""

from __future__ import annotations

import re
from itertools import pairwise

from llmgate.storage.encoding import fold

# Scripts whose words are not parted by spaces: Thai, Lao, Tibetan, Myanmar, Khmer, kana, Bopomofo,
# Han, Yi, and what is written together with them.
_UNPARTED = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uf900-\ufaff\U00020000-\U0003ffff"
)
_RUNS = re.compile(f"[{_UNPARTED}]+")
# Spaces and marks that are part of no word.
_BETWEEN = re.compile(
    r"[\s\x00-/:-@\[-`{-\xa9\xab-\xb1\xb4\xb6-\xb8\xbb\xbf\u2000-\u206f\u3000-\u3004\u3008-\u3020"
    r"\u3030\u060c\u061b\u061f\u0964\u0965\ufe10-\ufe1f\ufe30-\ufe4f\ufe50-\ufe6b]+"
)
# How many words of a query are looked for.
MOST = 32


def indexed(text: str) -> str:
    """The text with what an index is to take for its words, parted by spaces."""
    return _RUNS.sub(_pieces, fold(text))


def queried(text: str) -> tuple[str, ...]:
    """The words of a query, each once. Of very many the longest: they say most."""
    words = list(dict.fromkeys(filter(None, _BETWEEN.split(_RUNS.sub(_pairs, fold(text))))))
    if len(words) > MOST:
        longest = set(sorted(words, key=len, reverse=True)[:MOST])
        words = [word for word in words if word in longest]
    return tuple(words)


def _pieces(match: re.Match[str]) -> str:
    """Every letter, and every two of them."""
    run = match[0]
    return f" {' '.join(run)} {' '.join(map(''.join, pairwise(run)))} "


def _pairs(match: re.Match[str]) -> str:
    """Every two letters, or the only one."""
    run = match[0]
    pairs = map("".join, pairwise(run))
    return f" {run if len(run) == 1 else ' '.join(pairs)} "
