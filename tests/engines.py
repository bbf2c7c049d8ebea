"""The real engines that tests run on, and the marks of the tests that need them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmgate import resources

_SERVER = Path(__file__).with_name("llama_server.py")

needs_engine = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None,
    reason="llama-cpp-python is not installed (pip install 'llmgate[embedded]')",
)
needs_server = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp is not installed"
)


@contextmanager
def running_server(
    context: int = 2048, model: Path | None = None
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A llama-server with that model, else the shipped one: its address and its process."""
    path = model or resources.default_model()
    command = [sys.executable, str(_SERVER), str(path), str(context)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http"), f"llama-server did not start: {url!r}"
            yield url, process
        finally:
            process.kill()
