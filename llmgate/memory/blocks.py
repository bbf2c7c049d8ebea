"""Blocks of core memory, and the edits that they allow."""

from __future__ import annotations

import difflib
import re
from datetime import datetime

import msgspec

from llmgate.errors import FunctionError

# Characters of a passage that an error quotes, and of the text that was looked for.
_QUOTED = 120
# How much a search for the closest passage looks at.
_COMPARED = 400
_PASSAGES = 300
# How alike a passage has to be for it to be of help.
_ALIKE = 0.45


class Block(msgspec.Struct, frozen=True):
    """A named part of core memory: it is always in the model's sight.

    `limit` is in characters. A `shared` block may be that of several agents, a `read_only` one is
    not theirs to change. `version` grows with every change, `updated_at` is when the value was
    changed last.
    """

    id: str
    label: str
    value: str
    limit: int
    description: str = ""
    read_only: bool = False
    shared: bool = False
    version: int = 0
    updated_at: datetime | None = None


def check_size(block: Block, value: str) -> None:
    """Raise `FunctionError` if the value is longer than the block may be."""
    if len(value) > block.limit:
        raise FunctionError(
            f"the block {block.label!r} may have {block.limit} characters, and would have "
            f"{len(value)}: {len(value) - block.limit} too many. It has {len(block.value)} now.",
            hint="Shorten what is in it first, or keep details in archival memory.",
        )


def appended(block: Block, text: str) -> str:
    """The value with the text on a line of its own behind it."""
    if not text.strip():
        raise FunctionError(
            f"there is no text to append to the block {block.label!r}.",
            hint="Give the text that it is to remember.",
        )
    return f"{block.value}\n{text}" if block.value else text


def replaced(block: Block, old: str, new: str) -> str:
    """The value with the new text in the place of the old one, which is in it exactly once.

    An empty new text removes the old one. Raises `FunctionError`, which says how often the old
    text is there and where, or what is most like it.
    """
    if not old:
        raise FunctionError(
            f"the text to replace in the block {block.label!r} is empty.",
            hint="Give the exact text that is to go, or append to the block.",
        )
    places = _places(block.value, old)
    if len(places) == 1:
        [place] = places
        return block.value[:place] + new + block.value[place + len(old) :]
    if not places:
        raise FunctionError(
            f"the text {_shortened(old)!r} is not in the block {block.label!r}.",
            hint=_what_instead(block.value, old),
        )
    shown = ", ".join(f"{_around(block.value, place, len(old))!r}" for place in places[:3])
    more = ", …" if len(places) > 3 else ""
    raise FunctionError(
        f"the text {_shortened(old)!r} is in the block {block.label!r} {len(places)} times: "
        f"{shown}{more}.",
        hint="Give more of the text around the one that is meant, so that it is there once.",
    )


def _places(value: str, old: str) -> list[int]:
    """Where the text begins, also inside of another occurrence."""
    places = []
    place = value.find(old)
    while place >= 0:
        places.append(place)
        place = value.find(old, place + 1)
    return places


def _what_instead(value: str, old: str) -> str:
    if not value.strip():
        return "The block is empty: append to it."
    close = closest(value, old)
    if close is None:
        return "Nothing in it is like that. Copy the exact text from the block."
    return f"Did you mean {_shortened(close)!r}? Copy the exact text from the block."


def closest(value: str, old: str) -> str | None:
    """The passage that is most like the text, None if none is."""
    words = old[:_COMPARED].split()
    if words:
        # Other capitals, spaces or line breaks are what models get wrong most.
        same = re.search(r"\s+".join(map(re.escape, words)), value, re.IGNORECASE)
        if same:
            return same.group()
    best, alike = None, _ALIKE
    matcher = difflib.SequenceMatcher(None, autojunk=False)
    matcher.set_seq2(old[:_COMPARED].casefold())
    for passage in _passages(value, old.count("\n") + 1):
        matcher.set_seq1(passage[:_COMPARED].casefold())
        if matcher.real_quick_ratio() > alike and matcher.quick_ratio() > alike:
            ratio = matcher.ratio()
            if ratio > alike:
                best, alike = passage, ratio
    return best


def _passages(value: str, height: int) -> list[str]:
    """Lines, as many together as the text has, and sentences."""
    lines = value.splitlines()
    together = ["\n".join(lines[at : at + height]) for at in range(len(lines) - height + 1)]
    sentences = [part for line in lines for part in re.split(r"(?<=[.!?;,])\s+", line)]
    passages = dict.fromkeys(part.strip() for part in (*together, *lines, *sentences))
    return [passage for passage in passages if passage][:_PASSAGES]


def _around(value: str, place: int, length: int) -> str:
    first, last = max(0, place - 20), min(len(value), place + min(length, _QUOTED) + 20)
    return f"{'…' if first else ''}{value[first:last]}{'…' if last < len(value) else ''}"


def _shortened(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"
