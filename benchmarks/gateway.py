"""What a gateway adds: llmgate beside LiteLLM's proxy and a bare ASGI pass-through.

    python -m benchmarks.gateway [--seconds 4] [--rounds 2] [--litellm FOLDER | --no-litellm]

All three stand in front of the same mock model server, and are asked by the same client; both
are C programs, compiled on the spot, so that neither is what is measured. llmgate asks the mock as
a llama-server: three tools, a template, a grammar, a stream of twenty pieces that is read, and
the call checked against its schema. The other two ask it as OpenAI's API and get the call ready
made. Streams are of fifty pieces: as fast as they go, and one every 10 ms. LiteLLM is installed in
an environment of its own; FOLDER is one that has it already. The systems are measured in turns.

llmgate passes on together what came together (events_per_stream says how much of that there was);
pieces that come one by one go on one by one, which is what the row of pieces 10 ms apart is about.
CPU is that of the gateway's processes. Latencies are what is added to asking the mock directly.
Prints JSON last.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.gateway_systems import CHAT, System, bare, installed_litellm, litellm, llmgate
from benchmarks.gateway_upstream import CHUNKS, PACED, STREAMED, compiled, question, upstream

Row = dict[str, float]
# How a figure is called in the table, and the goal that llmgate has there.
ROWS = {
    "added_p50_ms": "added to one call, p50, ms",
    "added_p99_ms": "added to one call, p99, ms",
    "requests_per_second": "calls/s at 50 connections",
    "cpu_us_per_request": "CPU µs per call",
    "streams_per_second": "50-piece streams/s at 50 connections",
    "cpu_us_per_stream": "CPU µs per stream",
    "events_per_stream": "events that such a stream comes in",
    "first_token_added_p50_ms": "added to the first token, p50, ms",
    "first_token_added_p99_ms": "added to the first token, p99, ms",
    "cpu_us_per_chunk": "CPU µs per piece, 10 ms apart",
    "idle_rss_mb": "memory idle, RSS MB",
    "idle_pss_mb": "memory idle, PSS MB",
    "loaded_rss_mb": "memory after the load, RSS MB",
    "loaded_pss_mb": "memory after the load, PSS MB",
    "start_seconds": "start until the first 200, s",
    "start_cpu_seconds": "CPU s of that start",
}


class Load:
    """The client: sends one question over and over to whatever listens on a port."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self._program = compiled("load_client", folder)
        self._folder = folder
        self._seconds = seconds

    def run(self, port: int, connections: int, path: str, wish: str = "") -> Row:
        """What the client saw. Raises `RuntimeError` for an answer that is wrong."""
        file = self._folder / "question"
        file.write_bytes(question(path, port, wish))
        # Over llama-server's route the call is in pieces that nobody has joined yet.
        expected = "tok49 " if wish else "get_weather" if path == CHAT else '"stop":true'
        command = [str(self._program), str(port), str(connections), str(self._seconds)]
        command += [str(file), expected, "tok0 " if wish else "-"]
        made = subprocess.run(command, capture_output=True, text=True, check=True)
        seen = json.loads(made.stdout)
        if seen["failed"] or not seen["done"]:
            raise RuntimeError(f"{seen['failed']} wrong answers: {seen['failure']}")
        del seen["failure"]
        return dict(seen)


def measured(system: System, load: Load, direct: Callable[[str, str], Row]) -> Row:
    """One round of one system."""
    route = "/completion" if system.name == "llmgate" else CHAT
    found: Row = {}
    base, alone = direct(route, ""), load.run(system.port, 1, CHAT)
    found["added_p50_ms"] = (alone["p50"] - base["p50"]) / 1000
    found["added_p99_ms"] = (alone["p99"] - base["p99"]) / 1000
    base, alone = direct(route, PACED), load.run(system.port, 1, CHAT, PACED)
    found["first_token_added_p50_ms"] = (alone["first_p50"] - base["first_p50"]) / 1000
    found["first_token_added_p99_ms"] = (alone["first_p99"] - base["first_p99"]) / 1000
    for wish, per, cost in (
        ("", "requests_per_second", "cpu_us_per_request"),
        (STREAMED, "streams_per_second", "cpu_us_per_stream"),
        (PACED, "", "cpu_us_per_chunk"),
    ):
        before = system.cpu()
        seen = load.run(system.port, 50, CHAT, wish)
        pieces = CHUNKS if wish == PACED else 1
        found[cost] = (system.cpu() - before) * 1e6 / seen["done"] / pieces
        if per:
            found[per] = seen["done"] / seen["seconds"]
        if wish == STREAMED:
            found["events_per_stream"] = seen["events"]
    return found


def medians(rounds: list[Row]) -> Row:
    return {key: statistics.median(row[key] for row in rounds) for key in rounds[0]}


def table(results: dict[str, Row], missing: str) -> None:
    names = ["llmgate", "litellm", "bare"]
    print(f"{'':40}" + "".join(f"{name:>12}" for name in names))
    for key, title in ROWS.items():
        cells = [f"{results[n][key]:>12,.3g}" if n in results else f"{missing:>12}" for n in names]
        print(f"{title:40}" + "".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=2, help="in turns")
    parser.add_argument("--litellm", type=Path, help="an environment that has LiteLLM's proxy")
    parser.add_argument("--no-litellm", action="store_true", help="leave LiteLLM out")
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        venv = asked.litellm
        if venv is None and not asked.no_litellm:
            print("installing LiteLLM's proxy …", file=sys.stderr)
            venv = installed_litellm(folder)
        port = stack.enter_context(upstream(folder))
        load = Load(folder, asked.seconds)
        systems = [stack.enter_context(llmgate(port, folder))]
        systems.append(stack.enter_context(bare(port, folder)))
        if venv is not None and not asked.no_litellm:
            systems.append(stack.enter_context(litellm(port, folder, venv)))
        results: dict[str, Row] = {}
        for system in systems:
            rss, pss = system.memory()
            results[system.name] = {"idle_rss_mb": rss, "idle_pss_mb": pss}
            results[system.name]["start_seconds"] = system.start_seconds
            results[system.name]["start_cpu_seconds"] = system.start_cpu_seconds
            load.run(system.port, 4, CHAT)  # a warm-up: templates and grammars are compiled once
        rounds: dict[str, list[Row]] = {system.name: [] for system in systems}
        for number in range(asked.rounds):
            for system in systems:
                print(f"round {number + 1}: {system.name}", file=sys.stderr)
                row = measured(system, load, lambda path, wish: load.run(port, 1, path, wish))
                rounds[system.name].append(row)
        for system in systems:
            rss, pss = system.memory()
            results[system.name] |= medians(rounds[system.name])
            results[system.name] |= {"loaded_rss_mb": rss, "loaded_pss_mb": pss}
    table(results, "left out" if asked.no_litellm else "not installed")
    ratios: Row = {}
    if "litellm" in results:
        ours, theirs = results["llmgate"], results["litellm"]
        for key in ("requests_per_second", "streams_per_second"):
            ratios[f"{key}_ratio"] = ours[key] / theirs[key]
            print(f"llmgate has {ratios[f'{key}_ratio']:.0f} times LiteLLM's {ROWS[key]}")
    shown = {
        name: {key: round(value, 4) for key, value in row.items()} for name, row in results.items()
    }
    print(json.dumps({**shown, **{key: round(value, 1) for key, value in ratios.items()}}))


if __name__ == "__main__":
    main()
