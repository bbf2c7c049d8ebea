"""The report of a run: one HTML page that needs nothing else, a CSV table, a Markdown summary.

All of it comes from the results alone: the same results, in whatever order, give the same bytes.
What models wrote is hostile until shown otherwise: it is escaped by the template engine, what would
fool the eye is made visible, and the page's own policy forbids every script and style but its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from llmgate.bench import charts, tables
from llmgate.bench.failures import KINDS, Example, Examples
from llmgate.bench.intervals import Estimate
from llmgate.bench.packed import inert_json, packed
from llmgate.bench.ranks import Pair, Ranked, pairs
from llmgate.bench.result import CellKey, Result
from llmgate.bench.scores import AMOUNTS, OUTCOMES, SHARES, Scores, Tally

_FOLDER: Final = Path(__file__).parent
_MODELS: Final = 5
_CELLS: Final = 10_000
_DATA: Final = 780_000
_PAIRED: Final = 8


def files(results: Iterable[Result]) -> dict[str, str]:
    """The report's files by their names: `report.html`, `results.csv` and `summary.md`.

    The results are read once; of their texts only those are kept that the page shows.
    """
    tally, examples = Tally(), Examples()
    for result in results:
        if tally.add(result):
            examples.add(result)
    scores = tally.scores()
    models = tables.models(scores)
    return {
        "report.html": page(scores, models, examples),
        "results.csv": tables.table(scores, models),
        "summary.md": tables.markdown(scores, models),
    }


def page(scores: Scores, models: tables.Models, examples: Examples) -> str:
    """The HTML page: a single file without any address in it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (
        (_FOLDER / name).read_text(encoding="utf-8") for name in ("report.css", "report.js")
    )
    rows, data = _fitting([each for _, _, cells in models for each in cells])
    return environment.get_template(
        "report.html"
    ).render(
        style=Markup(style),  # noqa: S704 - a file of ours
        script=Markup(script),  # noqa: S704 - a file of ours
        style_hash=_hash(style),
        script_hash=_hash(script),
        data=Markup(data),  # noqa: S704 - inert_json leaves no markup in it
        cells=len(scores.cells),
        cases=len(scores.cases),
        results=sum(cell.n for cell in scores.cells),
        suites=sorted({tables.printable(case.suite) for case in scores.cases}),
        models=[_model(scores, *each) for each in models[:_MODELS]],
        more_models=max(0, len(models) - _MODELS),
        more_cells=len(scores.cells) - rows,
        outcomes=Markup(charts.outcomes("Outcomes by constraint", _by_constraint(scores))),  # noqa: S704 - escaped in charts
        legend=OUTCOMES,
        failures=_failures(scores, examples.chosen()),
        printable=tables.printable,
    )


def _hash(text: str) -> str:
    """What the page's policy knows its own script and style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _model(scores: Scores, model: str, backend: str, cells: list[Ranked]) -> dict[str, Any]:
    from markupsafe import Markup

    title = f"{model} on {backend}"
    top = [each.cell for each in cells[:_PAIRED]]
    whiskers = charts.whiskers(f"Right answers of {title}, with 95 % intervals", cells)
    heat = charts.heat(f"Right answers of {title} by wrapper and constraint, in percent", cells)
    return {
        "title": title,
        "verdict": tables.verdict(cells),
        "count": len(cells),
        "whiskers": Markup(whiskers),  # noqa: S704 - escaped in charts
        "heat": Markup(heat),  # noqa: S704 - escaped in charts
        "pairs": [_pair(each) for each in pairs(scores, top, of=len(cells))],
        "paired": len(top),
    }


def _pair(pair: Pair) -> dict[str, Any]:
    first, second = tables.name(pair.first.key), tables.name(pair.second.key)
    if pair.apart:
        better = first if pair.better > pair.worse else second
        said = f"{better} is better"
    else:
        said = "cannot be told apart"
    return {
        "first": first,
        "second": second,
        "both": pair.both,
        "better": pair.better,
        "worse": pair.worse,
        "p": f"{pair.corrected:.3g}",
        "said": said,
        "apart": pair.apart,
    }


def _by_constraint(scores: Scores) -> list[tuple[str, list[int]]]:
    found: dict[str, list[int]] = {}
    for cell in scores.cells:
        sums = found.setdefault(cell.key.constraint, [0] * len(OUTCOMES))
        for number, count in enumerate(cell.outcomes):
            sums[number] += count
    return [(name, found[name]) for name in ("off", "schema", "grammar", "native") if name in found]


def _failures(scores: Scores, chosen: dict[str, tuple[Example, ...]]) -> list[dict[str, Any]]:
    total = sum(cell.n for cell in scores.cells)
    found = []
    for kind, title in KINDS.items():
        if kind == "repaired":
            count = sum(round((cell.repaired.value or 0.0) * cell.n) for cell in scores.cells)
        else:
            place = OUTCOMES.index(kind)
            count = sum(cell.outcomes[place] for cell in scores.cells)
        if count:
            found.append(
                {
                    "kind": kind,
                    "title": title,
                    "count": count,
                    "share": tables.number("right", count / total),
                    "examples": chosen[kind],
                }
            )
    return found


def _fitting(rows: list[Ranked]) -> tuple[int, str]:
    """How many of the rows fit on the page, and these as JSON: nearly always all of them."""
    rows = rows[:_CELLS]
    data = inert_json(_data(rows))
    while (size := len(data.encode())) > _DATA:
        rows = rows[: int(len(rows) * min(0.95, _DATA / size))]
        data = inert_json(_data(rows))
    return len(rows), data


def _data(rows: Sequence[Ranked]) -> dict[str, Any]:
    """What the table is made from: words once, numbers packed."""
    words: dict[str, list[str]] = {}
    columns: dict[str, Any] = {}
    for name in CellKey._fields:
        texts = [tables.printable(getattr(each.cell.key, name)) for each in rows]
        words[name] = sorted(set(texts))
        numbers = {text: number for number, text in enumerate(words[name])}
        columns[name] = packed([numbers[text] for text in texts])
    columns["place"] = packed([each.place for each in rows])
    columns["shared"] = packed([each.shared for each in rows])
    columns["apart"] = packed([each.apart for each in rows])
    columns["n"] = packed([each.cell.n for each in rows])
    columns["errors"] = packed([each.cell.errors for each in rows])
    for name in SHARES:
        found = [each.cell.estimate(name) for each in rows]
        columns[f"{name}_k"] = packed(
            [None if one.value is None else round(one.value * one.n) for one in found]
        )
        columns[f"{name}_n"] = packed([one.n for one in found])
        columns[f"{name}_e"] = packed([one.effective for one in found])
    for name in AMOUNTS:
        columns |= _amount(name, [each.cell.estimate(name) for each in rows])
    heads = [
        {"name": name, "title": tables.TITLES[name], "unit": tables.unit(name)}
        for name in (*SHARES, *AMOUNTS)
    ]
    return {
        "rows": len(rows),
        "words": words,
        "columns": _once(columns),
        "heads": heads,
        "shares": SHARES,
    }


def _amount(name: str, found: Sequence[Estimate]) -> dict[str, Any]:
    """The columns of an amount: what is shown, and how far its interval reaches above that.

    Below it reaches as far, but never below nothing, and for a step that rounding makes: `_l` is
    one more than that.
    """
    values: list[int | None] = []
    above: list[int | None] = []
    below: list[int | None] = []
    for one in found:
        value = None if one.value is None else tables.steps(name, one.value)
        values.append(value)
        if value is None or one.low is None or one.high is None:
            above.append(None)
            below.append(None)
            continue
        half = tables.steps(name, one.high) - value
        above.append(half)
        below.append(tables.steps(name, one.low) - max(0, value - half) + 1)
    scale = tables.scale(name)
    return {
        name: packed(values, scale),
        f"{name}_h": packed(above, scale),
        f"{name}_l": packed(below),
    }


def _once(columns: dict[str, Any]) -> dict[str, Any]:
    """The columns, with the name of an earlier one in place of one that is the same."""
    found: dict[str, str] = {}
    for name, column in columns.items():
        found.setdefault(repr(column), name)
    return {
        name: column if found[repr(column)] == name else found[repr(column)]
        for name, column in columns.items()
    }
