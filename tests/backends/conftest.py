from __future__ import annotations

from collections.abc import Iterator

import pytest
from engines import running_server


@pytest.fixture(scope="session")
def llama_server() -> Iterator[str]:
    """The address of a llama-server that all tests share."""
    with running_server() as (url, _):
        yield url
