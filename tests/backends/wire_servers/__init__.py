"""Servers that speak the wire formats that no real server is tested for here, by their names."""

from .base import WireServer
from .chat import AzureServer, ChatServer, LMStudioServer, OpenAIServer
from .completions import (
    CompletionsServer,
    LlamaCppPythonServer,
    LMStudioPromptsServer,
    SGLangServer,
    TextgenServer,
    VLLMServer,
)
from .kobold import KoboldServer
from .ollama import OllamaServer
from .ollama_chat import OllamaChatServer
from .textgen_legacy import TextgenLegacyServer

__all__ = ["SERVERS", "WireServer"]

SERVERS: dict[str, type[WireServer]] = {
    "azure": AzureServer,
    "koboldcpp": KoboldServer,
    "llama-cpp-python": LlamaCppPythonServer,
    "lmstudio": LMStudioPromptsServer,
    "lmstudio-chat": LMStudioServer,
    "ollama": OllamaServer,
    "ollama-chat": OllamaChatServer,
    "openai": OpenAIServer,
    "openai-chat": ChatServer,
    "openai-completions": CompletionsServer,
    "sglang": SGLangServer,
    "textgen": TextgenServer,
    "textgen-legacy": TextgenLegacyServer,
    "vllm": VLLMServer,
}
