"""The marks around calls as GBNF: their text to the letter, and how far blanks may vary."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal

import msgspec

from llmgate.grammar.builder import quote

_PIECES: Final = re.compile(r"\s+|\{(?:n|id|string|type)\}")
_HOLES: Final = {
    "{n}": '("0" | [1-9] [0-9]{0,3})',
    "{id}": "[a-zA-Z0-9] [a-zA-Z0-9-]{0,39}",
}
# Where an answer's own marks stand, a model may put a blank more.
BLANK: Final = "[ \\n]?"
BLANKS: Final = "[ \\n]{0,2}"


class Piece(msgspec.Struct, frozen=True):
    """A part of a mark: its text, or white space (`needed`: between two words), or a hole."""

    kind: Literal["text", "space", "hole"]
    text: str
    needed: bool = False


@lru_cache(maxsize=512)
def pieces(mark: str) -> tuple[Piece, ...]:
    """The parts of a mark. White space is needed where it keeps a word apart."""
    found: list[Piece] = []
    at = 0
    for match in _PIECES.finditer(mark):
        if match.start() > at:
            found.append(Piece("text", mark[at : match.start()]))
        at = match.end()
        if match[0][0] == "{":
            found.append(Piece("hole", match[0]))
            continue
        before = match.start() == 0 or is_word(mark[match.start() - 1])
        behind = at == len(mark) or is_word(mark[at])
        alone = match.start() == 0 and at == len(mark)
        found.append(Piece("space", match[0], needed=before and behind and not alone))
    if at < len(mark):
        found.append(Piece("text", mark[at:]))
    return tuple(found)


def expression(mark: str, holes: dict[str, str] | None = None) -> str:
    """GBNF for a mark, empty for an empty one. `holes` are expressions for its placeholders.

    White space that no word needs may be left out, or be one blank or line break.
    """
    out: list[str] = []
    literal = ""
    for piece in pieces(mark):
        if piece.kind == "text" or piece.needed:
            literal += piece.text
            continue
        if literal:
            out.append(quote(literal))
            literal = ""
        if piece.kind == "hole":
            out.append((holes or {}).get(piece.text) or _HOLES[piece.text])
        elif len(piece.text) == 1:
            out.append(BLANK)
        else:
            out.append(f"({quote(piece.text)} | [ \\n])?")
    if literal:
        out.append(quote(literal))
    return " ".join(out)


def split(mark: str) -> tuple[str, str]:
    """Where a mark is certain to be one: its beginning up to there, and its rest.

    That is its first tag, `<…>` or `[…]`, where it has one: what varies comes behind it.
    """
    for piece in pieces(mark):
        if piece.kind == "text" or piece.needed:
            continue
        at = mark.index(piece.text)
        if piece.kind == "hole" or mark[at - 1] in ">]":
            return mark[:at], mark[at:]
    core = mark.rstrip("[{ \n")
    at = len(core) if core.endswith((">", "]")) and any(map(is_word, core)) else len(mark)
    return mark[:at], mark[at:]


def is_word(character: str) -> bool:
    """Whether a character is part of words."""
    return character.isalnum() or character == "_"
