"""Scores as text: a table for the terminal, one for Markdown, and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

from llmgate.bench.intervals import Estimate
from llmgate.bench.ranks import Ranked, rank
from llmgate.bench.result import CellKey
from llmgate.bench.scores import AMOUNTS, OUTCOMES, SHARES, CellScore, Scores

TITLES = {
    "right": "right",
    "valid": "valid call",
    "function": "right function",
    "arguments": "right arguments",
    "no_call": "no call, rightly",
    "answer": "right text",
    "repaired": "repaired",
    "retried": "retried",
    "tokens_in": "tokens in",
    "tokens_out": "tokens out",
    "cached": "cached",
    "first_token": "first token",
    "rate": "tokens/s",
}
_KEY = ("wrapper", "options", "constraint")


Models = Sequence[tuple[str, str, list[Ranked]]]


def models(scores: Scores) -> Models:
    """For each model and backend its cells, ranked."""
    found: dict[tuple[str, str], list[CellScore]] = {}
    for cell in scores.cells:
        found.setdefault((cell.key.model, cell.key.backend), []).append(cell)
    return [(*name, rank(scores, cells)) for name, cells in sorted(found.items())]


def steps(name: str, value: float) -> int:
    """A score in whole steps of what is shown of it, halves rounded up as the page does."""
    return math.floor(value * scale(name) + 0.5)


def scale(name: str) -> int:
    """How many steps there are in one: shares are shown in tenths of a percent."""
    return 1000 if name in SHARES or name in ("cached", "first_token") else 10


def number(name: str, value: float | None) -> str:
    """A score as it is shown: shares in percent, times in milliseconds."""
    if value is None:
        return "–"
    shown = steps(name, value)
    return str(shown) if name == "first_token" else f"{shown / 10:.1f}"


def unit(name: str) -> str:
    """The unit of what `number` shows."""
    if name in SHARES or name == "cached":
        return "%"
    return {"first_token": "ms", "rate": "/s"}.get(name, "")


def interval(name: str, estimate: Estimate) -> str:
    """A score with the interval that it is in."""
    shown = number(name, estimate.value)
    if estimate.low is None or estimate.high is None:
        return shown
    return f"{shown} [{number(name, estimate.low)}, {number(name, estimate.high)}]"


def place(ranked: Ranked) -> str:
    """A place, with `=` where several cells share it."""
    return f"{ranked.place}{'=' if ranked.shared else ''}"


def verdict(cells: Sequence[Ranked]) -> str:
    """What is to be said of which of a model's cells is best, and how sure that is."""
    return _best(cells) + uneven(cells)


def uneven(cells: Sequence[Ranked]) -> str:
    """A sentence behind others where the cells' shares are not of the same cases, else nothing."""
    if len({each.cell.seen for each in cells}) < 2:
        return ""
    return " Not all cells were asked the same cases, so their shares are of different ones."


def _best(cells: Sequence[Ranked]) -> str:
    best = cells[0].cell
    if not any(each.cell.correct for each in cells):
        return f"Nothing was right even once, in none of {len(cells)} cells."
    share = interval("right", best.right)
    if len(cells) == 1:
        return f"The only cell is {name(best.key)}, right in {share} %."
    alike = [other.cell for other in cells[1:] if not other.apart]
    if not alike:
        return f"The best is {name(best.key)}, right in {share} %, told apart from all others."
    others = ", ".join(name(cell.key) for cell in alike[:5])
    if len(alike) > 5:
        others += f" and {len(alike) - 5} more"
    return f"{name(best.key)} is right in {share} %, and cannot be told apart from {others}."


def name(key: CellKey) -> str:
    """A cell within its model and backend, in a few words."""
    options = "" if key.options in ("", "{}") else f" {_cut(key.options, 80)}"
    return f"{key.wrapper}{options} ({key.constraint})"


def terminal(scores: Scores, *, width: int = 100, most: int = 20) -> str:
    """The best cells of each model as a table of at most `width` columns."""
    if not scores.cells:
        return "There are no results.\n"
    lines = []
    for model, backend, cells in models(scores):
        lines += [f"{printable(model)} on {printable(backend)}", printable(verdict(cells)), ""]
        lines += _aligned(
            [("", "cell", "right % [95 %]", "valid", "args", "no call", "in", "out", "ms", "tok/s")]
            + [_row(each) for each in cells[:most]],
            width,
        )
        if len(cells) > most:
            lines.append(f"({len(cells) - most} more in results.csv)")
        lines.append("")
    return "\n".join(lines)


def markdown(scores: Scores, ranked: Models | None = None, *, most: int = 20) -> str:
    """The summary of a run: for each model its best cells, with intervals, and what they differ in.

    `most` cells of each model are shown. `ranked` are the `models` of the scores, where they are
    known already.
    """
    lines = ["# Benchmark", "", f"{len(scores.cells)} cells, {len(scores.cases)} cases."]
    lines += ["Shares in percent with their 95 % intervals; cells of the same place cannot be told"]
    lines += ["apart from the first of them (exact McNemar test on the same cases, Holm)."]
    shown = ("right", "valid", "function", "arguments", "no_call", "tokens_in", "first_token")
    for model, backend, cells in models(scores):
        lines += [
            "",
            f"## {inert_markdown(model)} on {inert_markdown(backend)}",
            "",
            inert_markdown(verdict(cells)),
            "",
        ]
        heads = ["place", *_KEY, *(f"{TITLES[each]} {unit(each)}".strip() for each in shown)]
        lines.append("| " + " | ".join(heads) + " |")
        lines.append("|" + "---|" * len(heads))
        for each in cells[:most]:
            row = [
                place(each),
                *(inert_markdown(getattr(each.cell.key, key)) for key in _KEY),
            ]
            row += [interval(score, each.cell.estimate(score)) for score in shown]
            lines.append("| " + " | ".join(row) + " |")
        if len(cells) > most:
            lines += ["", f"{len(cells) - most} more cells are in results.csv."]
    if not scores.cells:
        lines += ["", "There are no results."]
    return "\n".join(lines) + "\n"


def table(scores: Scores, ranked: Models | None = None) -> str:
    """All scores of all cells as CSV: value, interval and count of each, in ten digits."""
    places = {
        each.cell.key: (each.place, each.apart, each.p)
        for _, _, cells in (models(scores) if ranked is None else ranked)
        for each in cells
    }
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = [*CellKey._fields, "place", "apart_from_best", "p_against_best", "n"]
    head += [*(f"count_{outcome}" for outcome in OUTCOMES), "repairs", "retries"]
    for score in (*SHARES, *AMOUNTS):
        head += [score, f"{score}_low", f"{score}_high", f"{score}_n"]
    writer.writerow(head)
    for cell in scores.cells:
        where, apart, p = places[cell.key]
        row: list[object] = [*map(inert, cell.key), where, int(apart), _exact(p), cell.n]
        row += [*cell.outcomes, cell.repairs, cell.retries]
        for score in (*SHARES, *AMOUNTS):
            found = cell.estimate(score)
            row += [_exact(found.value), _exact(found.low), _exact(found.high), found.n]
        writer.writerow(row)
    return out.getvalue()


def inert(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    text = printable(text)
    return f"'{text}" if text[:1] in tuple("=+-@") else text


def printable(text: str) -> str:
    """The text with what a terminal or a reader could be fooled by made visible.

    Control characters, and those that turn the direction of writing, become `\\x1b`-like names;
    line ends and tabs stay. What no encoding can hold becomes a replacement character.
    """
    if text.isprintable():
        return text
    return "".join(each if _harmless(each) else _visible(each) for each in text)


def _harmless(each: str) -> bool:
    return each.isprintable() or each in "\n\t" or (each.isspace() and each not in _ENDS)


_ENDS = "\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029"


def _visible(each: str) -> str:
    code = ord(each)
    if 0xD800 <= code <= 0xDFFF:
        return "�"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _exact(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"


def inert_markdown(text: str) -> str:
    """Text that is only text in Markdown, within one row of a table."""
    flat = " ".join(printable(text).split())
    return "".join(f"\\{each}" if each in "\\`*_{}[]<>|#~&" else each for each in flat)


def _row(each: Ranked) -> tuple[str, ...]:
    cell = each.cell
    shown = (
        interval("right", cell.right),
        number("valid", cell.valid.value),
        number("arguments", cell.arguments.value),
        number("no_call", cell.no_call.value),
        number("tokens_in", cell.tokens_in.value),
        number("tokens_out", cell.tokens_out.value),
        number("first_token", cell.first_token.value),
        number("rate", cell.rate.value),
    )
    return (place(each), printable(name(cell.key)), *shown)


def _aligned(rows: Iterable[tuple[str, ...]], width: int) -> list[str]:
    """Rows in columns: the cells' names are cut, then columns at the end left out, to fit."""
    table = list(rows)
    sizes = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    while len(sizes) > 3 and sum(sizes) - sizes[1] + 2 * len(sizes) + min(sizes[1], 24) > width:
        sizes.pop()
    sizes[1] = max(8, min(sizes[1], width - (sum(sizes) - sizes[1] + 2 * (len(sizes) - 1))))
    lines = []
    for row in table:
        shown = [
            _cut(text, size).ljust(size) if column == 1 else text.rjust(size)
            for column, (text, size) in enumerate(zip(row, sizes, strict=False))
        ]
        lines.append("  ".join(shown).rstrip())
    return lines


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"
