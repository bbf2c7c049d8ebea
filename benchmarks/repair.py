"""How well and how fast malformed JSON is read, beside other repairers.

    python -m benchmarks.repair [FILE.jsonl.gz] [--seed 1] [--doubles 3] [--cuts 3] [--no-peers]

FILE has one JSON object a line with `schema` and `tests`, each test with `valid` and `data`; the
valid ones are the corpus. Without a file there is a small made-up one. Each value is written as
JSON, spoilt by each class of fault that applies (`repair_faults.py`), by pairs of them, and cut
at random places; what a repairer makes of it must be exactly the original: type, order and all.

A case counts only if it can be told what was meant. Where one edit of the kind that undoes the
fault is possible in several places, and another outcome is valid JSON too (with the schema known:
and valid by the schema), the case is skipped; how many is in the table. This is found by trying
each edit with a strict decoder, not by any repairer.

Of a text that is cut the result must be a prefix of the original: of an object the first members,
of an array the first items, of the last string the beginning, and nothing else changed. Anything
more counts as invented. Prints JSON last.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import importlib.metadata
import itertools
import json
import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.repair_faults import BRACKET_FAULTS, BRACKET_READINGS, FAULTS, RESTART, Doc, written
from llmgate import repair
from llmgate.errors import OutputError

PEER_SECONDS = 2.0
MOST_READINGS = 20_000
HOSTILE = (
    *("{", '"', '{"', "[", "\\", '"a":', ",", "[{", '","', '":"', '"/*', "'", '{"a":1 '),
    *('{"a":"', '["a" ', '"a":"b"c",', "{'a':'b',", '"a":"{"', '"x{"y", "z":', '{"a": "b", {'),
)


class Case(NamedTuple):
    text: str
    value: Any
    schema: Any
    second: bool = False


class Instance(NamedTuple):
    value: Any
    schema: Any


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what takes longer."""

    def stop(*_: Any) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


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


def spoilt(instances: list[Instance], seed: int, *, schema: bool) -> Cases:
    """Every instance with each single fault."""
    cases = Cases()
    for number, instance in enumerate(instances):
        valid = validator(instance.schema) if schema else None
        if schema and valid is None:
            continue
        for name, fault in FAULTS.items():
            doc = written(instance.value, random.Random(f"{seed}:{number}"))
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


def ours(case: Case) -> bool:
    try:
        found = repair.loads(case.text, schema=case.schema)
    except OutputError:
        return False
    if case.second:
        return len(found.values) > 1 and same(found.values[1], case.value)
    return same(found.value, case.value)


class Peer(NamedTuple):
    name: str
    loads: Callable[[str, Any], Any]

    def reads(self, case: Case) -> bool:
        try:
            with limited(PEER_SECONDS):
                found = self.loads(case.text, case.schema)
        except (Exception, TimeoutError):  # noqa: BLE001  # what a peer raises is its own affair
            return False
        several = found if isinstance(found, list) and not isinstance(case.value, list) else []
        return same(found, case.value) or any(same(value, case.value) for value in several)


def peers() -> tuple[list[Peer], dict[str, str]]:
    """What of the other repairers is installed, and the version of each."""
    found, versions = [], {}
    for name, package in (
        ("json_repair", "json-repair"),
        ("partial_json", "partial-json-parser"),
        ("dirtyjson", "dirtyjson"),
    ):
        try:
            versions[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
            continue
        found.append(Peer(name, _loads_of(name)))
    return found, versions


def _loads_of(name: str) -> Callable[[str, Any], Any]:
    if name == "json_repair":
        import json_repair

        def guided(text: str, schema: Any) -> Any:
            if schema is None:
                return json_repair.loads(text)
            return json_repair.loads(text, schema=schema)

        return guided
    if name == "partial_json":
        import partial_json_parser

        return lambda text, _: partial_json_parser.loads(text)
    import dirtyjson

    return lambda text, _: dirtyjson.loads(text)


def judged(cases: Cases, readers: dict[str, Callable[[Case], bool]]) -> dict[str, Any]:
    """How many cases of each class each reader gets right, with the failures of the first."""
    rows: dict[str, dict[str, int]] = {}
    failures: list[tuple[str, Case]] = []
    for name, found in cases.by_class.items():
        row = {"cases": len(found)}
        for reader, reads in readers.items():
            right = 0
            for case in found:
                if reads(case):
                    right += 1
                elif reads is ours:
                    failures.append((name, case))
            row[reader] = right
        rows[name] = row
    total = {key: sum(row[key] for row in rows.values()) for key in ("cases", *readers)}
    return {"rows": rows, "total": total, "failures": failures, "skipped": cases.skipped}


def cut(instances: list[Instance], seed: int, times: int) -> dict[str, int]:
    """What becomes of texts that are cut at random places."""
    rng = random.Random(f"{seed}:cut")
    row = {"cases": 0, "read": 0, "invented": 0, "reported": 0}
    for instance in instances:
        if not isinstance(instance.value, (dict, list)):
            continue
        text = json.dumps(instance.value, ensure_ascii=False)
        for _ in range(times):
            at = rng.randrange(1, len(text))
            row["cases"] += 1
            try:
                found = repair.loads(text[:at])
            except OutputError:
                continue
            row["read"] += 1
            row["reported"] += found.truncated
            row["invented"] += not grown_from(found.value, instance.value)
    return row


def unchanged(instances: list[Instance]) -> dict[str, int]:
    """How many valid texts are read as the decoder reads them, without a note."""
    row = {"cases": 0, "right": 0}
    for instance in instances:
        found = repair.loads(json.dumps(instance.value))
        row["cases"] += 1
        row["right"] += same(found.value, instance.value) and not found.notes
    return row


def speeds(instances: list[Instance], cases: Cases) -> dict[str, float]:
    """MB of text a second of CPU time, and ms of CPU time for what could take long."""
    valid = [json.dumps(instance.value, ensure_ascii=False) for instance in instances]
    spoilt_texts = [case.text for found in cases.by_class.values() for case in found]
    out = {"valid_mb_s": _rate(valid), "spoilt_mb_s": _rate(spoilt_texts)}
    large = json.dumps([instance.value for instance in instances], ensure_ascii=False)
    out["large_spoilt_mb_s"] = _rate([large[:1_000_000] + ",}"])
    out["hostile_1mb_ms"] = max(_ms(lambda t=t: _read(t)) for t in _hostile())  # type: ignore[misc]
    out["depth_100000_ms"] = _ms(lambda: _read('{"a": [' * 50_000))
    text = json.dumps({"code": "print('x')\n" * 800})[:8192]

    def reread() -> None:
        partial = repair.Partial()
        for at in range(0, len(text), 4):
            partial.feed(text[at : at + 4])
            _ = partial.value

    out["reread_8kb_ms"] = _ms(reread)
    return out


def _hostile() -> Iterator[str]:
    for unit in HOSTILE:
        yield unit * (1_000_000 // len(unit))


def _read(text: str) -> None:
    with contextlib.suppress(OutputError):
        repair.loads(text)


def _ms(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return round((time.process_time() - start) * 1000, 1)


def _rate(texts: list[str]) -> float:
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    took = _ms(lambda: [_read(text) for text in texts])
    return round(size / 1_000 / max(took, 0.001), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("file", nargs="?")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--doubles", type=int, default=3)
    parser.add_argument("--cuts", type=int, default=3)
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    others, versions = ([], {}) if options.no_peers else peers()
    readers = {"llmgate": ours, **{peer.name: peer.reads for peer in others}}
    instances = corpus(options.file, options.seed)
    singles = spoilt(instances, options.seed, schema=False)
    report: dict[str, Any] = {"instances": len(instances), "peers": versions}
    for label, cases in (
        ("single", singles),
        ("single, schema known", spoilt(instances, options.seed, schema=True)),
        ("double", doubly_spoilt(instances, options.seed, options.doubles)),
    ):
        result = judged(cases, readers)
        skipped = sum(result["skipped"].values())
        print(f"{label:34}{'cases':>8}" + "".join(f"{name:>14}" for name in readers))
        rows = {} if label == "double" else result["rows"]
        for name, row in (*sorted(rows.items()), ("all", result["total"])):
            shares = "".join(
                f"{100 * row[reader] / max(row['cases'], 1):14.2f}" for reader in readers
            )
            print(f"  {name:32}{row['cases']:8}{shares}")
        print(f"  skipped as ambiguous: {skipped}\n")
        report[label] = {"total": result["total"], "skipped": skipped, "classes": rows}
    report["cut"] = cut(instances, options.seed, options.cuts)
    report["valid"] = unchanged(instances)
    report["speed"] = speeds(instances, singles)
    for name in ("cut", "valid", "speed"):
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in report[name].items()))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
