"""What is used where nothing is configured: the first model of the first server that answers."""

from __future__ import annotations

from llmgate.backends import open_backend
from llmgate.config import ModelSettings
from llmgate.discovery.search import search
from llmgate.errors import LlmgateError

# Servers that have to be told which of their models is wanted.
_BY_NAME = frozenset({"ollama", "ollama-chat", "vllm", "sglang", "lmstudio", "openai-chat"})


async def first_model(ports: tuple[int, ...]) -> tuple[str, ModelSettings, str] | None:
    """Its name, its settings and the kind of its server; None where no server has a model.

    llmgate itself is not asked: it would end up asking itself.
    """
    for found in await search(ports):
        identity = found.identity
        if identity is None or identity.kind == "llmgate":
            continue
        settings = ModelSettings(backend=identity.backend, url=found.url)
        names = await listed(settings)
        if not names and identity.backend in _BY_NAME:
            continue
        return short(names[0]) if names else "local", named(settings, names[:1]), identity.kind
    return None


async def listed(settings: ModelSettings) -> tuple[str, ...]:
    """The models that a server lists; none if it does not tell."""
    backend = open_backend("listed", settings)
    try:
        return await backend.models()
    except LlmgateError:
        return ()
    finally:
        await backend.aclose()


def named(settings: ModelSettings, names: tuple[str, ...]) -> ModelSettings:
    """The settings with the model's name, where the server has to be told that."""
    if not names or settings.backend not in _BY_NAME:
        return settings
    return ModelSettings(backend=settings.backend, url=settings.url, model=names[0])


def short(name: str) -> str:
    """A model's name without the folders and the ending that servers put around it."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2].removesuffix(".gguf") or "local"
