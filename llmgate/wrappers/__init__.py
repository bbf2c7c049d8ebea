"""Wrappers: messages and tools → prompts, a model's text → messages and calls.

To add one, put a `.jinja` file into `templates/` (or into the user's folder of that name).
"""

from __future__ import annotations

from llmgate.wrappers.reader import Reader
from llmgate.wrappers.spec import Options, Spec
from llmgate.wrappers.wrapper import Wrapper

__all__ = ["Options", "Reader", "Spec", "Wrapper"]
