"""Every engine, empty, and a way to close and open it again."""

from __future__ import annotations

import pytest

from llmgate import storage

ENGINES = ["sqlite", "file", "memory"]
DURABLE = ["sqlite", "file"]


def url_of(engine, folder):
    return {
        "sqlite": f"sqlite:{folder}/store.db",
        "file": f"file:{folder}/store",
        "memory": "memory:",
    }[engine]


@pytest.fixture(params=ENGINES)
def url(request, tmp_path):
    return url_of(request.param, tmp_path)


@pytest.fixture(params=DURABLE)
def durable_url(request, tmp_path):
    return url_of(request.param, tmp_path)


@pytest.fixture
async def store(url):
    async with await storage.open(url) as records:
        yield records
