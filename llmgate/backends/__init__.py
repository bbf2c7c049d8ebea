"""Backends by name. To add one: one file with a class, one line here (or an entry point)."""

from __future__ import annotations

from llmgate import registry
from llmgate.backends.base import Backend
from llmgate.config import ModelSettings

__all__ = ["TABLE", "Backend", "open_backend"]

TABLE = {
    "azure": "llmgate.backends.chat:AzureBackend",
    "embedded": "llmgate.backends.embedded:EmbeddedBackend",
    "koboldcpp": "llmgate.backends.kobold:KoboldBackend",
    "llama-cpp-python": "llmgate.backends.completions:LlamaCppPythonBackend",
    "llama-server": "llmgate.backends.llamacpp:LlamaCppBackend",
    "llamacpp": "llmgate.backends.llamacpp:LlamaCppBackend",
    "lmstudio": "llmgate.backends.completions:LMStudioBackend",
    "lmstudio-chat": "llmgate.backends.chat:LMStudioChatBackend",
    "ollama": "llmgate.backends.ollama:OllamaBackend",
    "ollama-chat": "llmgate.backends.ollama_chat:OllamaChatBackend",
    "oobabooga": "llmgate.backends.completions:TextgenBackend",
    "openai": "llmgate.backends.chat:OpenAIBackend",
    "openai-chat": "llmgate.backends.chat:ChatBackend",
    "openai-completions": "llmgate.backends.completions:CompatibleBackend",
    "scripted": "llmgate.backends.scripted:ScriptedBackend",
    "sglang": "llmgate.backends.completions:SGLangBackend",
    "text-generation-webui": "llmgate.backends.completions:TextgenBackend",
    "textgen": "llmgate.backends.completions:TextgenBackend",
    "textgen-legacy": "llmgate.backends.textgen_legacy:TextgenLegacyBackend",
    "vllm": "llmgate.backends.completions:VLLMBackend",
}


def open_backend(model: str, settings: ModelSettings) -> Backend:
    """The backend that `settings` describe, not started yet.

    Raises `UnknownName` for an unknown backend and `ConfigError` for settings that it can't use.
    """
    backend: Backend = registry.find("backend", settings.backend, TABLE).open(model, settings)
    return backend
