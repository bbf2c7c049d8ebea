"""Writes conversations by a model's own chat template, whatever that has a place for.

What a template can't show is brought into a form that it can: a system text goes into the first
user turn, several calls into turns of their own, calls and results are written as words. If it
still refuses a conversation or fails on it, simpler forms are tried, down to plain turns of user
and assistant.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from llmgate.errors import ConfigError, RequestError
from llmgate.styles import Style
from llmgate.types import ChatTemplate, Message, Tool, ToolCall
from llmgate.wrappers.abilities import (
    Abilities,
    Prober,
    View,
    call,
    calling,
    identifier,
    listing,
    standard,
    variables,
)
from llmgate.wrappers.conversation import arguments_text, mended
from llmgate.wrappers.environment import ModelTemplate
from llmgate.wrappers.functions import THOUGHTS
from llmgate.wrappers.memory import Memory
from llmgate.wrappers.parts import Marks
from llmgate.wrappers.spec import Thoughts
from llmgate.wrappers.toolviews import Detail, tool_views
from llmgate.wrappers.writing import write_calls


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How the parts of a conversation that no template shows by itself are written.

    style: of calls that are written as words: those that the template has no place for, and all
        of them where they are not to be its own way (`native`).
    place: where thoughts stand that a message with calls has as its content: with `inside` they
        are the first argument, under `thoughts_key`.
    appendix: what goes to the end of the system text.
    """

    style: Style
    native: bool = True
    appendix: str = ""
    place: Thoughts = "off"
    thoughts_key: str = "inner_thoughts"


class ChatTemplateRenderer:
    """Renders by a model's template. What that can show is found out once, when it is made."""

    def __init__(self, template: ChatTemplate) -> None:
        """Raises `ConfigError` for a template that can't be used at all."""
        self.template = template
        self._words: tuple[Form | None, Memory[str]] = None, Memory()
        self._plain = _Variant(template.text, template.bos, template.eos)
        self._tools = self._plain
        if template.tools is not None and template.tools != template.text:
            self._tools = _Variant(template.tools, template.bos, template.eos)

    @property
    def abilities(self) -> Abilities:
        """What the template can show of a conversation with tools."""
        return self._tools.abilities

    @property
    def prober(self) -> Prober:
        """What asks the template for conversations with tools."""
        return self._tools.prober

    @property
    def lists_tools(self) -> bool:
        """Whether it lists tools itself."""
        return bool(self.abilities.tools)

    def source(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> str:
        """The text of the template for such a conversation."""
        return self._variant(messages, tools).source

    def _words_of(self, form: Form) -> Memory[str]:
        """What was written as words in this form, which for one wrapper is always the same."""
        same = msgspec.structs.replace(form, appendix="")
        if self._words[0] != same:
            self._words = same, Memory()
        return self._words[1]

    def _variant(self, messages: Sequence[Message], tools: Sequence[Tool]) -> _Variant:
        if self._tools is self._plain or tools:
            return self._tools
        calls = any(message.tool_calls or message.role == "tool" for message in messages)
        return self._tools if calls else self._plain

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        *,
        form: Form,
        template_args: Mapping[str, Any] | None = None,
        marks: Marks | None = None,
    ) -> str:
        """The prompt, up to where the answer begins. It starts with BOS if the template says so.

        Raises `RequestError` for a conversation that the template refuses in every form, and
        `ConfigError` for a template that fails.
        """
        variant = self._variant(messages, tools)
        words = self._words_of(form)
        failure: RequestError | ConfigError | None = None
        tried: list[object] = []
        best = variant.abilities
        if not form.native:
            best = msgspec.structs.replace(best, calls=False, results=False)
        for able, detail in _attempts(best):
            writer = _Writer(able, tools, form, words)
            given = variant.listed(tool_views(tools, detail, *writer.inner))
            shown = (writer.views(messages), given)
            if shown in tried:
                continue
            tried.append(shown)
            try:
                return variant.render(shown[0], {**given, **(template_args or {})}, marks)
            except RequestError as error:
                failure = failure if isinstance(failure, RequestError) else error
            except ConfigError as error:
                failure = failure or error
        assert failure is not None
        raise failure


class _Variant:
    """One template text: a model may have a second one for conversations with tools."""

    def __init__(self, text: str, bos: str, eos: str) -> None:
        self._template = ModelTemplate(text)
        self._tokens = {"bos_token": bos, "eos_token": eos}
        self.prober = Prober(self._template, bos, eos)
        self.abilities = self.prober.abilities()

    @property
    def source(self) -> str:
        return self._template.text

    def listed(self, tools: Sequence[View]) -> dict[str, Any]:
        name = self.abilities.tools
        return listing(name, self.abilities.tools_as_text, tools) if tools and name else {}

    def render(
        self, messages: list[View], given: Mapping[str, Any], marks: Marks | None = None
    ) -> str:
        return self._template.render(
            {
                **standard(self._tokens, messages),
                "add_generation_prompt": True,
                **variables(self.abilities.variables),
                **given,
            },
            marks,
        )


def _attempts(able: Abilities) -> Iterator[tuple[Abilities, Detail]]:
    """In what forms a conversation is tried, the best one first."""
    replace = msgspec.structs.replace
    plain = replace(able, calls=False, results=False, alternating=True, late_system=False)
    yield able, "given"
    yield able, "completed"
    yield able, "simple"
    silent = replace(able, reasoning="")
    yield silent, "given"
    yield replace(silent, alternating=True, late_system=False), "given"
    yield replace(plain, reasoning=""), "given"
    yield replace(plain, reasoning=""), "simple"
    yield replace(plain, reasoning="", system=False), "simple"


class _Writer:
    """Messages as a template's own kind of dicts, for one conversation."""

    def __init__(
        self, able: Abilities, tools: Sequence[Tool], form: Form, words: Memory[str]
    ) -> None:
        """`words` keeps calls that were written as words, in this style, for this form."""
        self._able = able
        self._form = form
        self._tools = tools
        self._words = words
        self._schemas = {tool.name: tool.parameters for tool in tools}
        self._own = {
            tool.name
            for tool in tools
            if form.thoughts_key in tool.parameters.get("properties", {})
        }
        self._count = 0
        self._ids: dict[str, tuple[str, str]] = {}  # a call's id: the one shown, and its function

    @property
    def inner(self) -> tuple[str, str] | tuple[()]:
        """The parameter for thoughts that every tool gets, and its description."""
        inside = self._form.place == "inside"
        return (self._form.thoughts_key, THOUGHTS) if inside else ()

    def views(self, messages: Sequence[Message]) -> list[View]:
        heads = 0
        while heads < len(messages) and messages[heads].role == "system":
            heads += 1
        texts = [message.content or "" for message in messages[:heads]] + [self._form.appendix]
        head = "\n\n".join(text for text in texts if text)
        shown = [view for turn in self._turns(messages[heads:]) for view in turn]
        if not head and self._able.tools_need_system and self._schemas:
            head = "Use the tools where they help."
        lonely = not self._able.system_alone and all(view["role"] != "user" for view in shown)
        if head and self._able.system and not lonely:
            shown.insert(0, {"role": "system", "content": head})
        elif head:
            _put_before(shown, head)
        return _alternating(shown) if self._able.alternating else shown

    def _turns(self, messages: Sequence[Message]) -> Iterator[list[View]]:
        index, called = 0, False
        while index < len(messages):
            message = messages[index]
            index += 1
            called = bool(message.tool_calls) or (called and message.role == "tool")
            if message.role == "assistant" and message.tool_calls and self._able.calls:
                end = index
                while end < len(messages) and messages[end].role == "tool":
                    end += 1
                yield self._calls(message, messages[index:end])
                index, called = end, False
            elif message.role == "assistant":
                yield [self._answer(message)]
            elif message.role == "tool":
                yield [self._result(message, called=called)]
            elif message.role == "system" and self._able.late_system:
                yield [{"role": "system", "content": message.content or ""}]
            else:
                yield [_named({"role": "user", "content": message.content or ""}, message)]

    def _answer(self, message: Message) -> View:
        """A turn of the assistant in words, in which any calls are words too."""
        content = message.content or ""
        if message.tool_calls:
            form = self._form
            apart = form.place == "off"
            for made in message.tool_calls:
                self._shown_id(made)
            (calls,) = self._words.of((message,), self._tools, self._written)
            content = f"{content}\n{calls}" if apart and content else calls
        return self._thinking({"role": "assistant", "content": content}, message)

    def _written(self, message: Message) -> str:
        """The calls of a message as words."""
        form = self._form
        return write_calls(
            form.style,
            mended(message.tool_calls),
            self._schemas,
            thoughts="" if form.place == "off" else message.content or "",
            thoughts_key=form.thoughts_key,
            place=form.place,
        )

    def _calls(self, message: Message, results: Sequence[Message]) -> list[View]:
        """A turn with calls and the results behind it."""
        content, shown = message.content or "", list[View]()
        calls = [self._call(c, "" if n else content) for n, c in enumerate(message.tool_calls)]
        if self._form.place == "inside" and message.tool_calls[0].name not in self._own:
            content = ""
        if content and not self._able.mixed and not self._able.alternating:
            shown.append({"role": "assistant", "content": content})
            content = ""
        left = list(results)
        groups = [[c] for c in calls] if not self._able.parallel else [calls]
        for number, group in enumerate(groups):
            words = content if number == 0 else ""
            turn = calling(group, words or (None if self._able.null_content else ""))
            shown.append(self._thinking(turn, message) if number == 0 else turn)
            last = number == len(groups) - 1
            for result in list(left):
                if last or self._shown_of(result)[0] == group[0]["id"]:
                    left.remove(result)
                    shown.append(self._result(result))
        return shown

    def _call(self, made: ToolCall, thoughts: str) -> View:
        text = arguments_text(made.arguments)
        if self._form.place == "inside" and made.name not in self._own:
            text = _with_first(text, self._form.thoughts_key, thoughts)
        arguments = text if self._able.text_arguments else json.loads(text)
        return call(self._shown_id(made), made.name, arguments)

    def _shown_id(self, made: ToolCall) -> str:
        given = made.id or f"call_{self._count}"
        shown = identifier(self._able.ids, given, made.name, self._count)
        self._count += 1
        self._ids[given] = (shown, made.name)
        return shown

    def _shown_of(self, result: Message) -> tuple[str, str]:
        """The identifier and the function of the call that a result belongs to."""
        given = result.tool_call_id or ""
        if given in self._ids:
            return self._ids[given]
        name = result.name or "unknown"
        return identifier(self._able.ids, given or "call_0", name, self._count), name

    def _result(self, message: Message, *, called: bool = True) -> View:
        """A result; one that does not follow on a call is more than most templates can show."""
        identifier_, name = self._shown_of(message)
        content = message.content or ""
        if not self._able.results or not called:
            return {"role": "user", "content": f"FUNCTION RETURN ({name}):\n{content}"}
        name = message.name or name
        return {"role": "tool", "content": content, "tool_call_id": identifier_, "name": name}

    def _thinking(self, view: View, message: Message) -> View:
        if self._able.reasoning and message.reasoning:
            view = {**view, self._able.reasoning: message.reasoning}
        return _named(view, message)


def _with_first(text: str, key: str, value: str) -> str:
    """The text of an object with one more member before the others."""
    first = f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
    rest = text[1:].lstrip()
    return f"{{{first}{rest}" if rest == "}" else f"{{{first}, {rest}"


def _named(view: View, message: Message) -> View:
    return {**view, "name": message.name} if message.name else view


def _put_before(shown: list[View], text: str) -> None:
    """Put a system text into the first user turn, which is made if there is none."""
    for index, view in enumerate(shown):
        if view["role"] == "user":
            content = f"{text}\n\n{view['content']}" if view["content"] else text
            shown[index] = {**view, "content": content}
            return
        if view["role"] == "assistant":
            shown.insert(index, {"role": "user", "content": text})
            return
    shown.append({"role": "user", "content": text})


def _alternating(shown: Sequence[View]) -> list[View]:
    """The turns with those of one role joined, and a user's turn at the beginning."""
    joined: list[View] = []
    for view in shown:
        last = joined[-1] if joined else {"role": ""}
        plain = "tool_calls" not in view and "tool_calls" not in last
        if view["role"] == last["role"] and view["role"] != "tool" and plain:
            both = (text for text in (last["content"], view["content"]) if text)
            joined[-1] = {**last, **view, "content": "\n\n".join(both)}
            continue
        if view["role"] == "assistant" and last["role"] in ("", "system"):
            joined.append({"role": "user", "content": ""})
        if view["role"] == "user" and last["role"] == "tool":
            # The answer to a result never came.
            joined.append({"role": "assistant", "content": "…"})
        joined.append(view)
    return joined
