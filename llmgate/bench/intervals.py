"""How sure a number is: 95 % intervals, tests on the same cases, and many tests at once.

Shares have Wilson's interval, means and ratios Student's. Two cells are compared on the cases that
both have, by the exact test on those where they differ (McNemar), and many such tests are corrected
by Holm's method. Nothing here is drawn at random: the same numbers give the same intervals.

The names are those of the field; the formulas are in E. B. Wilson, "Probable inference" (JASA 22,
1927), Q. McNemar, "Note on the sampling error" (Psychometrika 12, 1947), S. Holm, "A simple
sequentially rejective multiple test procedure" (Scand. J. Statist. 6, 1979).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import msgspec

LEVEL: Final = 0.95
ALPHA: Final = 0.05
Z: Final = 1.959963984540054
_MANY: Final = 200


class Estimate(msgspec.Struct, frozen=True):
    """A number and the interval that it is known to be in, None where nothing is known.

    `n` says from how many observations it comes, `effective` how many independent ones they are
    worth where it is a share.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    effective: int = 0

    def overlaps(self, other: Estimate) -> bool:
        """Whether both intervals have a number in common; an unknown one may be anywhere."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return True
        return self.low <= other.high and other.low <= self.high


def wilson(right: int, n: int, effective: int | None = None) -> Estimate:
    """The share `right / n`, with Wilson's interval.

    `effective` is how many independent observations the `n` are worth, where they are fewer.
    """
    if n <= 0:
        return Estimate()
    share, worth = right / n, effective or n
    square = Z * Z / worth
    middle = (share + square / 2) / (1 + square)
    half = Z / (1 + square) * math.sqrt(share * (1 - share) / worth + square / (4 * worth))
    low = 0.0 if right <= 0 else max(0.0, middle - half)
    high = 1.0 if right >= n else min(1.0, middle + half)
    return Estimate(share, low, high, n, worth)


def effective(clusters: Iterable[tuple[int, int]]) -> int:
    """How many independent observations there are in clusters of (right, n).

    Samples of the same case are alike: with every sample the same, a case counts once. The design
    effect is measured, and never taken to be below one or above the size of the clusters. Where
    all are right, or none, it can't be measured and the clusters are counted.
    """
    pairs = [(right, n) for right, n in clusters if n]
    total, count = sum(n for _, n in pairs), len(pairs)
    right = sum(k for k, _ in pairs)
    if count == total or count <= 1 or right in (0, total):
        return count
    share = right / total
    spread = math.fsum((k - share * n) ** 2 for k, n in pairs) * count / (count - 1)
    design = spread / (total * share * (1 - share))
    return max(count, min(total, round(total / max(design, 1.0))))


def mean(values: Iterable[float]) -> Estimate:
    """The mean, with Student's interval; a single value has none. Order does not matter."""
    ordered = sorted(values)
    n = len(ordered)
    if n == 0:
        return Estimate()
    middle = math.fsum(ordered) / n
    if n == 1:
        return Estimate(middle, n=1)
    spread = math.sqrt(math.fsum((value - middle) ** 2 for value in ordered) / (n - 1))
    half = student(n - 1) * spread / math.sqrt(n)
    return Estimate(middle, middle - half, middle + half, n)


def ratio(pairs: Iterable[tuple[float, float]]) -> Estimate:
    """The sum of the first over the sum of the second numbers, with a linearised interval.

    This is the mean rate over all that was done, where the mean of the single rates would give a
    short answer the same weight as a long one.
    """
    ordered = sorted(pair for pair in pairs if pair[1] > 0)
    n = len(ordered)
    if n == 0:
        return Estimate()
    under = math.fsum(below for _, below in ordered)
    value = math.fsum(above for above, _ in ordered) / under
    if n == 1:
        return Estimate(value, n=1)
    rest = math.fsum((above - value * below) ** 2 for above, below in ordered)
    half = student(n - 1) * math.sqrt(rest * n / (n - 1)) / under
    return Estimate(value, max(0.0, value - half), value + half, n)


@lru_cache(maxsize=2048)
def student(freedom: int) -> float:
    """The 97.5 % point of Student's distribution with that many degrees of freedom."""
    if freedom > _MANY:
        # Cornish and Fisher's series: right to nine digits from here on.
        z = Z
        first = (z**3 + z) / 4
        second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
        third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
        return z + first / freedom + second / freedom**2 + third / freedom**3
    low, high = 0.0, 13.0
    for _ in range(80):
        middle = (low + high) / 2
        if _within(middle, freedom) < LEVEL:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _within(t: float, freedom: int) -> float:
    """The probability of |T| <= t, by the finite series for whole degrees of freedom."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    if freedom % 2:
        term, total = cosine, 0.0 if freedom == 1 else cosine
        for k in range(3, freedom - 1, 2):
            term *= (k - 1) / k * cosine * cosine
            total += term
        return 2 / math.pi * (angle + sine * total)
    term = total = 1.0
    for k in range(2, freedom - 1, 2):
        term *= (k - 1) / k * cosine * cosine
        total += term
    return sine * total


@lru_cache(maxsize=1 << 16)
def mcnemar(better: int, worse: int) -> float:
    """The exact two-sided p-value that as many cases differ one way as the other.

    `better` cases went right only in the first, `worse` only in the second.
    """
    n, least = better + worse, min(better, worse)
    if n == 0 or better == worse:
        return 1.0
    # Sums of whole numbers: exact however many cases there are.
    term = tail = 1
    for k in range(1, least + 1):
        term = term * (n - k + 1) // k
        tail += term
    return min(1.0, tail / (1 << (n - 1)))


def holm(probabilities: Sequence[float], *, of: int | None = None) -> list[float]:
    """The p-values corrected by Holm's method, in their order.

    `of` is how many tests there were in all, where only some are given: the others are then taken
    to be among the smaller ones, which errs on the side of telling nothing apart.
    """
    count = len(probabilities)
    total = max(of or count, count)
    corrected = [1.0] * count
    least = 0.0
    for rank, place in enumerate(sorted(range(count), key=probabilities.__getitem__)):
        factor = total - rank if total == count else total
        least = max(least, min(1.0, probabilities[place] * factor))
        corrected[place] = least
    return corrected
