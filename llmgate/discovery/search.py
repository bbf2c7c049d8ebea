"""What runs on this machine."""

from __future__ import annotations

import asyncio

import msgspec

from llmgate.discovery.identity import Identity, identify
from llmgate.discovery.ports import PORTS, answering


class Found(msgspec.Struct, frozen=True):
    """A server that answers; `identity` is None where nobody knows what it is."""

    url: str
    identity: Identity | None


async def search(ports: tuple[int, ...] = tuple(PORTS)) -> list[Found]:
    """All servers on the usual ports of this machine, those first that would be chosen first."""
    urls = [f"http://127.0.0.1:{port}" for port in await answering(ports)]
    identities = await asyncio.gather(*(identify(url) for url in urls))
    return [Found(url, identity) for url, identity in zip(urls, identities, strict=True)]
