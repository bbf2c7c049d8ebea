"""The corpus of `benchmarks.repair`: values, their spoilt texts, and what counts as right."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.repair_faults import BRACKET_FAULTS, BRACKET_READINGS, FAULTS, RESTART
from benchmarks.repair_tokens import Doc, written

MOST_READINGS = 20_000


class Case(NamedTuple):
    text: str
    value: Any
    schema: Any
    second: bool = False


class Instance(NamedTuple):
    value: Any
    schema: Any


def same(one: Any, other: Any) -> bool:
    """Equal to the letter: 1 is not 1.0 nor True, and the order of members counts."""
    return bool(one == other and json.dumps(one) == json.dumps(other))


def grown_from(part: Any, whole: Any) -> bool:
    """Whether a value is a beginning of another."""
    if isinstance(part, dict) and isinstance(whole, dict):
        keys = list(whole)[: len(part)]
        parts: list[Any] = list(part.values())
        wholes = [whole[key] for key in keys]
        if list(part) != keys:
            return False
    elif isinstance(part, list) and isinstance(whole, list):
        parts, wholes = part, whole[: len(part)]
    elif isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part)
    else:
        return same(part, whole)
    if not parts:
        return True
    return (
        len(parts) == len(wholes)
        and same(parts[:-1], wholes[:-1])
        and grown_from(parts[-1], wholes[-1])
    )


def corpus(path: str | None, seed: int) -> list[Instance]:
    if path is None:
        rng = random.Random(seed)
        return [Instance(made_up(rng), None) for _ in range(300)]
    found = []
    with gzip.open(Path(path), "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            tests = [test for test in row["tests"] if test["valid"]]
            found += [Instance(test["data"], row["schema"]) for test in tests]
    return found


def made_up(rng: random.Random) -> dict[str, Any]:
    text = "the order of a blue lamp, sent to Zürich on 3 May: it's 12% off (C:\\temp) 日本"
    words = text.split(" ")

    def value(depth: int) -> Any:
        kind = rng.randrange(8 if depth < 3 else 6)
        if kind < 3:
            return " ".join(rng.choices(words, k=rng.randrange(1, 9)))
        if kind == 3:
            return rng.choice((0, 7, -12, 4096, 0.5, 2.25, -1e-7))
        if kind < 6:
            return rng.choice((True, False, None))
        if kind == 6:
            return [value(depth + 1) for _ in range(rng.randrange(5))]
        return {rng.choice(words) + str(n): value(depth + 1) for n in range(rng.randrange(5))}

    return {f"key{n}": value(0) for n in range(rng.randrange(1, 8))}


def ambiguous(doc: Doc, valid: Callable[[Any], bool] | None) -> bool:
    """Whether an edit of the fault's own kind makes something else of the text."""
    if doc.readings is None:
        return False
    meant = stripped(doc.value)
    cuts = doc.cuts(doc.text) if doc.cuts else ()
    if any(other != meant for other in map(stripped, decoded(cuts))):
        return True
    return any(
        stripped(other) != meant and (valid is None or valid(other))
        for other in decoded(doc.readings(doc.text))
    )


def decoded(texts: Iterable[str]) -> Iterator[Any]:
    """The values of those texts that are valid JSON."""
    for text in texts:
        try:
            yield msgspec.json.decode(text)
        except (ValueError, RecursionError):
            continue


def twice_ambiguous(doc: Doc, pair: list[str], instance: Instance, style: str) -> bool:
    """Whether one of two faults is ambiguous, or both together, or they undo each other."""
    readings = []
    if RESTART in pair and set(pair) & BRACKET_FAULTS:
        return True  # one brace too few at the end is what tells a new start from anything else
    for name in pair:
        alone = written(instance.value, random.Random(style))
        if FAULTS[name](alone, random.Random(f"{style}:{name}")) and ambiguous(alone, None):
            return True
        readings.append(alone.readings or BRACKET_READINGS.get(name))
    texts: Iterable[str] = [doc.text]
    if all(readings):
        texts = itertools.islice(_read_twice(doc.text, readings), MOST_READINGS)
    meant = stripped(doc.value)
    return any(stripped(other) != meant for other in decoded(texts))


def _read_twice(text: str, readings: list[Any]) -> Iterator[str]:
    for first, second in (readings, reversed(readings)):
        for once in (text, *first(text)):
            yield once
            yield from second(once)


def stripped(value: Any) -> Any:
    """A value without white space at the ends of strings: a lost quote can't tell about that."""
    if isinstance(value, dict):
        return [(key.strip(), stripped(child)) for key, child in value.items()]
    if isinstance(value, list):
        return [stripped(child) for child in value]
    return value.strip() if isinstance(value, str) else value


class Cases:
    """All cases of a kind by class, and how many were skipped as ambiguous."""

    def __init__(self) -> None:
        self.by_class: dict[str, list[Case]] = {}
        self.skipped: dict[str, int] = {}

    def add(self, name: str, case: Case | None) -> None:
        if case is None:
            self.skipped[name] = self.skipped.get(name, 0) + 1
        else:
            self.by_class.setdefault(name, []).append(case)


def validator(schema: Any) -> Callable[[Any], bool] | None:
    if schema is None:
        return None
    import jsonschema_rs

    try:
        check: Callable[[Any], bool] = jsonschema_rs.validator_for(schema).is_valid
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError):
        return None
    return check


def style(seed: int, number: int) -> random.Random:
    """What chooses how a value is written."""
    return random.Random(f"{seed}:{number}")


def spoilt(instances: list[Instance], seed: int, *, schema: bool) -> Cases:
    """Every instance with each single fault."""
    cases = Cases()
    for number, instance in enumerate(instances):
        valid = validator(instance.schema) if schema else None
        if schema and valid is None:
            continue
        for name, fault in FAULTS.items():
            doc = written(instance.value, style(seed, number))
            if not fault(doc, random.Random(f"{seed}:{number}:{name}")):
                continue
            skip = ambiguous(doc, valid) or (valid is not None and not valid(doc.value))
            case = Case(doc.text, doc.value, instance.schema if schema else None, doc.second)
            cases.add(name, None if skip else case)
    return cases


def doubly_spoilt(instances: list[Instance], seed: int, times: int) -> Cases:
    """Every instance with some pairs of faults of different classes."""
    cases = Cases()
    names = list(FAULTS)
    for number, instance in enumerate(instances):
        for turn in range(times):
            style = f"{seed}:{number}:{turn}:double"
            rng = random.Random(style)
            for _ in range(40):
                pair = rng.sample(names, 2)
                doc = written(instance.value, random.Random(style))
                if all(FAULTS[name](doc, random.Random(f"{style}:{name}")) for name in pair):
                    skip = twice_ambiguous(doc, pair, instance, style)
                    case = Case(doc.text, doc.value, None, doc.second)
                    cases.add(" + ".join(sorted(pair)), None if skip else case)
                    break
    return cases


def cut_texts(instances: list[Instance], seed: int, times: int) -> list[tuple[str, Any]]:
    """Beginnings of the valid texts, and the values of the whole ones.

    Numbers on their own are left out: `12` is valid JSON, whatever it was cut from.
    """
    found = []
    for number, instance in enumerate(instances):
        if not isinstance(instance.value, dict | list | str):
            continue
        rng = random.Random(f"{seed}:{number}:cut")
        for _ in range(times):
            text = written(instance.value, rng).text
            found.append((text[: rng.randrange(1, len(text))], instance.value))
    return found
