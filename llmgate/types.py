"""The values that everything passes around: frozen, typed, without behaviour of their own.

A client's body becomes a `Request`, a wrapper turns that into a `Prompt`, a backend answers
with `Delta`s, and `Completion.fold` adds those up. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
Finish = Literal["stop", "length", "tool_calls"]
JSONSchema = dict[str, Any] | bool


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something the client did not ask for, or asked for and did not get.

    `code` is stable and for programs: `repaired`, `coerced`, `dropped`, `retried`, `closed`,
    `truncated`, `ignored_parameter`, `unconstrained`, `constraint` (weaker than a grammar),
    `trimmed` (old messages left out), `estimated` (tokens were not counted exactly), `fallback`,
    `cached`. `message` is one sentence for a person.
    """

    code: str
    message: str


class ToolCall(msgspec.Struct, frozen=True):
    """One call of a tool: `arguments` is JSON text, as the model wrote it where that was valid.

    `error` says why the model's text could not be read as arguments, else it is None.
    """

    id: str
    name: str
    arguments: str
    error: str | None = None


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation. A `tool` message answers the call named by `tool_call_id`."""

    role: Role
    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    reasoning: str | None = None


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call; `parameters` is a JSON Schema of an object."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    strict: bool | None = None


class ToolChoice(msgspec.Struct, frozen=True):
    """Whether a call is forbidden, allowed or required; with `name`, required of that tool.

    `allowed` are the tools that may be called of those that the request lists, empty for all:
    the prompt is the same whichever they are, so that its cache stays warm.
    """

    mode: Literal["none", "auto", "required"] = "auto"
    name: str | None = None
    allowed: tuple[str, ...] = ()

    @property
    def forced(self) -> bool:
        """Whether the answer has to be a call."""
        return self.mode == "required"


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the next token is chosen. None leaves a choice to the model's configuration."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None

    def over(self, defaults: Sampling) -> Sampling:
        """This sampling, with `defaults` where it says nothing."""
        chosen = {f: v for f in self.__struct_fields__ if (v := getattr(self, f)) is not None}
        return msgspec.structs.replace(defaults, **chosen)


class Request(msgspec.Struct, frozen=True):
    """What a client wants, whatever dialect it spoke.

    `schema` is the JSON Schema that a text answer must satisfy (`response_format`);
    `grammar` a GBNF text of the client's own. `parallel` allows several calls in one answer; None
    leaves that to the wrapper's style of calls.
    `notes` say what of the client's body could not be honoured. `conversation` is what the client
    calls the conversation, so that its turns meet the same replica and its warm cache.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel: bool | None = None
    schema: JSONSchema | None = None
    grammar: str | None = None
    stop: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
    notes: tuple[Note, ...] = ()
    conversation: str | None = None

    def tool(self, name: str) -> Tool | None:
        """The tool of that name, if the request has one."""
        return next((tool for tool in self.tools if tool.name == name), None)


class Prompt(msgspec.Struct, frozen=True):
    """What a backend completes: rendered text, the strings that end it, and its constraint.

    `grammar` is GBNF, checked before it gets here. `prefill` is the part of the answer that
    already stands at the end of `text`: the backend does not repeat it, the reader of the
    answer puts it back.

    With `triggers` the grammar is lazy: it holds from the first place where the answer contains
    one of these strings, which is part of what it matches (`Caps.triggers`). `preserved` are
    strings that have to be seen in the answer even where they are control tokens of the model.
    `schema` is the JSON Schema of all that is still to be written, behind `prefill`: for backends
    that take schemas in place of grammars (`Caps.schema`). `slot` is a hint: prompts with the same
    one share their beginning.
    """

    text: str
    stop: tuple[str, ...] = ()
    grammar: str | None = None
    sampling: Sampling = Sampling()
    prefill: str = ""
    triggers: tuple[str, ...] = ()
    preserved: tuple[str, ...] = ()
    schema: JSONSchema | None = None
    slot: str | None = None


class Usage(msgspec.Struct, frozen=True):
    """Token counts by the model's own tokenizer; `cached` is None where nobody counted."""

    prompt: int = 0
    completion: int = 0
    cached: int | None = None

    def plus(self, other: Usage) -> Usage:
        """The sum of two generations that made one answer."""
        cached = None if self.cached is None or other.cached is None else self.cached + other.cached
        return Usage(self.prompt + other.prompt, self.completion + other.completion, cached)


class CallDelta(msgspec.Struct, frozen=True):
    """A piece of a tool call: `id` and `name` come with the first piece of each `index`."""

    index: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None


class Delta(msgspec.Struct, frozen=True):
    """A piece of an answer. A stream is complete when a delta with `finish` has come."""

    text: str = ""
    reasoning: str = ""
    call: CallDelta | None = None
    finish: Finish | None = None
    usage: Usage | None = None
    note: Note | None = None


class Completion(msgspec.Struct, frozen=True):
    """A whole answer: the sum of its deltas."""

    message: Message
    finish: Finish
    usage: Usage = Usage()
    notes: tuple[Note, ...] = ()

    @classmethod
    def fold(cls, deltas: Iterable[Delta]) -> Completion:
        """Add the deltas of one answer up. Raises ValueError if no delta carries a finish."""
        text: list[str] = []
        reasoning: list[str] = []
        calls: dict[int, list[CallDelta]] = {}
        notes: list[Note] = []
        usage = Usage()
        finish: Finish | None = None
        for delta in deltas:
            if delta.text:
                text.append(delta.text)
            if delta.reasoning:
                reasoning.append(delta.reasoning)
            if delta.call is not None:
                calls.setdefault(delta.call.index, []).append(delta.call)
            if delta.note is not None:
                notes.append(delta.note)
            if delta.usage is not None:
                usage = delta.usage
            finish = delta.finish or finish
        if finish is None:
            raise ValueError("the answer has no finish: the stream was cut off")
        message = Message(
            role="assistant",
            content="".join(text) or (None if calls else ""),
            tool_calls=tuple(
                ToolCall(
                    id=next((p.id for p in pieces if p.id), ""),
                    name=next((p.name for p in pieces if p.name), ""),
                    arguments="".join(p.arguments for p in pieces),
                )
                for _, pieces in sorted(calls.items())
            ),
            reasoning="".join(reasoning) or None,
        )
        return cls(message, finish, usage, tuple(notes))


class ChatTemplate(msgspec.Struct, frozen=True):
    """A model's own chat template, Jinja as Hugging Face writes it, and what it is told.

    `bos` and `eos` are the texts of the model's control tokens, empty where it has none.
    `tools` is the variant for requests with tools, where the model has one.
    """

    text: str
    bos: str = ""
    eos: str = ""
    tools: str | None = None


class Embeddings(msgspec.Struct, frozen=True):
    """A vector for each text, in their order; `usage.prompt` counts the tokens of all texts."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage = Usage()
    notes: tuple[Note, ...] = ()


class Caps(msgspec.Struct, frozen=True):
    """What a backend can do, as far as it is known: more of it once the backend has started.

    `context` is in tokens. `triggers`: grammars may be lazy. `template` is that of the model.
    `schema`: whole answers can be held to a JSON Schema. `chat`: it answers messages, with calls
    already read, and completes no prompts. `embed`: it makes vectors of texts. `truncates`: it
    cuts prompts that are too long without a word, so they have to be counted beforehand.
    """

    grammar: bool = False
    tokenize: bool = False
    context: int | None = None
    triggers: bool = False
    template: ChatTemplate | None = None
    schema: bool = False
    chat: bool = False
    embed: bool = False
    truncates: bool = False
