"""Python functions → tools for models, by their signatures and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable
from typing import Any

from llmgate.agent.functions.docstrings import Docstring, parse
from llmgate.agent.functions.forms import Unusable
from llmgate.agent.functions.hints import Hints, described, outlined
from llmgate.agent.functions.spec import HEARTBEAT, THOUGHTS, Function, Parameter, options_of
from llmgate.errors import ConfigError
from llmgate.types import Tool

# After these there is nothing to go on with.
_FINAL = ("send_message", "pause_heartbeats")
_AGENT = ("agent", "self")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BEAT = {
    "type": "boolean",
    "description": "true to act again right after this call.",
    "default": False,
}


def tool_of(target: Callable[..., Any]) -> Tool:
    """The tool that stands for a Python function. Raises ConfigError as `function_of` does."""
    return function_of(target).tool


def function_of(target: Callable[..., Any], *, source: str = "") -> Function:
    """A Python function for models: its schema is that of its signature and docstring.

    The docstring is in Google's style; its first paragraph describes the function, and `Args:`
    every parameter, unless `Annotated` does. A first parameter called `agent` or `self` gets the
    `Context` and is not shown to models. Raises ConfigError that names the function, its file
    (`source`) and the parameter that can't be used.
    """
    return _Reader(target, source).function()


class _Reader:
    def __init__(self, target: Callable[..., Any], source: str) -> None:
        self.target = target
        self.name = getattr(target, "__name__", type(target).__name__)
        code = getattr(inspect.unwrap(target), "__code__", None)
        self.source = source
        self.file = source or getattr(code, "co_filename", "")
        self.hints = Hints()

    def function(self) -> Function:
        if not _NAME.fullmatch(self.name):
            self.refuse("has a name that models can't call", "Use letters, digits and _.")
        inner = inspect.unwrap(self.target)
        if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
            self.refuse("yields its results", "Let it return them all at once.")
        doc = parse(self.target.__doc__)
        if not doc.summary:
            self.refuse(
                "has no description", 'Begin it with a docstring: """What it does, in short."""'
            )
        listed = list(inspect.signature(self.target).parameters.values())
        takes_agent = bool(listed) and listed[0].name in _AGENT
        properties: dict[str, Any] = {}
        parameters: list[Parameter] = []
        for parameter in listed[1:] if takes_agent else listed:
            made, schema = self.parameter(parameter, doc)
            parameters.append(made)
            properties[made.name] = schema
        required = [made.name for made in parameters if made.required]
        if self.name not in _FINAL:
            properties[HEARTBEAT] = dict(_BEAT)
            required.append(HEARTBEAT)
        whole = {"type": "object", "properties": properties, "required": required}
        tool = Tool(self.name, doc.summary, self.hints.definitions.settled(whole))
        options = options_of(self.target)
        if unknown := set(options.bound) - {made.name for made in parameters}:
            self.refuse(f"has no parameter {min(unknown)!r}", "Correct its `bound`.")
        return Function(
            name=self.name,
            tool=tool,
            run=self.target,
            parameters=tuple(parameters),
            takes_agent=takes_agent,
            returns_data=options.returns_data,
            replayable=options.replayable,
            default=options.approval,
            exempt_from_limit=options.unlimited,
            timeout=options.timeout,
            bound=options.bound,
            source=self.source,
        )

    def parameter(
        self, parameter: inspect.Parameter, doc: Docstring
    ) -> tuple[Parameter, dict[str, Any]]:
        name = parameter.name
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            self.refuse(
                f"takes {stars}{name}, which models can't fill in",
                "Give each parameter a name of its own, or take a list or a dict.",
            )
        if name in (HEARTBEAT, THOUGHTS):
            self.refuse(f"has a parameter {name!r}, which llmgate adds itself", "Rename it.")
        hint = self.hint(parameter)
        try:
            form = self.hints.form(hint)
        except Unusable as error:
            self.refuse(
                f"has a parameter {name!r} whose type can't be asked for: {error}",
                "Use str, int, float, bool, lists, dicts, Literal, enums, dataclasses, "
                "TypedDict, or msgspec and pydantic models.",
            )
        marks = typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ()
        description = doc.entries.get(name) or described(marks)
        if not description:
            self.refuse(
                f"has no description of its parameter {name!r}",
                f"Add to its docstring, under `Args:`, a line `{name}: what it is`.",
            )
        required = parameter.default is parameter.empty
        default = dataclasses.MISSING if required else parameter.default
        try:
            schema = outlined(form.schema, description, default)
        except ValueError as error:
            self.refuse(
                f"has a parameter {name!r} with a default that can't be shown: {error}",
                "Use None, and put the real one in inside the function.",
            )
        positional = parameter.kind is parameter.POSITIONAL_ONLY
        value = None if required else parameter.default
        return Parameter(name, form.load, required, value, positional), schema

    def hint(self, parameter: inspect.Parameter) -> Any:
        """The type of a parameter, its text resolved where it is one."""
        if parameter.annotation is parameter.empty:
            self.refuse(
                f"has no type hint for its parameter {parameter.name!r}",
                f"Write `{parameter.name}: str`, or what it is.",
            )
        holder = types.SimpleNamespace(__annotations__={"it": parameter.annotation})
        names = getattr(inspect.unwrap(self.target), "__globals__", {})
        try:
            return typing.get_type_hints(holder, globalns=names, include_extras=True)["it"]
        except (NameError, AttributeError, SyntaxError, TypeError) as error:
            self.refuse(
                f"has a type hint for its parameter {parameter.name!r} that can't be read "
                f"({error})",
                "Import what it names at the top of the file, not under TYPE_CHECKING.",
            )

    def refuse(self, what: str, hint: str) -> typing.NoReturn:
        where = f" in {self.file}" if self.file else ""
        raise ConfigError(f"the function {self.name!r}{where} {what}.", hint=hint)
