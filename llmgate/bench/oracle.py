"""Models that know the cases, to check the benchmark itself: what they score is known beforehand.

They read the prompt as a model would: they have to find the question in it, and the names of the
functions and arguments that they use. So a wrapper that loses any of these is found out. They
answer in the wrapper's own style of calls, which is what its grammars allow.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from llmgate import grammar
from llmgate.backends.scripted import ScriptedBackend
from llmgate.bench.cases import Case, Expect, ExpectedCall, Language
from llmgate.types import Caps, ChatTemplate, Message, Prompt, Request, Tool, ToolCall
from llmgate.wrappers import Wrapper
from llmgate.wrappers.kinds import resolved
from llmgate.wrappers.writing import write_calls

_ANSWER = "Gladly. There is nothing to look up for that."
_LOST = "I don't know what this is about."
_THOUGHTS = "This is what was asked for."
_CONVERSATION = re.compile(r"Conversation [0-9a-f]{8}\.")
_MAX_DEPTH = 8
_INVENTED: dict[str, Any] = {
    "string": "zq",
    "number": 1.5,
    "integer": 1,
    "boolean": False,
    "null": None,
}


class Said(msgspec.Struct, frozen=True):
    """An answer: calls, or a text."""

    calls: tuple[ToolCall, ...] = ()
    text: str = ""


class Oracle:
    """Gives the right answer with the probability `skill`, and else guesses.

    A guess is one of the tools or none of them, each as likely: where that is the right one, so
    is all the rest of the answer, and else the arguments are made up. Which it is depends on
    `seed` and the conversation, so that the same conversation always goes the same way.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        wrapper: Wrapper | None = None,
        *,
        skill: float = 1.0,
        seed: int = 0,
    ) -> None:
        """`wrapper` is whose prompts are read; without one it is asked with messages."""
        self._cases = [(case, _questions(case)) for case in cases]
        self._wrapper = wrapper
        self._skill = skill
        self._seed = seed

    def backend(self, template: ChatTemplate | str | None = None) -> ScriptedBackend:
        """A backend with this model; `template` is the chat template that it has."""
        chat = self._wrapper is None
        caps = Caps(chat=True) if chat else Caps(grammar=True, tokenize=True, schema=True)
        return ScriptedBackend(self.answer, caps=caps, template=template)

    def answer(self, asked: Prompt | Request) -> str | Message:
        """What it says to a prompt, or to the messages of a request."""
        if isinstance(asked, Request):
            said = self._said(_text(asked))
            return Message("assistant", said.text, said.calls)
        said = self._said(asked.text)
        return self._going_on(asked.prefill, self._written(said, asked))

    def _going_on(self, prefill: str, text: str) -> str:
        """What is still to be written of an answer; thoughts that the prompt begins are ended."""
        assert self._wrapper is not None
        for begin, end in self._wrapper.reasoning:
            if prefill.strip().startswith(begin.strip()):
                _, ended, prefill = prefill.rpartition(end.strip())
                return behind(prefill, text) if ended else _THOUGHTS + end + text
        return behind(prefill, text)

    def _said(self, text: str) -> Said:
        found = self._recognised(text)
        if found is None:
            return Said(text=_LOST)
        case, turn = found
        expect = case.expect if turn == 0 else case.turns[turn - 1].expect
        conversation = _CONVERSATION.search(text)
        where = conversation[0] if conversation else text
        dice = random.Random(f"{self._seed} {case.suite} {case.id} {turn} {where}")
        said = right_answer(expect, case.tools, case.language)
        if dice.random() >= self._skill:
            said = _guessed(case, expect, dice)
        # What is not in the prompt it can't know. A request has its tools beside the messages.
        if self._wrapper is not None and not all(_shown(call, text) for call in said.calls):
            return Said(text=_LOST)
        return said

    def _recognised(self, text: str) -> tuple[Case, int] | None:
        """The case and the turn that a prompt is about: whose questions are in it, in order."""
        best: tuple[int, Case, int] | None = None
        for case, questions in self._cases:
            at, turn, length = 0, -1, 0
            for question in questions:
                found = text.find(question, at)
                if found < 0:
                    break
                at, turn, length = found + len(question), turn + 1, length + len(question)
            named = all(tool.name in text for tool in case.tools) if turn >= 0 else False
            # Of questions that hold one another, the longest; of the same ones, that with tools.
            rank = 2 * length + named
            if turn >= 0 and (best is None or rank > best[0]):
                best = rank, case, turn
        return None if best is None else (best[1], best[2])

    def _written(self, said: Said, prompt: Prompt) -> str:
        wrapper = self._wrapper
        assert wrapper is not None
        if not said.calls:
            return _framed(said.text, wrapper, prompt)
        schemas = {
            tool.name: tool.parameters for case, _ in self._cases for tool in case.tools
            if tool.name in {call.name for call in said.calls}
        }  # fmt: skip
        return write_calls(
            wrapper.style,
            said.calls,
            schemas,
            thoughts=_THOUGHTS,
            thoughts_key=wrapper.spec.thoughts_key,
            place=wrapper.options.inner_thoughts,
            indent=wrapper.options.indent,
        )


def chance(case: Case, skill: float = 0.0) -> float:
    """How likely it is that an `Oracle` of that skill gets all turns of a case right."""
    guess = 1 / (1 + len(case.tools))
    turns = (case.expect, *(turn.expect for turn in case.turns))
    lucky = [guess if len({call.name for call in turn.calls}) < 2 else 0.0 for turn in turns]
    return math.prod(skill + (1 - skill) * luck for luck in lucky)


def right_answer(expect: Expect, tools: Sequence[Tool], language: Language = "python") -> Said:
    """The first of the right answers."""
    if expect.kind == "calls":
        schemas = {tool.name: tool.parameters for tool in tools}
        calls = [_right_call(call, schemas.get(call.name, {}), language) for call in expect.calls]
        return Said(tuple(calls))
    if expect.kind == "json":
        value = expect.values[0] if expect.values else fitting(expect.schema)
        return Said(text=json.dumps(value, ensure_ascii=False))
    return Said(text=expect.texts[0] if expect.texts else _ANSWER)


def fitting(schema: Any) -> Any:
    """A small value that fits a plain schema; lengths and patterns of texts are not looked at."""
    return _fitting(schema, schema if isinstance(schema, Mapping) else {}, 0)


def behind(prefill: str, text: str) -> str:
    """What of a text is still to be written behind what the prompt began of it.

    Where white space differs it does not count. A text that does not begin so comes back whole.
    """
    at = 0
    for char in prefill:
        if char.isspace():
            continue
        while at < len(text) and text[at].isspace():
            at += 1
        if at == len(text) or text[at] != char:
            return text
        at += 1
    return text[at:]


def _framed(text: str, wrapper: Wrapper, prompt: Prompt) -> str:
    """Words in the marks that a style has for them, where a grammar wants those."""
    if prompt.grammar is None:
        return text
    framed = [begin + text + end for begin, end in (("", ""), *wrapper.style.frames)]
    return next((each for each in framed if grammar.matches(prompt.grammar, each)), text)


def _questions(case: Case) -> list[str]:
    """The last thing the user says in each turn, by which a case is recognised."""
    found = []
    for messages in (case.messages, *(turn.messages for turn in case.turns)):
        said = [message.content for message in messages if message.role == "user"]
        found.append((said[-1] if said else None) or "")
    return [question.strip() for question in found]


def _text(request: Request) -> str:
    told = [message.content or "" for message in request.messages]
    return "\n".join([*told, *(tool.name for tool in request.tools)])


def _shown(call: ToolCall, text: str) -> bool:
    """Whether a function and the names of its arguments are in a prompt."""
    return all(name in text for name in (call.name, *json.loads(call.arguments)))


def _right_call(call: ExpectedCall, schema: Mapping[str, Any], language: Language) -> ToolCall:
    required = schema.get("required", ())
    arguments: dict[str, Any] = {}
    for key, answers in call.arguments.items():
        value = _spelt(answers[0]) if answers else ""
        if value == "" and key not in required:
            continue
        if language != "python" and not isinstance(value, str):
            value = json.dumps(value, ensure_ascii=False)
        arguments[key] = value
    return _call(call.name, arguments)


def _spelt(answer: Any) -> Any:
    """A value of an answer, in which the values of objects are lists of right ones."""
    if isinstance(answer, list):
        return [_spelt(item) for item in answer]
    if not isinstance(answer, dict) or not all(isinstance(v, list) for v in answer.values()):
        return answer
    return {key: _spelt(some[0]) for key, some in answer.items() if some and some[0] != ""}


def _guessed(case: Case, expect: Expect, dice: random.Random) -> Said:
    """A tool, or none."""
    number = dice.randrange(len(case.tools) + 1)
    if number == len(case.tools):
        return Said(text=_ANSWER) if expect.calls else right_answer(expect, case.tools)
    tool = case.tools[number]
    if {call.name for call in expect.calls} == {tool.name}:
        return right_answer(expect, case.tools, case.language)
    return Said((_call(tool.name, fitting(tool.parameters)),))


def _call(name: str, arguments: Any) -> ToolCall:
    return ToolCall("call0", name, json.dumps(arguments, ensure_ascii=False))


def _fitting(schema: Any, root: Mapping[str, Any], depth: int) -> Any:
    schema = resolved(schema, root)
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return "zq"
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return _fitting(schema[name][0], root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        known = schema.get("properties", {})
        return {
            key: _fitting(known.get(key, True), root, depth + 1)
            for key in schema.get("required", ())
        }
    if kind == "array":
        item = schema.get("items", True)
        return [_fitting(item, root, depth + 1) for _ in range(schema.get("minItems", 0))]
    return schema.get("minimum", _INVENTED.get(kind))
