"""Two runs side by side: which cells got better or worse, on the cases that both asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from llmgate.bench import tables
from llmgate.bench.ranks import Pair, corrected, paired
from llmgate.bench.result import CaseKey, CellKey, Result
from llmgate.bench.scores import Scores, Tally

_NAMED: Final = 8
_AMOUNTS: Final = ("tokens_in", "tokens_out", "first_token", "rate")


class Change(msgspec.Struct, frozen=True):
    """What became of a cell; in `pair` the first is the later run.

    `gained` and `lost` are the cases that only the later or only the earlier run had right.
    `amounts` are the tokens and times whose intervals do not overlap; nothing is said of them where
    one run did not ask all the cases that the other did.
    """

    key: CellKey
    pair: Pair
    gained: tuple[CaseKey, ...]
    lost: tuple[CaseKey, ...]
    amounts: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or `cannot be told apart`."""
        if not self.pair.apart:
            return "cannot be told apart"
        return "better" if self.pair.better > self.pair.worse else "worse"


class Comparison(msgspec.Struct, frozen=True):
    """The cells of both runs, in the order of their keys, and what only one of them has."""

    changes: tuple[Change, ...]
    only_before: tuple[CellKey, ...] = ()
    only_after: tuple[CellKey, ...] = ()
    cases: int = 0
    cases_before: int = 0
    cases_after: int = 0


def compare(before: Iterable[Result], after: Iterable[Result]) -> Comparison:
    """Compare two runs cell by cell, corrected for how many cells there are.

    A cell is the same where model, backend, wrapper, options and constraint are, a case where
    suite, name and sample are.
    """
    first, second = Tally(), Tally()
    for tally, results in ((first, before), (second, after)):
        for result in results:
            tally.add(result)
    # Scores of the same cases alone: the cases are then the same in both, and in the same order.
    shared = first.cases & second.cases
    every = first.scores(shared)
    old = {cell.key: cell for cell in every.cells}
    new = {cell.key: cell for cell in second.scores(shared).cells}
    keys = sorted(old.keys() & new.keys())
    pairs = corrected([paired(every, new[key], old[key]) for key in keys])
    return Comparison(
        changes=tuple(_change(every, pair) for pair in pairs),
        only_before=tuple(sorted(old.keys() - new.keys())),
        only_after=tuple(sorted(new.keys() - old.keys())),
        cases=len(shared),
        cases_before=len(first.cases) - len(shared),
        cases_after=len(second.cases) - len(shared),
    )


def told(comparison: Comparison, *, markdown: bool = False) -> str:
    """The comparison in words, what changed first."""
    changes = comparison.changes
    count = {name: sum(each.verdict == name for each in changes) for name in ("better", "worse")}
    lines = ["# Two runs", ""] if markdown else []
    lines.append(
        f"{len(changes)} cells of both runs on {comparison.cases} cases of both: {count['better']} "
        f"better, {count['worse']} worse, {len(changes) - sum(count.values())} cannot be told apart"
        " (exact McNemar test, Holm's correction)."
    )
    for only, which in (
        (comparison.cases_before, "earlier"),
        (comparison.cases_after, "later"),
    ):
        if only:
            lines.append(f"{only} cases are only in the {which} run and were left out.")
    for verdict in ("worse", "better"):
        chosen = [each for each in changes if each.verdict == verdict]
        if chosen:
            lines += ["", f"## {verdict.capitalize()}" if markdown else f"{verdict.capitalize()}:"]
        for each in chosen:
            lines += _told(each, markdown)
    slower = [each for each in changes if each.amounts and not each.pair.apart]
    if slower:
        title = "Right as often, but at another price"
        lines += ["", f"## {title}" if markdown else f"{title}:"]
        for each in slower:
            lines.append(_line(f"{_name(each.key)}: {_amounts(each)}", markdown))
    for keys, which in ((comparison.only_before, "earlier"), (comparison.only_after, "later")):
        if keys:
            named = ", ".join(_name(key) for key in keys[:_NAMED])
            more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
            lines += ["", _line(f"Only in the {which} run: {named}{more}.", markdown)]
    return "\n".join(lines) + "\n"


def _told(change: Change, markdown: bool) -> list[str]:
    pair = change.pair
    old = tables.interval("right", pair.second.right)
    new = tables.interval("right", pair.first.right)
    lines = [
        f"{_name(change.key)}: right {old} % before, {new} % after; of {pair.both} asked in both,"
        f" {len(change.gained)} gained and {len(change.lost)} lost (p = {pair.corrected:.2g})"
    ]
    if change.amounts:
        lines[0] += f"; {_amounts(change)}"
    for title, cases in (("lost", change.lost), ("gained", change.gained)):
        if cases:
            named = ", ".join(f"{case.suite}/{case.case}" for case in cases[:_NAMED])
            more = f" and {len(cases) - _NAMED} more" if len(cases) > _NAMED else ""
            lines.append(f"    {title}: {named}{more}")
    return [_line(line, markdown) for line in lines]


def _line(line: str, markdown: bool) -> str:
    if not markdown:
        return tables.printable(line)
    depth = "  " if line.startswith(" ") else ""
    return f"{depth}- {tables.inert_markdown(line.strip())}"


def _amounts(change: Change) -> str:
    said = []
    for name in change.amounts:
        old, new = change.pair.second.estimate(name), change.pair.first.estimate(name)
        unit = f" {tables.unit(name)}".rstrip() if name == "first_token" else ""
        values = f"{tables.number(name, old.value)} → {tables.number(name, new.value)}"
        said.append(f"{tables.TITLES[name]} {values}{unit}")
    return ", ".join(said)


def _name(key: CellKey) -> str:
    return f"{key.model} on {key.backend}, {tables.name(key)}"


def _change(scores: Scores, pair: Pair) -> Change:
    both = pair.first.seen & pair.second.seen
    gained = pair.first.correct & ~pair.second.correct & both
    lost = pair.second.correct & ~pair.first.correct & both
    amounts = [
        name
        for name in _AMOUNTS
        if pair.first.seen == pair.second.seen
        and not pair.first.estimate(name).overlaps(pair.second.estimate(name))
    ]
    return Change(
        key=pair.first.key,
        pair=pair,
        gained=_named(scores, gained),
        lost=_named(scores, lost),
        amounts=tuple(amounts),
    )


def _named(scores: Scores, bits: int) -> tuple[CaseKey, ...]:
    return tuple(case for place, case in enumerate(scores.cases) if bits >> place & 1)
