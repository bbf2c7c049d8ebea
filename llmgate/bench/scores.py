"""What a cell of the matrix is worth: the shares, tokens and times of its results.

A share's interval takes into account that samples of one case are alike. A result that is an error
is not right in any share, is counted apart, and is left out of tokens and times. A case that a
cell has twice counts once, as it came first: a run that was killed and resumed scores the same.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Final, get_args

import msgspec

from llmgate.bench.intervals import Estimate, effective, mean, ratio, wilson
from llmgate.bench.result import CaseKey, CellKey, Outcome, Result

OUTCOMES: Final[tuple[str, ...]] = get_args(Outcome)
SHARES: Final = (
    "right",
    "valid",
    "function",
    "arguments",
    "no_call",
    "answer",
    "repaired",
    "retried",
)
AMOUNTS: Final = ("tokens_in", "tokens_out", "cached", "first_token", "rate")

# Of cases of which kinds a share is, and which outcomes count for it.
_COUNTED: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    "right": (frozenset({"calls", "no_call", "json", "text"}), frozenset({"right"})),
    "valid": (frozenset({"calls"}), frozenset({"right", "wrong_function", "wrong_arguments"})),
    "function": (frozenset({"calls"}), frozenset({"right", "wrong_arguments"})),
    "arguments": (frozenset({"calls"}), frozenset({"right"})),
    "no_call": (frozenset({"no_call", "text"}), frozenset({"right", "wrong_text"})),
    "answer": (frozenset({"json", "text"}), frozenset({"right"})),
}
_UNKNOWN: Final = float("nan")


class CellScore(msgspec.Struct, frozen=True):
    """The scores of a cell, each with its 95 % interval; `n` results, `errors` of them errors.

    Shares: `right` is of all cases. Of those that want calls, `valid` is the share answered by
    calls that satisfy the tools' schemas, `function` by calls of the right functions, `arguments`
    by calls that are right altogether. `no_call` is the share without a call of the cases that
    want none, `answer` the share of right texts and JSON. `repaired` and `retried` are the shares
    of cases where the model's text had to be repaired, or asked for again.

    Amounts: tokens and seconds to the first token are means of a case. `cached` is the share of
    the prompts' tokens that were not read again, `rate` the tokens a second behind the first
    (behind the beginning where the answer comes in one piece); retried cases are left out of it.

    `seen` and `correct` are bit sets over `Scores.cases`. `outcomes` counts each of `OUTCOMES`.
    """

    key: CellKey
    n: int
    errors: int
    outcomes: tuple[int, ...]
    repairs: int
    retries: int
    right: Estimate
    valid: Estimate
    function: Estimate
    arguments: Estimate
    no_call: Estimate
    answer: Estimate
    repaired: Estimate
    retried: Estimate
    tokens_in: Estimate
    tokens_out: Estimate
    cached: Estimate
    first_token: Estimate
    rate: Estimate
    seen: int
    correct: int

    def estimate(self, name: str) -> Estimate:
        """The score of that name, one of `SHARES` and `AMOUNTS`."""
        value: Estimate = getattr(self, name)
        return value


class Scores(msgspec.Struct, frozen=True):
    """The scores of a run: `cells` in the order of their keys, and the cases they were asked.

    `clusters` says for each of `cases` which case it is a sample of.
    """

    cells: tuple[CellScore, ...]
    cases: tuple[CaseKey, ...]
    clusters: tuple[int, ...]

    @property
    def sampled(self) -> bool:
        """Whether any case was asked more than once of a cell."""
        return len(set(self.clusters)) < len(self.clusters)


class Tally:
    """Adds results up, one at a time, and gives the scores of all so far.

    It keeps some 50 bytes of each result, none of its texts.
    """

    def __init__(self) -> None:
        self._cells: dict[CellKey, _Column] = {}
        self._places: dict[CaseKey, int] = {}
        self._kinds: list[str] = []

    def add(self, result: Result) -> bool:
        """Count a result; False where the cell already has this case, which then counts once."""
        place = self._places.setdefault(result.key, len(self._places))
        if place == len(self._kinds):
            self._kinds.append(result.expect)
        column = self._cells.get(result.cell)
        if column is None:
            column = self._cells[result.cell] = _Column()
        return column.add(place, result)

    @property
    def cases(self) -> frozenset[CaseKey]:
        """The cases of all results so far."""
        return frozenset(self._places)

    def scores(self, only: frozenset[CaseKey] | None = None) -> Scores:
        """The scores of what was added, or of those of its cases that `only` holds.

        The order in which it was added makes no difference.
        """
        cases = sorted(self._places if only is None else only & self._places.keys())
        order = [self._places[case] for case in cases]
        kinds = [self._kinds[place] for place in order]
        numbers: dict[tuple[str, str], int] = {}
        clusters = tuple(
            numbers.setdefault((case.suite, case.case), len(numbers)) for case in cases
        )
        new = {place: number for number, place in enumerate(order)}
        cells = tuple(
            self._cells[key].score(key, new, kinds, clusters) for key in sorted(self._cells)
        )
        return Scores(cells, tuple(cases), clusters)


def score(results: Iterable[Result]) -> Scores:
    """The scores of all cells in the results."""
    tally = Tally()
    for result in results:
        tally.add(result)
    return tally.scores()


class _Column:
    """What is kept of the results of one cell: parallel columns, one entry a result."""

    def __init__(self) -> None:
        self.seen = 0
        self.place = array("L")
        self.outcome = bytearray()
        self.repairs = array("L")
        self.retries = array("L")
        self.tin = array("d")
        self.tout = array("d")
        self.cached = array("d")
        self.first = array("d")
        self.rate = array("d")

    def add(self, place: int, result: Result) -> bool:
        if self.seen >> place & 1:
            return False
        self.seen |= 1 << place
        self.place.append(place)
        self.outcome.append(OUTCOMES.index(result.outcome))
        self.repairs.append(result.repairs)
        self.retries.append(result.retries)
        self.tin.append(result.tokens_in)
        self.tout.append(result.tokens_out)
        self.cached.append(_UNKNOWN if result.cached is None else result.cached)
        self.first.append(_UNKNOWN if result.first_token is None else result.first_token)
        self.rate.append(_writing_seconds(result))
        return True

    def score(
        self, key: CellKey, new: dict[int, int], kinds: Sequence[str], clusters: Sequence[int]
    ) -> CellScore:
        kept = [row for row, place in enumerate(self.place) if place in new]
        if len(kept) < len(self.place):
            return self._only(kept).score(key, new, kinds, clusters)
        places = [new[place] for place in self.place]
        outcomes = [OUTCOMES[number] for number in self.outcome]
        groups = [clusters[place] for place in places]
        seen = correct = 0
        for place, outcome in zip(places, outcomes, strict=True):
            seen |= 1 << place
            correct |= (outcome == "right") << place
        shares = {}
        for name, (of, good) in _COUNTED.items():
            rows = zip(groups, places, outcomes, strict=True)
            shares[name] = _share(
                (group, outcome in good) for group, place, outcome in rows if kinds[place] in of
            )
        for name, counts in (("repaired", self.repairs), ("retried", self.retries)):
            shares[name] = _share(
                (group, count > 0) for group, count in zip(groups, counts, strict=True)
            )
        answered = [number for number, outcome in enumerate(outcomes) if outcome != "error"]
        return CellScore(
            key=key,
            n=len(places),
            errors=len(places) - len(answered),
            outcomes=tuple(outcomes.count(name) for name in OUTCOMES),
            repairs=sum(self.repairs),
            retries=sum(self.retries),
            seen=seen,
            correct=correct,
            **shares,
            **self._amounts(groups, answered),
        )

    def _only(self, rows: Sequence[int]) -> _Column:
        """A column of some of the results."""
        column = _Column()
        for name in ("place", "outcome", "repairs", "retries", "tin", "tout", "cached", "first"):
            getattr(column, name).extend(getattr(self, name)[row] for row in rows)
        column.rate.extend(self.rate[row] for row in rows)
        return column

    def _amounts(self, groups: Sequence[int], rows: Sequence[int]) -> dict[str, Estimate]:
        def known(column: Sequence[float]) -> list[int]:
            return [row for row in rows if column[row] == column[row]]

        def averages(column: Sequence[float]) -> Estimate:
            found = mean(total / n for total, n in _sums(groups, known(column), column))
            # None of these can be negative, whatever the spread is.
            low = None if found.low is None else max(0.0, found.low)
            return msgspec.structs.replace(found, low=low)

        def rates(above: Sequence[float], below: Sequence[float]) -> Estimate:
            both = [row for row in known(above) if below[row] == below[row]]
            return ratio(_sums(groups, both, above, below))

        # The first token is there before the time that is measured begins, where it is known when.
        behind = [
            tokens - 1 if first == first else tokens
            for tokens, first in zip(self.tout, self.first, strict=True)
        ]
        return {
            "tokens_in": averages(self.tin),
            "tokens_out": averages(self.tout),
            "cached": rates(self.cached, self.tin),
            "first_token": averages(self.first),
            "rate": rates(behind, self.rate),
        }


def _writing_seconds(result: Result) -> float:
    """How long the model wrote; unknown where it wrote twice or too little to say."""
    if result.retries or result.tokens_out < 2:
        return _UNKNOWN
    seconds = result.seconds - (result.first_token or 0.0)
    return seconds if seconds > 0 else _UNKNOWN


def _share(rows: Iterable[tuple[int, bool]]) -> Estimate:
    clusters: dict[int, tuple[int, int]] = {}
    for group, good in rows:
        right, n = clusters.get(group, (0, 0))
        clusters[group] = right + good, n + 1
    right = sum(right for right, _ in clusters.values())
    n = sum(n for _, n in clusters.values())
    return wilson(right, n, effective(clusters.values()))


def _sums(
    groups: Sequence[int],
    rows: Iterable[int],
    above: Sequence[float],
    below: Sequence[float] | None = None,
) -> list[tuple[float, float]]:
    """For each case the sums over all of its samples; `below` is how many where it is None."""
    sums: dict[int, tuple[float, float]] = {}
    for row in rows:
        first, second = sums.get(groups[row], (0.0, 0.0))
        sums[groups[row]] = first + above[row], second + (1.0 if below is None else below[row])
    return list(sums.values())
