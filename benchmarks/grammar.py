"""How many real JSON Schemas become a grammar that is exactly right, beside other converters.

    python -m benchmarks.grammar FILE.jsonl.gz [--peers] [--limit N] [--jobs N] [--failing]

FILE has one JSON object a line: `name`, `group`, `schema` and `tests` (`data` and whether it is
`valid`). Each schema is converted, loaded by llama.cpp's own grammar parser, and each instance,
written as JSON, is taken through llama.cpp's own matcher, one byte a token, so that what is
counted is what an engine would let a model write. A schema passes when every valid instance is
taken, every invalid one is refused, and nothing was left to a validator (`.relaxed`).

With `--peers`, llama-cpp-python's converter (matched by llama.cpp too) and llguidance (by its own
matcher) get the same instances in the same run. Every engine works in a child process with a
time limit per schema: one that hangs or dies costs that schema only. Conversion is timed in
milliseconds of the processor, everything else by the clock. Prints JSON last.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import queue
import select
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

OURS = "llmgate"
PEERS = {"llama-cpp-python": "llama_cpp", "llguidance": "llguidance"}
# How an instance is written; the first is the one that decides.
SPELLINGS: dict[str, dict[str, Any]] = {
    "plain": {"ensure_ascii": False},
    "ascii": {},
    "indent": {"ensure_ascii": False, "indent": 2},
    "compact": {"ensure_ascii": False, "separators": (",", ":")},
}
LARGEST = 64 * 1024


class Child:
    """One engine in a process of its own, which is started again after it hangs or dies."""

    def __init__(self, engine: str, vocabulary: str, limit: float) -> None:
        self.command = [
            sys.executable, "-m", "benchmarks.grammar_engines", engine, vocabulary
        ]  # fmt: skip
        self.limit = limit
        self.process: subprocess.Popen[bytes] | None = None
        self.buffer = b""

    def ask(self, row: dict[str, Any]) -> dict[str, Any]:
        """What the engine made of one schema, or in which phase it hung or died."""
        if self.process is None:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self.buffer = b""
            self._line(120)
        process = self.process
        assert process.stdin is not None
        phase = "convert"
        try:
            process.stdin.write(json.dumps(row).encode() + b"\n")
            process.stdin.flush()
            while True:
                line = self._line(self.limit)
                if line is None:
                    self.close()
                    return {"outcome": "timeout", "phase": phase}
                if not line:
                    raise BrokenPipeError
                answer: dict[str, Any] = json.loads(line)
                if "outcome" in answer:
                    return answer
                phase = answer["phase"]
        except BrokenPipeError:
            self.close()
            return {"outcome": "crash", "phase": phase}

    def _line(self, limit: float) -> bytes | None:
        """The next line; empty when the process has ended, None when there is none in time."""
        assert self.process is not None
        assert self.process.stdout is not None
        end = time.monotonic() + limit
        while b"\n" not in self.buffer:
            left = max(0.0, end - time.monotonic())
            if not select.select([self.process.stdout], [], [], left)[0]:
                return None
            piece = os.read(self.process.stdout.fileno(), 1 << 16)
            if not piece:
                return b""
            self.buffer += piece
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def run(
    engine: str, rows: list[dict[str, Any]], vocabulary: str, jobs: int, limit: float
) -> list[dict[str, Any]]:
    """What an engine made of each schema."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(rows)):
        waiting.put(number)
    results: list[dict[str, Any]] = [{} for _ in rows]

    def work() -> None:
        child = Child(engine, vocabulary, limit)
        try:
            while True:
                number = waiting.get_nowait()
                results[number] = child.ask(rows[number])
        except queue.Empty:
            child.close()

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def judge(row: dict[str, Any], result: dict[str, Any], spelling: str = "plain") -> set[str]:
    """Everything that is to be said about one schema's result."""
    if result["outcome"] != "ok":
        return {result["outcome"]}
    words = {"compiled"}
    if not result["loaded"]:
        return words | {"not loaded"}
    if result["relaxed"]:
        words.add("relaxed")
    for test, taken in zip(row["tests"], result["taken"][spelling], strict=True):
        if test["valid"] and not taken:
            words.add("valid refused")
        if taken and not test["valid"]:
            declared = result["relaxed"]
            words.add("invalid taken, declared" if declared else "invalid taken, undeclared")
    if not any(word.startswith(("valid", "invalid")) for word in words):
        words.add("right")
        if "relaxed" not in words:
            words.add("passing")
    return words


def quantiles(numbers: list[float]) -> dict[str, float]:
    if not numbers:
        return {}
    ordered = sorted(numbers)

    def at(part: float) -> float:
        return round(ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)], 3)

    return {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": round(ordered[-1], 3)}


def summary(rows: list[dict[str, Any]], results: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of one engine."""
    total: Counter[str] = Counter()
    everywhere = 0
    instances: Counter[str] = Counter()
    for row, result in zip(rows, results, strict=True):
        words = judge(row, result)
        total.update(words)
        if "passing" in words:
            everywhere += all("passing" in judge(row, result, other) for other in SPELLINGS)
        if result["outcome"] == "ok" and result["loaded"]:
            for test, taken in zip(row["tests"], result["taken"]["plain"], strict=True):
                kind = "valid" if test["valid"] else "invalid"
                instances[f"{kind} {'taken' if taken else 'refused'}"] += 1
    done = [result for result in results if result["outcome"] == "ok"]
    sizes = [float(result["bytes"]) for result in done]
    return {
        "schemas": len(rows),
        "passing": total["passing"],
        "passing_percent": round(100 * total["passing"] / len(rows), 1),
        "passing_in_every_spelling": everywhere,
        "right": total["right"],
        "relaxed": total["relaxed"],
        "valid_refused": total["valid refused"],
        "invalid_taken_declared": total["invalid taken, declared"],
        "invalid_taken_undeclared": total["invalid taken, undeclared"],
        "refused": total["refused"],
        "crash": total["crash"],
        "timeout": total["timeout"],
        "not_loaded": total["not loaded"],
        "instances": dict(sorted(instances.items())),
        "convert_ms": quantiles([result["ms"] for result in done]),
        "convert_first_ms": quantiles([result["first_ms"] for result in done]),
        "load_ms": quantiles([result["load_ms"] for result in done]),
        "bytes": quantiles(sizes) | {"over_64k": sum(size > LARGEST for size in sizes)},
    }


SHOWN = (
    "passing", "passing_percent", "passing_in_every_spelling", "right", "relaxed", "valid_refused",
    "invalid_taken_declared", "invalid_taken_undeclared", "refused", "crash", "timeout",
    "not_loaded",
)  # fmt: skip


def table(figures: dict[str, dict[str, Any]]) -> str:
    lines = [f"{'':26}" + "".join(f"{name:>20}" for name in figures)]
    for key in SHOWN:
        cells = "".join(f"{figure[key]:>20}" for figure in figures.values())
        lines.append(f"{key.replace('_', ' '):26}{cells}")
    for key in ("convert_ms", "convert_first_ms", "load_ms", "bytes"):
        for part in ("p50", "p99", "max"):
            cells = "".join(f"{figure[key].get(part, ''):>20}" for figure in figures.values())
            lines.append(f"{key.replace('_', ' ') + ' ' + part:26}{cells}")
    return "\n".join(lines)


def groups(rows: list[dict[str, Any]], everyone: dict[str, list[dict[str, Any]]]) -> str:
    """Passing schemas by group, in percent."""
    names = list(dict.fromkeys(row["group"] for row in rows))
    lines = []
    for name in names:
        mine = [number for number, row in enumerate(rows) if row["group"] == name]
        parts = [
            100 * statistics.fmean("passing" in judge(rows[n], results[n]) for n in mine)
            for results in everyone.values()
        ]
        cells = "".join(f"{part:>20.1f}" for part in parts)
        lines.append(f"{name:20}{len(mine):>6}{cells}")
    return "\n".join(lines)


def show_failing(rows: list[dict[str, Any]], results: list[dict[str, Any]]) -> None:
    for row, result in zip(rows, results, strict=True):
        words = judge(row, result)
        if "passing" in words:
            continue
        said = sorted(words - {"compiled", "right"})
        why = result.get("error") or sorted({entry[1] for entry in result.get("relaxed", ())})
        print(f"{row['name']}: {', '.join(said)}: {why} {result.get('phase', '')}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--peers", action="store_true", help="measure other converters too")
    parser.add_argument("--limit", type=int, help="only every so many-th schema, N in all")
    parser.add_argument("--only", help="only schemas with this in their name")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--time", type=float, default=30.0, help="seconds a phase of a schema")
    parser.add_argument("--vocab", default="", help="a GGUF file whose vocabulary matches")
    parser.add_argument("--failing", action="store_true", help="name what does not pass, and why")
    options = parser.parse_args()
    with gzip.open(options.file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    if options.only:
        rows = [row for row in rows if options.only in row["name"]]
    if options.limit and options.limit < len(rows):
        rows = rows[:: math.ceil(len(rows) / options.limit)]
    everyone: dict[str, list[dict[str, Any]]] = {}
    absent: list[str] = []
    for engine in (OURS, *(PEERS if options.peers else ())):
        module = PEERS.get(engine)
        if module and subprocess.run([sys.executable, "-c", f"import {module}"]).returncode:
            absent.append(engine)
            continue
        everyone[engine] = run(engine, rows, options.vocab, options.jobs, options.time)
    if options.failing:
        show_failing(rows, everyone[OURS])
    figures = {engine: summary(rows, results) for engine, results in everyone.items()}
    print(table(figures))
    print(f"\npassing, % by group\n{groups(rows, everyone)}")
    for engine in absent:
        print(f"{engine}: not installed")
    matcher = next((r["matcher"] for r in everyone[OURS] if r.get("matcher")), None)
    print(f"matched by: {matcher}")
    print(json.dumps({"file": options.file.name, "matched_by": matcher, "engines": figures}))


if __name__ == "__main__":
    main()
