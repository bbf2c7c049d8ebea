"""How many requests a backend answers at a time: more would only wait, and seem slow."""

from __future__ import annotations

from llmgate.backends import Backend
from llmgate.backends.fields import count_in
from llmgate.backends.http import HTTPBackend
from llmgate.config import ModelSettings

# Servers that put what comes together into one batch, and those that answer one by one.
_BATCHING = ("azure", "openai", "sglang", "vllm")
_MANY = 8


async def places(backend: Backend, settings: ModelSettings) -> int:
    """The `concurrency` of the settings, else what the server tells, else what is usual for it.

    Raises `BackendError` for a server that is gone.
    """
    if settings.concurrency is not None:
        return settings.concurrency
    if settings.backend in _BATCHING:
        return _MANY
    # llama-server tells, whichever way it is asked. What is not there tells nothing.
    if isinstance(backend, HTTPBackend):
        props = await backend.server.ask_if_allowed("GET", "/props")
        return count_in(props, "total_slots") or 1
    return 1
