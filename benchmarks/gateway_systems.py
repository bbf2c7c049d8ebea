"""What the gateway benchmark compares: programs that stand in front of the mock server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHAT = "/v1/chat/completions"
_LLMGATE = """
[models.local]
backend = "llamacpp"
url = "http://127.0.0.1:{port}"
wrapper = "chatml"
"""
_LITELLM = """
model_list:
  - model_name: local
    litellm_params:
      model: openai/mock
      api_base: http://127.0.0.1:{port}/v1
      api_key: none
litellm_settings:
  telemetry: false
"""
# None of the three asks for a key here.
_LITELLM_ENVIRONMENT = {
    "LITELLM_LOG": "ERROR",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
}


class System:
    """One program, started and ready: where it listens and what it costs."""

    def __init__(
        self, name: str, port: int, process: subprocess.Popen[bytes], start: float
    ) -> None:
        self.name = name
        self.port = port
        self._process = process
        self.start_seconds = start
        self.start_cpu_seconds = self.cpu()

    def cpu(self) -> float:
        """Seconds of CPU that its processes have used, all threads."""
        spent = 0
        for pid in self._pids():
            for task in Path(f"/proc/{pid}/task").iterdir():
                spent += int((task / "schedstat").read_text().split()[0])
        return spent / 1e9

    def memory(self) -> tuple[float, float]:
        """Resident and proportional megabytes of its processes."""
        rss = pss = 0
        for pid in self._pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Rss:"):
                    rss += int(line.split()[1])
                elif line.startswith("Pss:"):
                    pss += int(line.split()[1])
        return rss / 1024, pss / 1024

    def _pids(self) -> list[int]:
        found, left = [], [self._process.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            left += [int(child) for child in children.split()]
        return found


@contextmanager
def llmgate(upstream: int, folder: Path) -> Iterator[System]:
    """`llmgate serve` over the mock as a llama-server, with a wrapper of its own."""
    config = folder / "llmgate.toml"
    config.write_text(_LLMGATE.format(port=upstream))
    program = str(Path(sys.executable).with_name("llmgate"))
    command = [program, "serve", "--config", str(config), "--port"]
    with _running("llmgate", command, "/health") as system:
        yield system


@contextmanager
def bare(upstream: int, folder: Path) -> Iterator[System]:
    """A bare ASGI pass-through over the mock as OpenAI's API."""
    command = [sys.executable, "-m", "benchmarks.passthrough", f"http://127.0.0.1:{upstream}"]
    with _running("bare", command, "/health") as system:
        yield system


@contextmanager
def litellm(upstream: int, folder: Path, venv: Path) -> Iterator[System]:
    """LiteLLM's proxy over the mock as OpenAI's API."""
    config = folder / "litellm.yaml"
    config.write_text(_LITELLM.format(port=upstream))
    command = [str(venv / "bin" / "litellm"), "--config", str(config), "--num_workers", "1"]
    with _running("litellm", [*command, "--port"], "/health/liveliness") as system:
        yield system


def installed_litellm(folder: Path) -> Path | None:
    """An environment with LiteLLM's proxy, made in `folder`; None where that can't be had."""
    venv = folder / "litellm"
    made = subprocess.run([sys.executable, "-m", "venv", venv], capture_output=True)
    if made.returncode == 0:
        install = [venv / "bin" / "pip", "install", "-q", "litellm[proxy]"]
        made = subprocess.run(install, capture_output=True)
    return venv if made.returncode == 0 and (venv / "bin" / "litellm").exists() else None


@contextmanager
def _running(name: str, command: list[str], health: str) -> Iterator[System]:
    """The program, which gets its port as its last argument, from the first 200 on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if key != "LLMGATE_CONFIG"}
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, str(port)],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**environment, **_LITELLM_ENVIRONMENT},
    )
    try:
        while not _answers(port, health):
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended before it was ready")
            if time.perf_counter() - start > 120:
                raise RuntimeError(f"{name} is not ready after two minutes")
            time.sleep(0.005)
        yield System(name, port, process, time.perf_counter() - start)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            json.load(answer)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
    return True
