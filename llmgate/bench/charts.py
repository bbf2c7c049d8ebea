"""Charts as SVG, drawn here, so that the page needs no program to show them.

Texts are escaped by `html.escape`; colours are the page's own, by class.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from llmgate.bench.ranks import Ranked
from llmgate.bench.scores import OUTCOMES, CellScore
from llmgate.bench.tables import name, number, place, printable

_ROW: Final = 24
_LABEL: Final = 300
_WIDE: Final = 760


def whiskers(title: str, cells: Sequence[Ranked], *, most: int = 15) -> str:
    """The share of right answers of the best cells, with their intervals."""
    shown = cells[:most]
    left, right = _LABEL, _WIDE - 60
    height = _ROW * len(shown) + 34

    def across(share: float) -> str:
        return f"{left + share * (right - left):.1f}"

    parts = []
    for percent in range(0, 101, 25):
        x = across(percent / 100)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="6" y2="{height - 24}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{height - 8}">{percent} %</text>')
    for row, each in enumerate(shown):
        estimate = each.cell.right
        y = _ROW * row + 18
        kind = "apart" if each.apart else "alike"
        parts.append(f'<g class="{kind}"><title>{_text(_said(each))}</title>')
        label = _text(_cut(f"{place(each)}  {name(each.cell.key)}", 44))
        parts.append(f'<text class="label" x="{left - 12}" y="{y + 4}">{label}</text>')
        if estimate.value is not None and estimate.low is not None and estimate.high is not None:
            low, high = across(estimate.low), across(estimate.high)
            parts.append(f'<line class="whisker" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>')
            parts.append(f'<circle class="dot" cx="{across(estimate.value)}" cy="{y}" r="5"/>')
            shown_value = number("right", estimate.value)
            parts.append(f'<text class="value" x="{right + 10}" y="{y + 4}">{shown_value}</text>')
        parts.append("</g>")
    return _svg(title, height, parts)


def heat(title: str, cells: Sequence[Ranked], *, most: int = 12) -> str:
    """Wrappers by constraints: the share of right answers of the best options of each.

    Of the wrappers the `most` best are drawn.
    """
    best: dict[tuple[str, str], CellScore] = {}
    for each in cells:
        best.setdefault((each.cell.key.wrapper, each.cell.key.constraint), each.cell)
    wrappers = list(dict.fromkeys(wrapper for wrapper, _ in best))[:most]
    found = {constraint for _, constraint in best}
    columns = [c for c in ("off", "schema", "grammar", "native") if c in found]
    wide = (_WIDE - _LABEL) // max(4, len(columns))
    parts = []
    for column, constraint in enumerate(columns):
        x = _LABEL + column * wide + wide / 2
        parts.append(f'<text class="tick" x="{x:.1f}" y="14">{_text(constraint)}</text>')
    for row, wrapper in enumerate(wrappers):
        y = 22 + row * _ROW
        label = _text(_cut(wrapper, 40))
        parts.append(f'<text class="label" x="{_LABEL - 12}" y="{y + 16}">{label}</text>')
        for column, constraint in enumerate(columns):
            cell = best.get((wrapper, constraint))
            if cell is None or cell.right.value is None:
                continue
            share = cell.right.value
            x = _LABEL + column * wide
            where = f'x="{x + 1}" y="{y + 1}" width="{wide - 2}" height="{_ROW - 2}"'
            parts.append(f'<rect class="heat" fill-opacity="{0.05 + 0.4 * share:.2f}" {where}/>')
            shown = number("right", share)
            parts.append(f'<text class="tick" x="{x + wide / 2:.1f}" y="{y + 16}">{shown}</text>')
    return _svg(title, 26 + _ROW * len(wrappers), parts)


def outcomes(title: str, rows: Sequence[tuple[str, Sequence[int]]]) -> str:
    """How often each outcome came, as one bar for each row."""
    parts = []
    for number_, (label, counts) in enumerate(rows):
        y = number_ * _ROW
        total = sum(counts)
        shown = _text(_cut(label, 40))
        parts.append(f'<text class="label" x="{_LABEL - 12}" y="{y + 16}">{shown}</text>')
        x = float(_LABEL)
        for outcome, count in zip(OUTCOMES, counts, strict=True):
            if not count:
                continue
            wide = (_WIDE - _LABEL - 10) * count / total
            said = f"{label}: {outcome} {count} of {total} ({number('right', count / total)} %)"
            parts.append(
                f'<rect class="o-{outcome}" x="{x:.1f}" y="{y + 3}" width="{wide:.1f}" '
                f'height="{_ROW - 6}"><title>{_text(said)}</title></rect>'
            )
            x += wide
    return _svg(title, _ROW * len(rows) + 4, parts)


def _said(each: Ranked) -> str:
    right = each.cell.right
    told = "told apart from the best" if each.apart else "not told apart from the best"
    low, high = number("right", right.low), number("right", right.high)
    share = f"right in {number('right', right.value)} % [{low}, {high}]"
    return f"{name(each.cell.key)}: {share} of {each.cell.n}, {told}"


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    head = f'<svg role="img" viewBox="0 0 {_WIDE} {height}" aria-label="{_text(title)}">'
    return "\n".join([head, *parts, "</svg>"])


def _text(text: str) -> str:
    return escape(printable(text))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
