"""Wrappers: messages and tools → prompts, a model's text → messages and calls.

To add one, put a `.jinja` file into `templates/` (or into the user's folder of that name).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmgate import resources
from llmgate.errors import UnknownName
from llmgate.wrappers import configured
from llmgate.wrappers.model import ModelWrapper
from llmgate.wrappers.reader import Reader
from llmgate.wrappers.spec import Options, Spec
from llmgate.wrappers.template import Template
from llmgate.wrappers.wrapper import Wrapper

__all__ = [
    "ModelWrapper",
    "Options",
    "Reader",
    "Spec",
    "Template",
    "Wrapper",
    "names",
    "open_wrapper",
]

AUTO, MODEL, FALLBACK = "auto", "model", "chatml"


def names(user: Path | None = None) -> list[str]:
    """The names of all templates, those of the `user` folder included."""
    return sorted({*resources.names("templates", user), *configured.names(user)})


def open_wrapper(
    name: str, options: Mapping[str, Any] | None = None, user: Path | None = None
) -> Wrapper | ModelWrapper:
    """The wrapper of that name: `auto`, `model`, or a template, the user's before the shipped.

    Raises `ConfigError` for options or a template that can't be used, and `UnknownName`.
    """
    if name == AUTO:
        return ModelWrapper(options, Wrapper.load(FALLBACK, options, user))
    if name == MODEL:
        return ModelWrapper(options)
    if (source := configured.read(name, user)) is not None:
        return Wrapper(Template(name, source, options))
    if name not in resources.names("templates", user):
        raise UnknownName("wrapper", name, [AUTO, MODEL, *names(user)])
    return Wrapper.load(name, options, user)
