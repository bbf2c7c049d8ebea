from __future__ import annotations

from collections.abc import Iterator

import pytest
from engines import running_server
from llama_cpp_python import running

from llmgate import resources


@pytest.fixture(scope="session")
def llama_server() -> Iterator[str]:
    """The address of a llama-server that all tests share."""
    with running_server() as (url, _):
        yield url


@pytest.fixture(scope="session")
def llama_cpp_python_server() -> Iterator[str]:
    """The address of a server of llama-cpp-python that all tests share."""
    with running(resources.default_model()) as url:
        yield url
