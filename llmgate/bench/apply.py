"""Writes what a benchmark found best for each model into the configuration, as a small change.

A model that is configured as one of its best cells already stays as it is: what cannot be told
apart is no reason to change anything. Where the best cell is not held to a constraint and the same
one with a grammar cannot be told apart from it, the grammar is chosen: it keeps calls valid.
"""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from llmgate import config
from llmgate.bench import tables, toml_text
from llmgate.bench.ranks import Ranked, rank
from llmgate.bench.result import CellKey, Result
from llmgate.bench.scores import CellScore, Scores, score
from llmgate.config import ModelSettings
from llmgate.errors import ConfigError

# What a constraint of the benchmark is called in the configuration.
_SETTING: Final = {"off": "none", "schema": "schema", "grammar": "grammar"}
_STRENGTH: Final = {"off": 0, "schema": 1, "grammar": 2}


class Plan(msgspec.Struct, frozen=True):
    """What a configuration should say: its whole `text`, the `diff` to it, and the reasons.

    `diff` is empty where nothing has to change.
    """

    text: str
    diff: str
    told: tuple[str, ...]


def plan(results: Iterable[Result], text: str, source: Path) -> Plan:
    """The best wrapper and options of each model that is both configured and in the results.

    `text` is that of the file `source`. Raises `ConfigError` where it can't be used, or has a
    setting in a form that can't be changed alone.
    """
    settings = config.parse(text, source)
    scores = score(results)
    told: list[str] = []
    new = text
    for name in dict.fromkeys(cell.key.model for cell in scores.cells):
        model = settings.models.get(name)
        if model is None:
            told.append(f"{name}: {source} does not configure it.")
            continue
        chosen, why = _choice(scores, name, model)
        told.append(f"{name}: {why}")
        if chosen is not None:
            new = _changed(new, name, model, chosen)
    config.parse(new, source)
    return Plan(new, _diff(text, new, source.name), tuple(map(tables.printable, told)))


def read(file: Path) -> str:
    """The text of a configuration, its line ends as they are."""
    try:
        return file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read {file}: {error}.") from error


def write(file: Path, text: str) -> None:
    """Put the text in the file's place, all of it or nothing; its permissions stay."""
    # A link stays a link, to the new text.
    target = file.resolve()
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
        try:
            with open(descriptor, "w", encoding="utf-8", newline="") as new:
                new.write(text)
                new.flush()
                os.fsync(new.fileno())
            if target.exists():
                Path(name).chmod(target.stat().st_mode & 0o7777)
            Path(name).replace(target)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"can't write {file}: {error.strerror}.") from error


def _choice(scores: Scores, name: str, model: ModelSettings) -> tuple[CellKey | None, str]:
    """The cell to configure, None to leave all as it is, and why."""
    own = [cell for cell in scores.cells if cell.key.model == name]
    here = [cell for cell in own if cell.key.backend == model.backend]
    cells = [cell for cell in here if cell.key.constraint in _SETTING]
    if not cells:
        backends = ", ".join(sorted({cell.key.backend for cell in own}))
        what = "with a wrapper" if here else f"with the {model.backend} backend (only {backends})"
        return None, f"stays as it is: nothing was run {what}."
    ranked = rank(scores, cells)
    best = ranked[0].cell
    share = f"right in {tables.interval('right', best.right)} %"
    if not best.correct:
        return None, "stays as it is: nothing that was run was right even once."
    alike = [each for each in ranked if not each.apart]
    if current := next((each for each in alike if _is_current(each.cell, model)), None):
        mine = f"right in {tables.interval('right', current.cell.right)} %"
        reason = "is the best" if current.cell is best else "cannot be told apart from the best"
        return None, f"stays as it is: {tables.name(current.cell.key)}, {mine}, {reason}."
    chosen = _held(best, alike)
    said = f"{tables.name(chosen.key)}, "
    if chosen is not best:
        mine = f"right in {tables.interval('right', chosen.right)} %"
        said += f"{mine}: not told apart from {tables.name(best.key)}, and it keeps calls valid."
    elif len(alike) > 1:
        said += f"{share}; {len(alike) - 1} others cannot be told apart from it."
    else:
        said += f"{share}, told apart from all others."
    native = [cell for cell in own if cell.key.constraint == "native"]
    if native and rank(scores, [*cells, *native])[0].cell in native:
        said += " The server's own tool calling was right more often: see `results.csv`."
    return chosen.key, said + tables.uneven(ranked)


def _held(best: CellScore, alike: list[Ranked]) -> CellScore:
    """The same wrapper and options under the strongest constraint that costs nothing."""
    same = [each.cell for each in alike if each.cell.key[:-1] == best.key[:-1]]
    return max(same, key=lambda cell: _STRENGTH[cell.key.constraint])


def _is_current(cell: CellScore, model: ModelSettings) -> bool:
    options = msgspec.json.decode(cell.key.options or "{}")
    return (
        cell.key.wrapper == model.wrapper
        and options == model.options
        and _constraint(cell.key, model) is None
    )


def _constraint(key: CellKey, model: ModelSettings) -> str | None:
    """What `constraint` has to be set to; None where it says that already."""
    wanted = _SETTING[key.constraint]
    # `auto` is the best that the backend has, and a grammar was to be had.
    if model.constraint == wanted or (model.constraint == "auto" and wanted == "grammar"):
        return None
    return wanted


def _changed(text: str, name: str, model: ModelSettings, key: CellKey) -> str:
    table = ("models", name)
    if key.wrapper != model.wrapper:
        text = toml_text.put(text, table, "wrapper", key.wrapper)
    options: dict[str, Any] = msgspec.json.decode(key.options or "{}")
    if options != model.options:
        text = _with_options(text, table, options, model.options)
    constraint = _constraint(key, model)
    if constraint is not None:
        text = toml_text.put(text, table, "constraint", constraint)
    return text


def _with_options(
    text: str, table: tuple[str, ...], options: dict[str, Any], before: dict[str, Any]
) -> str:
    where = (*table, "options")
    whole = any(
        each.path == where and not each.head for each in toml_text.statements(text)
    ) or not any(each.path[: len(where)] == where for each in toml_text.statements(text))
    if whole:
        return toml_text.put(text, table, "options", options or None)
    # They stand one by one, maybe each with its comment: only those that differ are touched.
    for key, value in options.items():
        if key not in before or before[key] != value:
            text = toml_text.put(text, where, key, value)
    for key in sorted(before.keys() - options.keys()):
        text = toml_text.put(text, where, key, None)
    return text


def _diff(before: str, after: str, name: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), name, f"{name} (new)", lineterm=""
    )
    return "".join(tables.printable(line) + "\n" for line in lines)
