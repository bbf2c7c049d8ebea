"""The whole matrix of `llmgate bench` on what runs here, with its report.

    python -m benchmarks.bench_matrix DIR [--limit 5] [--pilot 30] [--samples 1] [--max-tokens 96]

The shipped model and one of random weights, in process and behind a real llama-server (the
package xllamacpp): every wrapper, free and held by a grammar, and the server's own tool calling.
All suites of llmgate are asked, and one of calls as the shipped model knows them (`pilot`).
The same command goes on where it was stopped. Prints JSON last.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import msgspec

from benchmarks import pilot_cases
from benchmarks.models import random_model
from benchmarks.servers import llama_server
from llmgate import resources
from llmgate.bench.journal import read

# What is known of the shipped model, for its server, too.
_CONFIG = """\
[models.llmgate-tiny]

[models.llmgate-tiny-server]
backend = "llamacpp"
url = "{tiny}"
wrapper = "airoboros"
options = {{ indent = 0, section_separators = false }}
sampling = {{ temperature = 0.0 }}

[models.random-weights]
path = "{weights}"
context = 2048
threads = 1

[models.random-weights-server]
backend = "llamacpp"
url = "{random}"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=5, help="cases of each suite")
    parser.add_argument("--pilot", type=int, default=30, help="cases of the suite pilot")
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--max-tokens", type=int, default=96)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "random-weights.gguf"
    if not weights.exists():
        random_model(weights, seed=1, layers=1)
    pilot = folder / "pilot.jsonl"
    asked = pilot_cases.cases(arguments.pilot, seed=1)
    pilot.write_bytes(b"".join(msgspec.json.encode(case) + b"\n" for case in asked))
    start = time.perf_counter()
    with ExitStack() as stack:
        tiny, _ = stack.enter_context(llama_server(resources.default_model()))
        noise, _ = stack.enter_context(llama_server(weights))
        config = folder / "llmgate.toml"
        config.write_text(_CONFIG.format(tiny=tiny, random=noise, weights=weights.name))
        command = [sys.executable, "-m", "llmgate", "bench", "run", "--native"]
        command += ["--config", str(config), "-o", str(folder)]
        command += ["--samples", str(arguments.samples)]
        command += ["--max-tokens", str(arguments.max_tokens)]
        subprocess.run([*command, "--suite", str(pilot)], check=True)
        subprocess.run([*command, "--limit", str(arguments.limit)], check=True)
    found = Counter((result.model, result.constraint) for result in read(folder))
    cells = len({result.cell for result in read(folder)})
    wall = round(time.perf_counter() - start, 1)
    print(f"{cells} cells, {sum(found.values())} results, {wall} s this time")
    results = {" ".join(key): count for key, count in sorted(found.items())}
    print(json.dumps({"cells": cells, "seconds": wall, "results": results}))


if __name__ == "__main__":
    main()
