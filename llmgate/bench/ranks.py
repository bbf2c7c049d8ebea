"""Which cell is better on the same cases, and which can't be told apart.

Two cells are compared case by case: where both were asked the same sample of a case and only one
was right, that speaks for it. Samples of a case are alike, so a case speaks once, for the cell that
was right more often in it. The p-value is McNemar's, exact, corrected by Holm's method for as many
comparisons as are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from llmgate.bench.intervals import ALPHA, holm, mcnemar, wilson
from llmgate.bench.scores import CellScore, Scores


class Pair(msgspec.Struct, frozen=True):
    """Two cells on the cases of both: `better` went to the first alone, `worse` to the second.

    `p` is the exact two-sided p-value, `corrected` the one to go by where several were compared.
    """

    first: CellScore
    second: CellScore
    both: int
    better: int
    worse: int
    p: float
    corrected: float

    @property
    def apart(self) -> bool:
        """Whether the two can be told apart."""
        return self.corrected < ALPHA


class Ranked(msgspec.Struct, frozen=True):
    """A cell and its place; cells of the same `place` can't be told apart from the first of them.

    `shared`: others have the same place. `apart`: it can be told apart from the best of all, `p` is
    the corrected p-value of that.
    """

    cell: CellScore
    place: int
    shared: bool
    apart: bool
    p: float


def paired(scores: Scores, first: CellScore, second: CellScore) -> Pair:
    """Compare two cells, with nothing corrected yet."""
    both = first.seen & second.seen
    gained = first.correct & ~second.correct & both
    lost = second.correct & ~first.correct & both
    if not scores.sampled:
        better, worse = gained.bit_count(), lost.bit_count()
    else:
        net: dict[int, int] = {}
        for bits, sign in ((gained, 1), (lost, -1)):
            for place in _places(bits):
                cluster = scores.clusters[place]
                net[cluster] = net.get(cluster, 0) + sign
        better = sum(value > 0 for value in net.values())
        worse = sum(value < 0 for value in net.values())
    p = mcnemar(better, worse)
    return Pair(first, second, both.bit_count(), better, worse, p, p)


def pairs(scores: Scores, cells: Sequence[CellScore], *, of: int | None = None) -> list[Pair]:
    """All pairs of the cells, corrected together; `of` says of how many cells these were chosen."""
    every = [
        paired(scores, first, second)
        for number, first in enumerate(cells)
        for second in cells[number + 1 :]
    ]
    return corrected(every, of=None if of is None else of * (of - 1) // 2)


def corrected(every: Sequence[Pair], *, of: int | None = None) -> list[Pair]:
    """The comparisons with their p-values corrected for how many there are."""
    values = holm([pair.p for pair in every], of=of)
    replace = msgspec.structs.replace
    return [replace(pair, corrected=p) for pair, p in zip(every, values, strict=True)]


def ordered(cells: Iterable[CellScore]) -> list[CellScore]:
    """The cells from the best to the worst; of equals first the one with fewer tokens.

    The lower end of the share's interval decides, so that a cell that was asked little does not
    stand above one that was right nearly as often in much more.
    """

    def quality(cell: CellScore) -> tuple[float, float, tuple[str, ...]]:
        low = wilson(round((cell.right.value or 0.0) * cell.n), cell.n).low or 0.0
        tokens = (cell.tokens_in.value or 0.0) + (cell.tokens_out.value or 0.0)
        return -low, tokens, cell.key

    return sorted(cells, key=quality)


def rank(scores: Scores, cells: Iterable[CellScore]) -> list[Ranked]:
    """The cells by how often they were right, in groups that can't be told apart.

    A new group begins with the first cell that can be told apart from the first of the group
    before it. Cells of different groups may still be alike: `apart` says how each compares to the
    best.
    """
    rest = ordered(cells)
    ranked: list[Ranked] = []
    against_best: list[Pair] = []
    while rest:
        leader, others = rest[0], rest[1:]
        compared = corrected([paired(scores, leader, other) for other in others])
        if not ranked:
            against_best = compared
        size = next((n for n, pair in enumerate(compared, 1) if pair.apart), len(rest))
        place = len(ranked) + 1
        for cell in rest[:size]:
            best = against_best[len(ranked) - 1] if ranked else None
            apart = best is not None and best.apart
            p = 1.0 if best is None else best.corrected
            ranked.append(Ranked(cell, place, size > 1, apart, p))
        rest = rest[size:]
    return ranked


def _places(bits: int) -> Iterable[int]:
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low
