"""Tool lists → GBNF: the answer is a call, several calls, or a call or something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llmgate.errors import GrammarError, suggestion
from llmgate.grammar.builder import Builder, json_text, quote
from llmgate.grammar.matcher import after
from llmgate.grammar.schema import Compiler
from llmgate.grammar.strings import key
from llmgate.grammar.values import CallShape, Grammar, Relaxed
from llmgate.types import JSONSchema, Tool

_MOST_CALLS: Final = 16
# What may stand around calls and between them: models often begin an answer with a blank.
_BLANK: Final = "[ \\n]"
# Any text that can't be taken for a call: its first character that is no blank is no brace.
_TEXT: Final = "[ \\t\\r\\n]* ([^{ \\t\\r\\n\\x00] [^\\x00]*)?"


def compile_calls(
    tools: Sequence[Tool],
    shape: CallShape,
    *,
    name: str | None = None,
    required: bool,
    parallel: bool = False,
    schema: JSONSchema | None = None,
    prefill: str = "",
) -> Grammar:
    """The GBNF of the answers that a model with these tools may give.

    With `required` that is a call (of the tool `name`, if given), with `parallel` up to 16 of
    them. Without it, it may also be an answer: JSON that satisfies `schema`, or where there is
    none, text that does not begin like a call. The grammar is for what follows `prefill`, the
    part of a required call that is written already.

    Raises `GrammarError` for unusable tools, naming the tool, and ValueError for a prefill
    that no call begins with.
    """
    _distinct(tools)
    if name is not None:
        tools = [tool for tool in tools if tool.name == name] or _unknown(name, tools)
    if required and not tools:
        raise GrammarError("a tool call is required, but the request has no tools.", param="tools")
    if prefill and not required:
        raise ValueError("a prefill begins a call, so a call has to be required")
    builder = Builder()
    relaxed: dict[Relaxed, None] = {}
    ways: list[str] = []
    if tools:
        ways.append(_calls(builder, tools, shape, parallel, relaxed))
    if not required and schema is not None:
        compiler = Compiler(builder, schema, "schema")
        ways.append(compiler.compile("answer"))
        relaxed.update(compiler.relaxed)
    if ways:
        either = ways[0] if len(ways) == 1 else f"({' | '.join(ways)})"
        ways = [f"{_BLANK}? {either} {_BLANK}?"]
    if not required and schema is None:
        ways.append(builder.rule("text", _TEXT))
    builder.define(builder.root, " | ".join(ways))
    if prefill:
        builder.define(builder.root, after(prefill, builder.rules))
    return Grammar(builder.text(), tuple(relaxed))


def _distinct(tools: Sequence[Tool]) -> None:
    seen: set[str] = set()
    for tool in tools:
        if tool.name in seen:
            raise GrammarError(f"two tools have the name {tool.name!r}.", param="tools")
        seen.add(tool.name)


def _unknown(name: str, tools: Sequence[Tool]) -> list[Tool]:
    raise GrammarError(
        f"there is no tool {name!r} to call.",
        hint=suggestion(name, [tool.name for tool in tools]),
        param="tool_choice",
    )


def _calls(
    builder: Builder,
    tools: Sequence[Tool],
    shape: CallShape,
    parallel: bool,
    relaxed: dict[Relaxed, None],
) -> str:
    ws, sp = builder.use("ws"), builder.use("sp")
    ways = []
    for tool in tools:
        arguments = _arguments(builder, tool, shape, relaxed)
        names = [quote(f"{form},") for form in json_text(tool.name)]
        named = names[0] if len(names) == 1 else f"({' | '.join(names)})"
        ways.append(f"{named} {ws} {key(shape.arguments_key)} {sp} {arguments}")
    head = ""
    if shape.thoughts == "beside":
        head = f'{key(shape.thoughts_key)} {sp} {builder.use("string")} "," {ws} '
    either = ways[0] if len(ways) == 1 else f"({' | '.join(ways)})"
    call = builder.rule(
        "call", f'"{{" {ws} {head}{key(shape.function_key)} {sp} {either} {ws} "}}"'
    )
    if not parallel:
        return call
    following = builder.rule("next-call", f"{_BLANK} {call}")
    return f"{call} {following}{{0,{_MOST_CALLS - 1}}}"


def _arguments(builder: Builder, tool: Tool, shape: CallShape, relaxed: dict[Relaxed, None]) -> str:
    """The expression for one tool's arguments: an object, whatever else its schema says."""
    parameters = tool.parameters
    if not isinstance(parameters, dict):
        raise GrammarError(
            f"tool {tool.name!r}: its parameters must be a JSON Schema of an object, "
            f"not {parameters!r}.",
            param="tools",
        )
    # A tool that says nothing about its parameters has none.
    schema = parameters or {"type": "object", "properties": {}}
    kind = schema.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise GrammarError(
            f"tool {tool.name!r}: its parameters must be an object, not of type {kind!r}.",
            hint="Wrap the value: {'type': 'object', 'properties': {'value': …}}.",
            param="tools",
        )
    compiler = Compiler(builder, schema, f"tools/{tool.name}/parameters")
    lead = shape.thoughts_key if shape.thoughts == "inside" else None
    found = compiler.compile(tool.name, arguments=True, lead=lead)
    relaxed.update(compiler.relaxed)
    return found
