"""Backends by name. To add one: one file with a class, one line here (or an entry point)."""

from __future__ import annotations

from llmgate import registry
from llmgate.backends.base import Backend
from llmgate.config import ModelSettings

__all__ = ["TABLE", "Backend", "open_backend"]

TABLE = {
    "embedded": "llmgate.backends.embedded:EmbeddedBackend",
    "llamacpp": "llmgate.backends.llamacpp:LlamaCppBackend",
    "scripted": "llmgate.backends.scripted:ScriptedBackend",
}


def open_backend(model: str, settings: ModelSettings) -> Backend:
    """The backend that `settings` describe, not started yet.

    Raises `UnknownName` for an unknown backend and `ConfigError` for settings that it can't use.
    """
    backend: Backend = registry.find("backend", settings.backend, TABLE).open(model, settings)
    return backend
