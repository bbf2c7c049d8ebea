"""llmgate: local language models behind the OpenAI API, with tool calls that are always valid."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmgate.config import ModelSettings, ServerSettings, Settings
    from llmgate.errors import LlmgateError
    from llmgate.gateway import Gateway, Route
    from llmgate.types import (
        Completion,
        Delta,
        Message,
        Note,
        Prompt,
        Request,
        Sampling,
        Tool,
        ToolCall,
        ToolChoice,
        Usage,
    )
    from llmgate.wrappers import Wrapper

__version__ = "0.1.0"

__all__ = [
    "Completion",
    "Delta",
    "Gateway",
    "LlmgateError",
    "Message",
    "ModelSettings",
    "Note",
    "Prompt",
    "Request",
    "Route",
    "Sampling",
    "ServerSettings",
    "Settings",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "Usage",
    "Wrapper",
    "__version__",
]

_HOME = {
    "Gateway": "llmgate.gateway",
    "LlmgateError": "llmgate.errors",
    "ModelSettings": "llmgate.config",
    "Route": "llmgate.gateway",
    "ServerSettings": "llmgate.config",
    "Settings": "llmgate.config",
    "Wrapper": "llmgate.wrappers",
}


def __getattr__(name: str) -> Any:
    # Imported at first use: `import llmgate` stays fast, however much hangs behind the names.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME.get(name, "llmgate.types")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
