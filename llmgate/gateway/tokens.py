"""How many tokens a text has: at most, exactly where somebody knows, else by an estimate."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import lru_cache
from typing import Any

import msgspec

from llmgate.backends import Backend
from llmgate.config import tiktoken_words
from llmgate.errors import BackendError, Unsupported

# A BOS, the blank that some tokenizers begin with, and what else may be added around a text.
_ADDED = 8
# Few tokenizers need more tokens than this for a text: fewer characters stand in one on average.
_BYTES_EACH = 2.5
_ENCODING = "cl100k_base"
# Where tiktoken finds the words of that encoding; only its own cache of it is read, no network.
_SOURCE = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"
_CHECKSUM = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
# So many characters at a time: what it needs for long words grows faster than they do.
_PIECE = 4_000
# Other tokenizers need up to this many times as many tokens.
_MARGIN = 1.25


class Count(msgspec.Struct, frozen=True):
    """A number of tokens; `exact` where the model's own tokenizer counted them."""

    tokens: int
    exact: bool


def at_most(text: str) -> int:
    """A number of tokens that no tokenizer exceeds: each one stands for a byte or more."""
    return len(text.encode("utf-8", "surrogatepass")) + _ADDED


async def count(backend: Backend, text: str) -> Count:
    """The tokens of a text: by the backend's tokenizer, else by an estimate, never below 1."""
    if backend.caps.tokenize:
        try:
            return Count(await backend.count(text) + 1, exact=True)
        except (BackendError, Unsupported):
            pass  # whether it can answer at all, the request itself will find out
    return Count(estimate(text), exact=False)


def estimate(text: str) -> int:
    """About how many tokens a text has, rather too many than too few; never above `at_most`.

    By tiktoken where it is installed and its words lie on this machine: it is never made to
    fetch them. Else by the number of bytes.
    """
    encoding = _encoding()
    if encoding is None:
        guess = len(text.encode("utf-8", "surrogatepass")) / _BYTES_EACH
    else:
        pieces = (text[at : at + _PIECE] for at in range(0, len(text), _PIECE))
        guess = sum(len(encoding.encode_ordinary(piece)) for piece in pieces) * _MARGIN
    return min(int(guess) + 1, at_most(text))


@lru_cache(maxsize=1)
def _encoding() -> Any:
    """tiktoken's encoding, if nothing has to be fetched for it: a network may never answer."""
    if importlib.util.find_spec("tiktoken") is None:
        return None
    try:
        words = tiktoken_words(_SOURCE).read_bytes()
    except OSError:
        return None
    # A file that is not what it should be, tiktoken would fetch anew.
    if hashlib.sha256(words).hexdigest() != _CHECKSUM:
        return None
    import tiktoken

    return tiktoken.get_encoding(_ENCODING)
