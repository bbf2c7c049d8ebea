"""The stores that a configuration names, as commands open them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmgate.agent import Home
    from llmgate.config import Settings
    from llmgate.storage import Records
    from llmgate.storage.passages import VectorStore


def settings_of(config: str | None) -> Settings:
    """The settings of a configuration, with no look at what runs on this machine."""
    from llmgate import config as configuration

    return configuration.load(Path(config) if config else None)


@asynccontextmanager
async def records_if_there(settings: Settings) -> AsyncIterator[Records | None]:
    """The store of agents; None where there is none yet: looking makes no file."""
    from llmgate import config as configuration
    from llmgate import storage

    url = configuration.storage_url(settings)
    if not _there(url):
        yield None
        return
    async with await storage.open(url) as records:
        yield records


@asynccontextmanager
async def home_if_there(settings: Settings) -> AsyncIterator[Home | None]:
    """Where agents live; None where there is no store of them yet. No model is started."""
    from llmgate.agent import Home

    async with records_if_there(settings) as records:
        if records is None:
            yield None
            return
        async with await Home.open(settings, records=records) as home:
            yield home


@asynccontextmanager
async def vectors_if_there(settings: Settings) -> AsyncIterator[VectorStore | None]:
    """The store of passages; None where there is none yet."""
    from llmgate import config as configuration
    from llmgate.storage.vectors import open_vector_store

    url = configuration.vectors_url(settings)
    if not _there(url):
        yield None
        return
    async with await open_vector_store(url) as store:
        yield store


def _there(url: str) -> bool:
    from llmgate.storage import Url

    parsed = Url.parse(url)
    return parsed.scheme not in ("sqlite", "file") or parsed.path().exists()
