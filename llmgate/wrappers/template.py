"""A template of ours: one `.jinja` file with its spec in front, and its options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import msgspec

from llmgate import resources, styles
from llmgate.errors import ConfigError, LlmgateError
from llmgate.styles import Pair, Style
from llmgate.types import Request
from llmgate.wrappers.conversation import Views
from llmgate.wrappers.environment import is_steady, own_environment
from llmgate.wrappers.parts import Marks
from llmgate.wrappers.spec import Options, Spec, merge_options, read_spec
from llmgate.wrappers.tools import offered
from llmgate.wrappers.turns import Turns


class Template:
    """Writes conversations by a template that is told what to write of each message."""

    def __init__(self, name: str, source: str, options: Mapping[str, Any] | None = None) -> None:
        """Raises `ConfigError` for a template or options that can't be used."""
        self.name = name
        self._source = source
        self.spec: Spec = read_spec(name, source)
        self.options: Options
        self.options, self._own_options = merge_options(name, self.spec, dict(options or {}))
        self.style = chosen_style(self.options, self.spec)
        self._views = Views(self.spec, self.style, self.options)
        self.reasoning: tuple[Pair, ...] = (self.spec.reasoning,) if self.spec.reasoning else ()
        self.lists_tools = False
        self.steady = is_steady(source)
        try:
            self._template = Turns(own_environment(), source, ("options",))
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError(
                f"the template {name!r} has an error in line {error.lineno}: {error.message}."
            ) from error

    @classmethod
    def load(
        cls, name: str, options: Mapping[str, Any] | None = None, user: Path | None = None
    ) -> Template:
        """The template of that name: the user's, else the shipped one."""
        return cls(name, resources.read("templates", name, user), options)

    def source(self, request: Request) -> str:
        """The template itself, whatever the request."""
        return self._source

    def write(
        self, request: Request, appendix: str, prefill: str, marks: Marks | None = None
    ) -> str:
        """The prompt. Raises `ConfigError` for a template that fails."""
        tools = offered(request)
        try:
            template = self._template if marks is None else self._template.marked(marks)
            return template.render(
                {
                    "messages": self._views.of(request.messages, appendix, request.tools),
                    "tools": [msgspec.structs.asdict(tool) for tool in tools],
                    "options": {**msgspec.structs.asdict(self.options), **self._own_options},
                    "prefill": prefill,
                    "add_generation_prompt": True,
                }
            )
        except LlmgateError:
            raise
        except jinja2.TemplateError as error:
            raise ConfigError(f"the template {self.name!r} failed: {error}.") from error
        except Exception as error:  # a template is foreign code: it may raise anything
            kind = type(error).__name__
            raise ConfigError(f"the template {self.name!r} failed: {kind}: {error}.") from error


def chosen_style(options: Options, spec: Spec, found: Style | None = None) -> Style:
    """The style of the options, else the one that was `found`, else bare JSON with the spec's keys.

    Raises `ConfigError` for a name that is none.
    """
    chosen = styles.style("json" if options.style == "auto" else options.style)
    if options.style == "auto" and found is not None:
        return found
    if chosen.name != "json":
        return chosen
    return msgspec.structs.replace(
        chosen, function_key=spec.function_key, arguments_key=spec.arguments_key
    )
