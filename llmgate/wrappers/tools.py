"""A request's tools, compiled once: the list for the prompt, the checks, the grammars."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import msgspec

from llmgate import grammar
from llmgate.errors import RequestError, suggestion
from llmgate.grammar import Grammar
from llmgate.styles import Pair, Style
from llmgate.types import JSONSchema, Request, Tool, ToolChoice
from llmgate.validation import Checker
from llmgate.wrappers.functions import function_list
from llmgate.wrappers.schemas import Held, answer_schema
from llmgate.wrappers.spec import Options, Spec

T = TypeVar("T")
_KEPT = 256


class Toolset:
    """Tools whose schemas have been checked."""

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self.by_name = {tool.name: tool for tool in tools}
        if len(self.by_name) != len(tools):
            names = [tool.name for tool in tools]
            twice = next(name for name in names if names.count(name) > 1)
            raise RequestError(f"two tools have the name {twice!r}.", param="tools")
        self.checkers = {
            tool.name: Checker.of(
                tool.parameters or {"type": "object"}, param=f"tools[{i}].function.parameters"
            )
            for i, tool in enumerate(tools)
        }
        self.schemas = {tool.name: tool.parameters for tool in tools}

    def with_parameter(self, key: str) -> frozenset[str]:
        """The names of the tools that have a parameter of that name themselves."""
        return frozenset(
            name
            for name, tool in self.by_name.items()
            if key in tool.parameters.get("properties", {})
        )


class Compiler:
    """Turns tools and schemas into what a wrapper needs, and keeps it by content."""

    def __init__(
        self, spec: Spec, style: Style, options: Options, reasoning: tuple[Pair, ...]
    ) -> None:
        """`reasoning` are the marks around thoughts that the model is known to write.

        Only such a model may think before a forced call: another one that begins to might not
        come to the call before the token limit.
        """
        self._spec = spec
        self._style = style
        self._options = options
        self._reasoning = reasoning
        self._kept: OrderedDict[tuple[object, ...], object] = OrderedDict()
        self._read: tuple[tuple[Tool, ...], bytes] = ((), b"[]")

    def toolset(self, request: Request) -> Toolset:
        """The request's tools. Raises `RequestError` naming the tool whose schema is none."""
        # Once for each prompt and each answer: all that follows has it from there.
        self._read = request.tools, _content(request.tools)
        return self._keep(("tools", self._read[1]), lambda: Toolset(request.tools))

    def listed(self, request: Request, *, parallel: bool) -> str:
        """The list of functions for the prompt, whatever of them may be called this time."""
        return self._keep(
            ("list", self._of(request.tools), parallel),
            lambda: function_list(
                request.tools,
                self._spec,
                self._style,
                self._options,
                parallel=parallel,
            ),
        )

    def checker(self, schema: JSONSchema) -> Checker:
        """The check for a text answer's schema."""
        return self._keep(
            ("checker", _content(schema)), lambda: Checker.of(schema, param="response_format")
        )

    def grammar(
        self, request: Request, prefill: str, opened: str = "", *, lazy: bool = False
    ) -> Grammar | None:
        """The grammar of the answers that the request allows; None where any text is one.

        `lazy`: it holds only from where a call begins. `opened` is the mark that ends the thoughts
        which the prompt begins. Raises `GrammarError` naming the tool or the path of a schema that
        can't be compiled.
        """
        tools, schema = permitted(request), request.schema
        if not tools and schema is None:
            return None
        reasoning = self._reasoning
        if not request.tool_choice.forced:
            reasoning = self._style.reasoning or reasoning
        if not tools and not reasoning and not opened:
            return self._keep(("schema", _content(schema)), lambda: grammar.compile(schema))
        choice = request.tool_choice if tools else ToolChoice()
        key = (
            "calls",
            self._of(offered(request)),
            _content((schema, choice)),
            request.parallel,
            prefill,
            lazy,
            opened,
        )
        return self._keep(
            key,
            lambda: grammar.compile_calls(
                tools,
                self._style,
                thoughts=self._options.inner_thoughts,
                thoughts_key=self._spec.thoughts_key,
                name=choice.name,
                required=choice.forced,
                parallel=bool(request.parallel),
                schema=schema,
                prefill=prefill,
                reasoning=reasoning,
                lazy=lazy,
                opened=opened,
            ),
        )

    def held(self, request: Request) -> Held | None:
        """What holds the answer where the backend takes schemas only; None where no schema can."""
        tools = permitted(request)
        key = (
            "held",
            self._of(offered(request)),
            _content((request.schema, request.tool_choice)),
            request.parallel,
        )
        return self._keep(
            key, lambda: answer_schema(request, tools, self._style, self._options, self._spec)
        )

    def _of(self, tools: tuple[Tool, ...]) -> bytes:
        """The content of tools, which have been read just now if they are the request's."""
        return self._read[1] if tools is self._read[0] else _content(tools)

    def _keep(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]  # type: ignore[return-value]
        made = make()
        self._kept[key] = made
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return made


def offered(request: Request) -> tuple[Tool, ...]:
    """The tools that the prompt lists."""
    return () if request.tool_choice.mode == "none" else request.tools


def permitted(request: Request) -> tuple[Tool, ...]:
    """The tools of the list that the model may call in this answer, whichever it has to.

    Raises `RequestError` for a choice of tools that the request does not have.
    """
    choice, tools = request.tool_choice, offered(request)
    if not choice.allowed or not tools:
        return tools
    known = [tool.name for tool in tools]
    for name in choice.allowed:
        if name not in known:
            hint = suggestion(name, known)
            raise RequestError(
                f"there is no tool {name!r} to call.", hint=hint, param="tool_choice"
            )
    if choice.name is not None and choice.name not in choice.allowed:
        shown = ", ".join(map(repr, choice.allowed))
        raise RequestError(
            f"the tool {choice.name!r} is to be called, but only {shown} may be.",
            param="tool_choice",
        )
    return tuple(tool for tool in tools if tool.name in choice.allowed)


def only(request: Request) -> tuple[str, ...]:
    """The names of the tools that may be called, empty where all that are listed may be."""
    choice = request.tool_choice
    if choice.name is not None:
        return (choice.name,)
    return tuple(tool.name for tool in permitted(request)) if choice.allowed else ()


def _content(value: object) -> bytes:
    return msgspec.json.encode(value)
