"""Routes and the pipeline: request → route → wrapper → backend → wrapper → answer.

async with Gateway.open(config.load()) as gateway:
    completion = await gateway.complete(Request(model="llmgate-tiny", messages=...))
"""

from __future__ import annotations

from llmgate.gateway.generation import Observer, Route
from llmgate.gateway.pipeline import Gateway

__all__ = ["Gateway", "Observer", "Route"]
