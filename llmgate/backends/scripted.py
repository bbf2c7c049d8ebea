"""A backend that says what it is told to: for llmgate's own tests and for its users' tests."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec

from llmgate.backends.base import Completes
from llmgate.backends.stops import Stops
from llmgate.config import ModelSettings
from llmgate.errors import BackendError, BackendUnreachable, ConfigError
from llmgate.types import (
    CallDelta,
    Caps,
    ChatTemplate,
    Delta,
    Finish,
    Message,
    Prompt,
    Request,
    ToolCall,
    Usage,
)

Piece = str | Delta | Exception | asyncio.Event
Answer = str | Message | Sequence[Piece] | Exception
# The function gets the prompt; a chat's gets the request.
Script = Iterable[Answer] | Callable[[Any], Answer]


class _Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    arguments: str | dict[str, Any] = "{}"
    id: str | None = None


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer with more to it than text, in the file of a chat."""

    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[_Call, ...] = ()


_Lines = list[str | list[str] | _Said]


class _Play(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file can hold in place of a bare list of answers."""

    answers: _Lines
    template: ChatTemplate | str | None = None
    chat: bool = False


class ScriptedBackend(Completes):
    """Answers with a script: texts, lists of pieces, or exceptions to raise, in their order.

        backend = ScriptedBackend(["Hello.", ["It ", "is ", "late."], BackendTimeout("…")])

    A piece may be an exception too: it is raised at that place of the stream; an event is waited
    for there. In place of the list a function of the prompt may make each answer. Stop strings
    and `max_tokens` are honoured, words count as tokens; grammars are taken and not applied.
    `prompts` are the prompts it got, `cancelled` counts the answers whose reader went away,
    `started`, `looked_at` and `closed` the calls of `start`, `health` and `aclose`; what `sick`
    holds is raised by the first two. `template` is the chat template that its model pretends to
    have, with control tokens or as bare Jinja.

    With `caps=Caps(chat=True)` it is asked with messages: `requests` are what it got, an answer
    may be a `Message` with calls and a piece any `Delta`. Nothing in them is checked.
    """

    def __init__(
        self,
        answers: Script = (),
        *,
        caps: Caps | None = None,
        template: ChatTemplate | str | None = None,
    ) -> None:
        self._make = answers if callable(answers) else None
        self._answers = [] if callable(answers) else list(answers)
        self._caps = caps or Caps(grammar=True, tokenize=True)
        if template is not None:
            known = ChatTemplate(template) if isinstance(template, str) else template
            self._caps = msgspec.structs.replace(self._caps, template=known)
        self.name = "scripted"
        self.prompts: list[Prompt] = []
        self.requests: list[Request] = []
        self.cancelled = 0
        self.started = 0
        self.looked_at = 0
        self.closed = 0
        self.sick: BackendError | None = None

    @classmethod
    def open(cls, model: str, settings: ModelSettings) -> ScriptedBackend:
        """The script is the JSON file at the model's `path`: a list of texts or lists of pieces.

        Or an object with that list as `answers` and a chat template as `template`, or with `chat`
        set to true: then an answer may also be an object with `content`, `reasoning` and
        `tool_calls` (`name`, `arguments`, `id`). Raises `ConfigError`.
        """
        if settings.path is None:
            raise ConfigError(f"the model {model!r} needs the `path` of a JSON file of answers.")
        try:
            script = msgspec.json.decode(Path(settings.path).read_bytes(), type=_Lines | _Play)
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(
                f"the model {model!r}: {settings.path} is not a JSON list of answers: {error}."
            ) from error
        play = _Play(script) if isinstance(script, list) else script
        caps = Caps(grammar=True, tokenize=True, context=settings.context)
        if play.chat:
            caps = Caps(chat=True, context=settings.context)
        elif any(isinstance(said, _Said) for said in play.answers):
            raise ConfigError(
                f"the model {model!r}: {settings.path} has answers that are objects.",
                hint='Those need `"chat": true` beside `answers`.',
            )
        answers: list[Answer] = [
            _message(said)
            if isinstance(said, _Said)
            else list[Piece](said)
            if isinstance(said, list)
            else said
            for said in play.answers
        ]
        return cls(answers, caps=caps, template=play.template)

    @property
    def caps(self) -> Caps:
        """What it was told to pretend."""
        return self._caps

    async def start(self) -> None:
        """Nothing to do. Raises what `sick` holds."""
        self.started += 1
        if self.sick is not None:
            raise self.sick

    async def complete(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Say the next answer. Raises `BackendUnreachable` when the script is at its end."""
        self.prompts.append(prompt)
        said = self._say(self._next(prompt), prompt.text, prompt.stop, prompt.sampling.max_tokens)
        async with aclosing(said) as deltas:
            async for delta in deltas:
                yield delta

    async def chat(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Say the next answer to messages. Raises `Unsupported` where `caps.chat` is unset."""
        if not self._caps.chat:
            super().chat(request)
        self.requests.append(request)
        asked = " ".join(message.content or "" for message in request.messages)
        said = self._say(self._next(request), asked, request.stop, request.sampling.max_tokens)
        async with aclosing(said) as deltas:
            async for delta in deltas:
                yield delta

    async def _say(
        self, answer: Answer, asked: str, stop: Sequence[str], limit: int | None
    ) -> AsyncGenerator[Delta, None]:
        """An answer as a backend gives it; its last delta may be one of the script's own."""
        stops, said, cut, called = Stops(stop), 0, False, False
        last: Delta | None = None
        try:
            for piece in _pieces(answer):
                if isinstance(piece, Exception):
                    raise piece
                if isinstance(piece, asyncio.Event):
                    await piece.wait()
                    continue
                if isinstance(piece, Delta):
                    called = called or piece.call is not None
                    if piece.finish is not None:
                        last = piece
                        break
                    yield piece
                    continue
                words = _words(piece)
                if limit is not None and said + len(words) > limit:
                    words, cut = words[: limit - said], True
                said += len(words)
                if text := stops.feed("".join(words)):
                    yield Delta(text)
                if stops.found or cut:
                    break
            if text := stops.flush():
                yield Delta(text)
        except (GeneratorExit, asyncio.CancelledError):
            self.cancelled += 1
            raise
        whole: Finish = "tool_calls" if called else "stop"
        finish: Finish = "length" if cut and not stops.found else whole
        yield last or Delta(finish=finish, usage=Usage(len(_words(asked)), said))

    async def count(self, text: str) -> int:
        """The number of words."""
        return len(_words(text))

    async def health(self) -> None:
        """Well, unless `sick` holds an error to raise."""
        self.looked_at += 1
        if self.sick is not None:
            raise self.sick

    async def aclose(self) -> None:
        """Nothing to do."""
        self.closed += 1

    def _next(self, asked: Prompt | Request) -> Answer:
        if self._make is not None:
            return self._make(asked)
        if not self._answers:
            number = len(self.prompts) + len(self.requests)
            raise BackendUnreachable(f"The script has no answer number {number}.")
        return self._answers.pop(0)


def _pieces(answer: Answer) -> Sequence[Piece]:
    """The pieces of an answer; thoughts, text and calls are one each."""
    if isinstance(answer, (str, Exception)):
        return [answer]
    if not isinstance(answer, Message):
        return answer
    calls = [
        Delta(call=CallDelta(index, call.arguments, id=call.id or None, name=call.name))
        for index, call in enumerate(answer.tool_calls)
    ]
    thoughts = [Delta(reasoning=answer.reasoning)] if answer.reasoning else []
    return [*thoughts, *([answer.content] if answer.content else []), *calls]


def _message(said: _Said) -> Message:
    calls = [
        ToolCall(
            call.id or "",
            call.name,
            call.arguments
            if isinstance(call.arguments, str)
            else msgspec.json.encode(call.arguments).decode(),
        )
        for call in said.tool_calls
    ]
    return Message("assistant", said.content, tuple(calls), reasoning=said.reasoning)


def _words(text: str) -> list[str]:
    """The words of the text, each with the space before it."""
    return re.findall(r"\s*\S+|\s+", text)
