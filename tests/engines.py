"""The real engines that tests run on, and the marks of the tests that need them."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.servers import llama_server
from llmgate import resources

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
    with llama_server(model or resources.default_model(), context) as running:
        yield running
