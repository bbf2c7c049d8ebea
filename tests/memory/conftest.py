"""Every engine, empty, and one that several processes can open."""

from __future__ import annotations

import pytest

from llmgate import storage


def url_of(engine, folder):
    return {
        "sqlite": f"sqlite:{folder}/store.db",
        "file": f"file:{folder}/store",
        "memory": "memory:",
    }[engine]


@pytest.fixture(params=["sqlite", "file", "memory"])
async def records(request, tmp_path):
    async with await storage.open(url_of(request.param, tmp_path)) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "file"])
def durable_url(request, tmp_path):
    return url_of(request.param, tmp_path)
