"""llmgate.toml and the LLMGATE_* environment → frozen settings. The only reader of the environment.

[server]
port = 8484

[models.local]
backend = "embedded"            # or "llamacpp"
path = "model.gguf"             # embedded
# url = "http://127.0.0.1:8080" # llamacpp
wrapper = "dolphin"
"""

from __future__ import annotations

from llmgate.config.facts import (
    DEFAULT_MODEL,
    SHIPPED_WRAPPER,
    default_settings,
    is_shipped,
    with_agent_facts,
    with_facts,
)
from llmgate.config.places import (
    FILE_NAME,
    data_folder,
    may_discover,
    storage_url,
    tiktoken_words,
    user_folder,
    vectors_url,
)
from llmgate.config.reading import load, parse
from llmgate.config.settings import (
    AgentSettings,
    KeySettings,
    ModelSettings,
    Replica,
    ServerSettings,
    Settings,
    StorageSettings,
    Timeouts,
)

__all__ = [
    "DEFAULT_MODEL",
    "FILE_NAME",
    "SHIPPED_WRAPPER",
    "AgentSettings",
    "KeySettings",
    "ModelSettings",
    "Replica",
    "ServerSettings",
    "Settings",
    "StorageSettings",
    "Timeouts",
    "data_folder",
    "default_settings",
    "is_shipped",
    "load",
    "may_discover",
    "parse",
    "storage_url",
    "tiktoken_words",
    "user_folder",
    "vectors_url",
    "with_agent_facts",
    "with_facts",
]
