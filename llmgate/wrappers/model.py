"""The model's own chat template as a wrapper: known as soon as the backend has told it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llmgate.errors import ConfigError
from llmgate.styles import Pair, Style
from llmgate.types import Caps, ChatTemplate, Request
from llmgate.wrappers.chat_template import ChatTemplateRenderer, Form
from llmgate.wrappers.detection import detect
from llmgate.wrappers.environment import is_steady
from llmgate.wrappers.parts import Marks
from llmgate.wrappers.spec import Options, Spec, merge_options
from llmgate.wrappers.template import chosen_style
from llmgate.wrappers.tools import offered
from llmgate.wrappers.wrapper import Wrapper

_SPEC = Spec(description="the model's own chat template")


class ModelWriter:
    """Writes conversations by one model's template."""

    name = "model"

    def __init__(self, template: ChatTemplate, options: Mapping[str, Any]) -> None:
        """Raises `ConfigError` for a template or options that can't be used."""
        self.options: Options
        self.options, _ = merge_options(self.name, _SPEC, dict(options))
        self._renderer = ChatTemplateRenderer(template)
        found = detect(template, self._renderer)
        self.style: Style = chosen_style(self.options, _SPEC, found.style)
        self.reasoning: tuple[Pair, ...] = tuple(found.reasoning)
        # Calls in another style than the template's have to be explained to the model.
        self._native = found.style is not None and self.style.name == found.style.name
        self.lists_tools = self._renderer.lists_tools and self._native
        self.steady = is_steady(template.text, template.tools or "")
        ends = sorted({template.eos, *found.stop} - {""})
        self.spec = msgspec.structs.replace(_SPEC, stop=tuple(ends))

    def source(self, request: Request) -> str:
        """The template, or the one for tools where there are any."""
        tools = offered(request) if self.lists_tools else ()
        return self._renderer.source(request.messages, tools)

    def write(
        self, request: Request, appendix: str, prefill: str, marks: Marks | None = None
    ) -> str:
        """The prompt. Raises `RequestError` for a conversation that the template refuses."""
        tools = offered(request) if self.lists_tools else ()
        form = Form(
            style=self.style,
            native=self._native,
            appendix=appendix,
            place=self.options.inner_thoughts,
            thoughts_key=self.spec.thoughts_key,
        )
        text = self._renderer.render(
            request.messages,
            tools,
            form=form,
            template_args=self.options.template_args,
            marks=marks,
        )
        return text + prefill


class ModelWrapper:
    """Stands for the wrapper of a model's own template until the backend has told that."""

    def __init__(
        self, options: Mapping[str, Any] | None = None, fallback: Wrapper | None = None
    ) -> None:
        """`fallback` is for models without a template. Raises `ConfigError` for wrong options."""
        self.name = "model" if fallback is None else "auto"
        self._options = dict(options or {})
        merge_options(self.name, _SPEC, self._options)
        self._fallback = fallback
        self._known: tuple[ChatTemplate, Wrapper] | None = None

    def of(self, caps: Caps) -> Wrapper:
        """The wrapper for a backend with these caps.

        Raises `ConfigError` if its model has no template and there is no fallback, or if the
        template can't be used.
        """
        if caps.template is None:
            if self._fallback is None:
                raise ConfigError(
                    "this model has no chat template of its own.",
                    hint="Set another wrapper: `llmgate wrappers` lists them.",
                )
            return self._fallback
        if self._known is None or self._known[0] != caps.template:
            self._known = caps.template, Wrapper(ModelWriter(caps.template, self._options))
        return self._known[1]
