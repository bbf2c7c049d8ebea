"""What a model is asked in a benchmark, and what of its answers is right."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from llmgate.bench.result import Expected
from llmgate.types import JSONSchema, Message, Tool, ToolChoice

Language = Literal["python", "java", "javascript"]


class ExpectedCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call that has to come: `arguments` has a list of the right values for each argument.

    As in BFCL's `possible_answer`: an argument whose list holds "" may be left out, and so may
    one that has no list; the values of nested objects are lists of right values themselves.
    `types` are those of the language where that is not Python: {"sizes": "ArrayList<integer>"}.
    """

    name: str
    arguments: dict[str, list[Any]] = msgspec.field(default_factory=dict)
    types: dict[str, str] = msgspec.field(default_factory=dict)


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is right: calls, no call at all, JSON, or text.

    `calls`: all of `calls` have to come and nothing else, in their order where `ordered`.
    `no_call`: any text. `json`: a text that satisfies `schema` and, where there are any, is one
    of `values`. `text`: no call, and a text that holds one of `texts` (capitals do not matter)
    where there are any.
    """

    kind: Expected
    calls: tuple[ExpectedCall, ...] = ()
    schema: JSONSchema | None = None
    ordered: bool = False
    values: tuple[Any, ...] = ()
    texts: tuple[str, ...] = ()


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a conversation goes on behind an answer that was right.

    `results` are what the calls of that answer return, one each; `messages` come behind them.
    """

    expect: Expect
    results: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing to ask. `expect` is for the first answer, `turns` have their own.

    `schema` of a `json` expectation is sent with the request, so that the answer is held to it
    where the constraint says so. `language` is whose types the arguments are written in.
    """

    id: str
    messages: tuple[Message, ...]
    expect: Expect
    suite: str = ""
    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = ToolChoice()
    language: Language = "python"
    turns: tuple[Turn, ...] = ()
