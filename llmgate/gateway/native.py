"""Answers of backends that are asked with messages, checked as those that wrappers read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import msgspec

from llmgate.backends import Backend
from llmgate.errors import ContextOverflow, RequestError
from llmgate.gateway.budget import cuts
from llmgate.gateway.checks import STYLE, Checks
from llmgate.types import Delta, Message, Note, Prompt, Request
from llmgate.wrappers import Options, Spec
from llmgate.wrappers.answers import Task
from llmgate.wrappers.conversation import mended
from llmgate.wrappers.tools import Compiler, offered, only


class Native:
    """Asks backends with messages, and checks what they answer. Keeps compiled tools by content."""

    def __init__(self) -> None:
        spec = Spec(description="calls that the server reads")
        self._compiler = Compiler(spec, STYLE, Options(), ())

    def task(self, request: Request) -> Task:
        """What the answer has to be. Raises `RequestError` for tools and schemas that are none."""
        calls, schema = bool(offered(request)), request.schema
        return Task(
            style=STYLE,
            tools=self._compiler.toolset(request) if calls else None,
            only=only(request) if calls else (),
            must_call=calls and request.tool_choice.forced,
            parallel=request.parallel is not False,
            checker=None if schema is None else self._compiler.checker(schema),
        )

    async def answer(
        self,
        backend: Backend,
        request: Request,
        observer: Callable[[Prompt, str], None] | None = None,
        *,
        shorten: bool = False,
    ) -> AsyncGenerator[Delta, None]:
        """One answer. With `shorten` the oldest turns go where the server says it is too long.

        Raises `RequestError` for what such a backend can't be asked, `OutputError` for an answer
        that can't be used, and what the backend raises.
        """
        if request.grammar is not None:
            raise RequestError("this model's backend can't be held by a grammar.", param="grammar")
        places, without = cuts(request.messages), 0
        while True:
            asked = prepared(request, places, without)
            checks = Checks(self.task(request))
            begun = False
            try:
                async with aclosing(backend.chat(asked)) as deltas:
                    async for delta in deltas:
                        for checked in checks.feed(delta):
                            begun = True
                            yield checked
                break
            except ContextOverflow:
                if begun or not shorten or without >= len(places) - 1:
                    raise
                # The server counts, not we: each time it is asked with half of the turns.
                without = max(without + 1, (without + len(places)) // 2)
            finally:
                if observer is not None and checks.written:
                    observer(_shown(asked), checks.written)
        if without:
            count = places[without] - places[0]
            message = f"the {count} oldest messages were left out to fit the model's context"
            yield Delta(note=Note("trimmed", message))
        for checked in checks.end():
            yield checked


def prepared(request: Request, places: Sequence[int] = (), without: int = 0) -> Request:
    """The request with its old calls mended and each result named after its call.

    Servers fail on a history with broken arguments. The messages between the first of `places`
    and the one of number `without` are left out.
    """
    messages = request.messages
    if without:
        messages = (*messages[: places[0]], *messages[places[without] :])
    settled: list[Message] = []
    unanswered: list[tuple[str, str]] = []
    for message in messages:
        if message.tool_calls:
            calls = tuple(mended(message.tool_calls))
            unanswered = [(call.id, call.name) for call in calls]
            message = msgspec.structs.replace(message, tool_calls=calls)
        elif message.role == "tool":
            id_ = message.tool_call_id
            if id_ is None:
                id_ = next((i for i, name in unanswered if message.name in (None, name)), None)
                message = msgspec.structs.replace(message, tool_call_id=id_)
            unanswered = [call for call in unanswered if call[0] != id_]
        settled.append(message)
    return msgspec.structs.replace(request, messages=tuple(settled))


def _shown(request: Request) -> Prompt:
    """What stands for the prompt where there is none: the messages, as JSON."""
    text = msgspec.json.encode(request.messages).decode()
    return Prompt(text, stop=request.stop, sampling=request.sampling)
