"""Examples of what went wrong, a few of each kind: prompt, output, what was read and its diff."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from llmgate.bench.result import Result
from llmgate.bench.tables import printable

# In the order of the page. `repaired` answers are right, but only after a repair.
KINDS: Final = {
    "invalid": "No valid call could be read",
    "missing_call": "A call was wanted, none came",
    "wrong_function": "A call of the wrong function",
    "wrong_arguments": "The right function, wrong arguments",
    "unwanted_call": "A call came, none was wanted",
    "wrong_text": "The wrong text",
    "error": "No answer at all",
    "repaired": "Right, after a repair",
}
_EACH: Final = 4
_KEPT: Final = 8
_BUDGET: Final = 140_000
_PROMPT: Final = 2400
_OUTPUT: Final = 1800
_PIECE: Final = re.compile(r"\w+|\s+|.", re.DOTALL)

# What a character becomes in a page at most, so that a size can be known before it is rendered.
_ESCAPED: Final = {"<": 4, ">": 4, "&": 5, '"': 5, "'": 5}


class Piece(msgspec.Struct, frozen=True):
    """A stretch of a diff: `change` is `same`, `gone` (only written) or `new` (only read)."""

    change: str
    text: str


class Example(msgspec.Struct, frozen=True):
    """A result, cut to what fits on a page; `read` is what the gateway made of the output."""

    result: Result
    prompt: str
    output: str
    read: str
    diff: tuple[Piece, ...]
    problems: tuple[str, ...]


class Examples:
    """Chooses a few results of each kind, of different wrappers, whatever order they come in.

    It keeps only those it may show, however many are added.
    """

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, tuple[str, str, Result]]] = {kind: {} for kind in KINDS}

    def add(self, result: Result) -> None:
        """Look at one more result."""
        kind: str = result.outcome
        if kind == "right":
            if not result.repairs:
                return
            kind = "repaired"
        kept = self._kept[kind]
        mark = (_digest(result.wrapper), _digest(*result.cell, *map(str, result.key)))
        before = kept.get(result.wrapper)
        if before is not None and before[:2] <= mark:
            return
        kept[result.wrapper] = (*mark, result)
        if len(kept) > _KEPT:
            last = max(kept, key=lambda wrapper: kept[wrapper][:2])
            del kept[last]

    def chosen(self) -> dict[str, tuple[Example, ...]]:
        """The examples of each kind, together no more than what fits on the page."""
        room = dict.fromkeys(KINDS, _BUDGET // len(KINDS))
        found: dict[str, tuple[Example, ...]] = {}
        for kind, kept in self._kept.items():
            examples: list[Example] = []
            for _, _, result in sorted(kept.values(), key=lambda each: each[:2])[:_EACH]:
                example = _example(result)
                room[kind] -= _size(example)
                if examples and room[kind] < 0:
                    break
                examples.append(example)
            found[kind] = tuple(examples)
        return found


def read(result: Result) -> str:
    """What the gateway gave the client: the calls, one a line, else the text."""
    if result.calls:
        return "\n".join(f"{call.name} {call.arguments}" for call in result.calls)
    return result.text


def diff(before: str, after: str) -> tuple[Piece, ...]:
    """What differs between two texts, word by word."""
    first, second = _PIECE.findall(before), _PIECE.findall(after)
    pieces: list[Piece] = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, first, second).get_opcodes():
        if tag == "equal":
            pieces.append(Piece("same", "".join(first[a:b])))
            continue
        if b > a:
            pieces.append(Piece("gone", "".join(first[a:b])))
        if d > c:
            pieces.append(Piece("new", "".join(second[c:d])))
    return tuple(pieces)


def _example(result: Result) -> Example:
    output, given = _cut(result.output, _OUTPUT), _cut(read(result), _OUTPUT)
    problems = [_cut(problem, 400) for problem in result.problems[:5]]
    if len(result.problems) > 5:
        problems.append(f"… and {len(result.problems) - 5} more")
    if result.error and not any(each in result.error for each in result.problems):
        problems.append(_cut(result.error, 400))
    return Example(
        result=result,
        prompt=_cut(result.prompt, _PROMPT),
        output=output,
        read=given,
        diff=diff(output, given) if output and given and output != given else (),
        problems=tuple(problems),
    )


def _cut(text: str, most: int) -> str:
    """A text without its middle, where it is long: a prompt's beginning and end say the most."""
    if len(text) <= most and _weight(text) <= most:
        return printable(text)
    head = _fitting(text, most // 2)
    tail = _fitting(text[: head - 1 if head else None : -1], most // 2)
    left = len(text) - head - tail
    return (
        f"{printable(text[:head])}\n⋯ {left} characters are left out ⋯\n"
        f"{printable(text[len(text) - tail :])}"
    )


def _fitting(text: str, most: int) -> int:
    """How many characters of a text take up no more than `most` bytes of the page."""
    used = 0
    for number, character in enumerate(text):
        used += _weight(character)
        if used > most:
            return number
    return len(text)


def _weight(text: str) -> int:
    shown = printable(text)
    return sum(_ESCAPED.get(each) or len(each.encode()) for each in shown)


def _size(example: Example) -> int:
    texts: Iterable[str] = (
        example.prompt,
        example.output,
        example.read,
        *(piece.text for piece in example.diff),
        *example.problems,
    )
    # The tags around the pieces of a diff count too.
    return sum(map(_weight, texts)) + 12 * len(example.diff) + 600


def _digest(*parts: str) -> str:
    """An order that has nothing to do with the alphabet, and is always the same."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
