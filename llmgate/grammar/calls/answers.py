"""Tool lists → GBNF: the answer is a call, several calls, or a call or something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from llmgate.errors import GrammarError, suggestion
from llmgate.grammar.builder import Builder
from llmgate.grammar.calls.heads import Calls
from llmgate.grammar.calls.remainder import continue_after
from llmgate.grammar.calls.surroundings import Surroundings
from llmgate.grammar.schema.compiler import Compiler
from llmgate.grammar.values import Grammar, Relaxed
from llmgate.styles import Pair, Style
from llmgate.types import JSONSchema, Tool


def compile_calls(
    tools: Sequence[Tool],
    style: Style,
    *,
    thoughts: Literal["off", "inside", "beside"] = "off",
    thoughts_key: str = "inner_thoughts",
    name: str | None = None,
    required: bool,
    parallel: bool = False,
    schema: JSONSchema | None = None,
    prefill: str = "",
    reasoning: tuple[Pair, ...] = (),
    lazy: bool = False,
    opened: str = "",
) -> Grammar:
    """The GBNF of the answers that a model with these tools may give in a style.

    With `required` that is a call (of the tool `name`, if given), with `parallel` up to 16 of
    them. Without it, it may also be an answer: JSON that satisfies `schema`, or where there is
    none, text in which calls may begin where the style's mark stands; from there on it has to
    be one. With `lazy` the grammar holds only from that mark on.

    thoughts: `inside`: the string `thoughts_key` comes first among the arguments (unless the
        tool has a parameter of that name); `beside`: first in the call's object, or where there
        is none, as words on lines before the calls, which may be left out. Thoughts before the
        name are bounded: 500 characters in an object, 600 as words.
    reasoning: marks around thoughts at the beginning of the answer, which may be left out. Where
        words are allowed, `<think>` counts too, since any model may write it.
    opened: the prompt ends inside thoughts which this mark ends, or inside the frame that it
        begins or ends.
    prefill: the part of the answer that is written already; the grammar is for what follows.

    Raises `GrammarError` for unusable tools, naming the tool, and ValueError for a prefill
    that no answer begins with.
    """
    _distinct(tools)
    if name is not None:
        tools = [tool for tool in tools if tool.name == name] or _unknown(name, tools)
    if (required or lazy) and not tools:
        raise GrammarError("a tool call is required, but the request has no tools.", param="tools")
    builder = Builder()
    relaxed: dict[Relaxed, None] = {}
    calls = None
    if tools:
        calls = Calls(builder, tools, style, thoughts, thoughts_key, parallel)
        relaxed.update(calls.relaxed)
    names = [tool.name for tool in tools]
    around = Surroundings(builder, style, calls, names, reasoning, opened)
    if lazy:
        body = around.lazy()
    elif required:
        body = around.required(thoughts)
    elif schema is not None:
        compiler = Compiler(builder, schema, "schema")
        body = around.valued(compiler.compile("answer"))
        relaxed.update(compiler.relaxed)
    else:
        body = around.free()
    builder.define(builder.root, body)
    if prefill:
        continue_after(prefill, builder)
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
