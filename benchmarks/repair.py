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
import importlib.metadata
import importlib.util
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from benchmarks import repair_cases as made
from benchmarks.repair_cases import Case, Cases, grown_from, same
from benchmarks.repair_tokens import written
from llmgate import repair
from llmgate.errors import OutputError

PEER_SECONDS = 2.0
HOSTILE_SECONDS = 10.0
HOSTILE = (
    *("{", '"', '{"', "[", "\\", '"a":', ",", "[{", '","', '":"', '"/*', "'", '{"a":1 '),
    *('{"a":"', '["a" ', '"a":"b"c",', "{'a':'b',", '"a":"{"', '"x{"y", "z":', '{"a": "b", {'),
)
DEEP = {
    "open": "[" * 100_000,
    "closed": "[" * 100_000 + "]" * 100_000,
    "objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "faulty": "[{'a':" * 50_000 + "1," + "}]" * 50_000,
}


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
        if name == "json_repair" and not _guidable():
            versions[name] += " (no schema given: it needs jsonschema for that)"
    return found, versions


def _guidable() -> bool:
    return importlib.util.find_spec("jsonschema") is not None


def _loads_of(name: str) -> Callable[[str, Any], Any]:
    if name == "json_repair":
        import json_repair

        def guided(text: str, schema: Any) -> Any:
            if schema is None or not _guidable():
                return json_repair.loads(text)
            return json_repair.loads(text, schema=schema)

        return guided
    if name == "partial_json":
        import partial_json_parser

        return lambda text, _: partial_json_parser.loads(text)
    import dirtyjson

    return lambda text, _: dirtyjson.loads(text)


def judged(cases: Cases, readers: dict[str, Callable[[Case], bool]]) -> dict[str, Any]:
    """How many cases of each class each reader gets right, and what the first gets wrong."""
    rows: dict[str, dict[str, int]] = {}
    wrong: list[dict[str, str]] = []
    for name, found in cases.by_class.items():
        row = {"cases": len(found), "skipped": cases.skipped.get(name, 0)}
        for reader, reads in readers.items():
            results = [reads(case) for case in found]
            row[reader] = sum(results)
            if reader == "llmgate":
                pairs = zip(found, results, strict=True)
                wrong += [{"class": name, "text": case.text} for case, ok in pairs if not ok]
        rows[name] = row
    total = {key: sum(row[key] for row in rows.values()) for key in ("cases", "skipped", *readers)}
    return {"classes": rows, "total": total, "wrong": wrong}


def show(title: str, result: dict[str, Any], readers: list[str], most: int) -> None:
    """Print a table: per cent right, the worst classes for us first."""
    print(f"\n{title}")
    print(f"{'class':34} {'cases':>6} {'skipped':>7} " + " ".join(f"{r:>12}" for r in readers))
    rows = sorted(
        result["classes"].items(), key=lambda item: (item[1]["llmgate"] / item[1]["cases"], item[0])
    )
    if len(rows) > most:
        rows = [row for row in rows[:most] if row[1]["llmgate"] < row[1]["cases"]]
    for name, row in [*rows, ("all", result["total"])]:
        shares = (f"{100 * row[r] / max(1, row['cases']):11.2f}%" for r in readers)
        print(f"{name:34} {row['cases']:6} {row['skipped']:7} " + " ".join(shares))


def truncation(instances: list[made.Instance], seed: int, times: int, found: list[Peer]) -> Any:
    """How many cut texts are read, and of how many the value holds what was not there."""
    cuts = made.cut_texts(instances, seed, times)
    result: dict[str, Any] = {"cases": len(cuts)}
    read = invents = flagged = 0
    for text, whole in cuts:
        try:
            value = repair.loads(text)
        except OutputError:
            continue
        read += 1
        invents += not grown_from(value.value, whole)
        flagged += value.truncated
    result["llmgate"] = {"read": read, "invents": invents, "flagged": flagged}
    for peer in found:
        read = invents = 0
        for text, whole in cuts:
            try:
                with limited(PEER_SECONDS):
                    loaded = peer.loads(text, None)
            except (Exception, TimeoutError):  # noqa: BLE001  # as above
                continue
            read += 1
            invents += not grown_from(loaded, whole)
        result[peer.name] = {"read": read, "invents": invents}
    return result


def untouched(instances: list[made.Instance], seed: int) -> dict[str, int]:
    """How many valid texts come back as the decoder reads them, without notes."""
    right = cases = 0
    for number, instance in enumerate(instances):
        for indent in (None, 2):
            text = json.dumps(instance.value, indent=indent, ensure_ascii=bool(number % 2))
            found = repair.loads(text)
            cases += 1
            right += same(found.value, json.loads(text)) and not (found.notes or found.truncated)
    return {"cases": cases, "unchanged": right}


def speed(texts: list[str], loads: Callable[[str], Any], rounds: int = 5) -> float:
    """Megabytes a second over all texts: the best of some rounds, of this process's time."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        for text in texts:
            try:
                with_result = loads(text)
            except Exception:  # noqa: BLE001  # a peer may fail in its own way
                with_result = None
            del with_result
        best = min(best, time.process_time() - start)
    return sum(len(text.encode(errors="surrogatepass")) for text in texts) / best / 1e6


def hostile(megabytes: float) -> dict[str, float]:
    """Seconds for a long text of each kind of nonsense."""
    took = {}
    for start in ("", '{"a":"', '["'):
        for unit in HOSTILE:
            text = start + unit * int(megabytes * 1e6 / len(unit))
            begun = time.process_time()
            with suppress(OutputError):
                repair.loads(text)
            took[f"{start}|{unit}"] = round(time.process_time() - begun, 2)
    return took


def deep() -> dict[str, str]:
    """What comes of texts that are nested 100,000 levels deep."""
    found = {}
    for name, text in DEEP.items():
        try:
            value = repair.loads(text).value
        except Exception as error:  # noqa: BLE001  # the point is that there is none
            found[name] = type(error).__name__
            continue
        levels = 0
        while isinstance(value, dict | list):
            levels += 1
            value = next(iter(value.values() if isinstance(value, dict) else value), None)
        found[name] = f"{levels} levels"
    return found


def growing(loads: Callable[[str], Any] | None = None) -> float:
    """Milliseconds to read an 8 KB argument string anew after every four characters."""
    code = 'def f(x):\n    return {"a": [x, "\\t"]}  # naïve\n' * 90
    text = json.dumps({"path": "a.py", "edits": [{"line": n} for n in range(40)], "code": code})
    text = text[:8192]
    start = time.process_time()
    partial = repair.Partial()
    for at in range(0, len(text), 4):
        if loads is None:
            partial.feed(text[at : at + 4])
            _ = partial.value
        else:
            loads(text[: at + 4])
    return (time.process_time() - start) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("file", nargs="?", help="JSON lines, gzipped, with schema and tests")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--doubles", type=int, default=3, help="pairs of faults per value")
    parser.add_argument("--cuts", type=int, default=3, help="cuts per value")
    parser.add_argument("--megabytes", type=float, default=1.0, help="of each kind of nonsense")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--wrong", metavar="FILE", help="write what was read wrongly there")
    options = parser.parse_args()

    found, versions = ([], {}) if options.no_peers else peers()
    print("peers:", ", ".join(f"{name} {version}" for name, version in versions.items()) or "none")
    instances = made.corpus(options.file, options.seed)
    readers: dict[str, Callable[[Case], bool]] = {"llmgate": ours}
    readers |= {peer.name: peer.reads for peer in found}
    output: dict[str, Any] = {"values": len(instances), "peers": versions}
    wrong: list[dict[str, str]] = []
    single = made.spoilt(instances, options.seed, schema=False)
    kinds = {
        "single faults": single,
        "single faults, schema known": made.spoilt(instances, options.seed, schema=True),
        "double faults": made.doubly_spoilt(instances, options.seed, options.doubles),
    }
    for title, cases in kinds.items():
        result = judged(cases, readers)
        show(title, result, list(readers), 40)
        wrong += result.pop("wrong")
        if title == "double faults":
            del result["classes"]
        output[title] = result
    if options.wrong:
        with open(options.wrong, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(case) + "\n" for case in wrong)

    output["truncated"] = truncation(instances, options.seed, options.cuts, found)
    output["valid"] = untouched(instances, options.seed)
    print(f"\ntruncated: {output['truncated']}\nvalid: {output['valid']}")

    damaged = [case.text for cases in single.by_class.values() for case in cases]
    valid = [written(i.value, made.style(options.seed, n)).text for n, i in enumerate(instances)]
    rates = {"valid": speed(valid, repair.loads), "damaged": speed(damaged, repair.loads)}
    sample = damaged[:: max(1, len(damaged) // 1_000)]
    for peer in found:
        rates[peer.name] = speed(sample, lambda text, p=peer: p.loads(text, None), 1)
    output["MB/s"] = {name: round(rate, 2) for name, rate in rates.items()}
    output["hostile seconds"] = hostile(options.megabytes)
    output["hostile worst"] = max(output["hostile seconds"].values())
    output["depth 100,000"] = deep()
    output["growing 8 KB, ms"] = {"llmgate": round(growing(), 1)}
    for peer in found:
        try:
            with limited(HOSTILE_SECONDS):
                took = round(growing(lambda text, p=peer: _quietly(p, text)), 1)
        except TimeoutError:
            took = f"more than {HOSTILE_SECONDS * 1000:.0f}"
        output["growing 8 KB, ms"][peer.name] = took
    for key in ("MB/s", "hostile seconds", "hostile worst", "depth 100,000", "growing 8 KB, ms"):
        print(f"{key}: {output[key]}")
    print(json.dumps(output))


def _quietly(peer: Peer, text: str) -> None:
    try:
        peer.loads(text, None)
    except TimeoutError:
        raise
    except Exception:  # noqa: BLE001  # not every beginning is one for every peer
        pass


if __name__ == "__main__":
    main()
