"""How long llmgate takes to start: cold processes, medians.

    python -m benchmarks.startup [--runs 20]

Measures `import llmgate`, `llmgate --version`, and `llmgate serve` until `/health` answers, with
an HTTP backend configured. A bare `python -c pass` is run in turns with each, as the floor of
this machine. Prints JSON last; times are wall milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

PROGRAM = str(Path(sys.executable).with_name("llmgate"))
COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "import": [sys.executable, "-c", "import llmgate"],
    "version": [PROGRAM, "--version"],
}


def timed(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1000


def until_health(folder: Path) -> float:
    """From starting `llmgate serve` until /health answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "llmgate.toml"
    config.write_text('[models.local]\nbackend = "llamacpp"\nurl = "http://127.0.0.1:9"\n')
    start = time.perf_counter()
    server = subprocess.Popen(
        [PROGRAM, "serve", "--config", str(config), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                    assert json.load(answer)["status"] == "ok"
                return (time.perf_counter() - start) * 1000
            except (urllib.error.URLError, ConnectionError):
                if server.poll() is not None:
                    raise RuntimeError("llmgate serve ended") from None
                time.sleep(0.005)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    times: dict[str, list[float]] = {name: [] for name in (*COMMANDS, "serve")}
    os.environ.pop("LLMGATE_CONFIG", None)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(runs):
            for name, command in COMMANDS.items():
                times[name].append(timed(command))
            times["serve"].append(until_health(Path(folder)))
    medians = {f"{name}_ms": round(statistics.median(taken), 1) for name, taken in times.items()}
    print(json.dumps({"runs": runs, **medians}))


if __name__ == "__main__":
    main()
