"""What a terminal chat remembers and does, apart from the terminal."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from llmgate.config import Settings, with_facts
from llmgate.errors import ConfigError, ContextOverflow, UnknownName
from llmgate.gateway import Gateway
from llmgate.types import Completion, Delta, Message, Note, Prompt, Request
from llmgate.wrappers import names, open_wrapper


class Chat:
    """A conversation with one of the configured models; a turn that fails leaves no trace."""

    def __init__(self, settings: Settings, system: str | None = None) -> None:
        """Raises `ConfigError` for settings that can't be used."""
        self.gateway = Gateway.open(settings)
        self.model = next(iter(self.gateway.routes), "")
        if not self.model:
            raise ConfigError("all models have patterns for names: there is none to begin with.")
        self._settings = settings
        self._head = (Message("system", system),) if system else ()
        self._turns: list[Message] = []
        self._last: tuple[Prompt, str] | None = None

    @property
    def last_exchange(self) -> tuple[Prompt, str] | None:
        """The prompt of the last turn and the model's raw text."""
        return self._last

    @property
    def wrapper(self) -> str:
        """The name of the wrapper in use."""
        return self.gateway.route(self.model).wrapper.name

    @property
    def wrappers(self) -> list[str]:
        """The names of the templates that there are."""
        return names(self._settings.user_folder)

    def use_model(self, name: str) -> None:
        """Talk to another configured model. Raises `UnknownName`."""
        if name not in self.gateway.routes:
            raise UnknownName("model", name, self.gateway.routes)
        self.model = name

    def use_wrapper(self, name: str) -> None:
        """Write prompts in another format from now on. Raises `UnknownName`."""
        # Options belong to the wrapper that they were chosen for: the new one has its own.
        chosen = self._settings.models[self.model]
        chosen = with_facts(msgspec.structs.replace(chosen, wrapper=name, options={}))
        wrapper = open_wrapper(chosen.wrapper, chosen.options, self._settings.user_folder)
        self.gateway.use_wrapper(self.model, wrapper)

    def forget(self) -> None:
        """Begin a new conversation."""
        self._turns.clear()

    async def say(self, text: str) -> AsyncGenerator[Delta, None]:
        """The answer to `text`, as it comes. Raises what `Gateway.stream` raises.

        Where the conversation no longer fits the model's context, its oldest turns are left
        out and a note says so. What an interrupted answer said stays in the conversation.
        """
        turns = [*self._turns, Message("user", text)]
        deltas: list[Delta] = []
        left_out = 0
        try:
            while True:
                request = Request(model=self.model, messages=(*self._head, *turns[left_out:]))
                try:
                    async with aclosing(self.gateway.stream(request, self._observe)) as stream:
                        async for delta in stream:
                            deltas.append(delta)
                            yield delta
                    break
                except ContextOverflow:
                    if left_out + 2 >= len(turns):
                        raise
                    left_out += 2
            if left_out:
                yield Delta(note=Note("left_out", f"the oldest {left_out} messages did not fit"))
        finally:
            if answer := "".join(delta.text for delta in deltas):
                self._turns = [*turns[left_out:], Message("assistant", answer)]

    def _observe(self, prompt: Prompt, text: str) -> None:
        self._last = (prompt, text)


def summary(deltas: list[Delta]) -> str:
    """One line about an answer: tokens, the cached share of the prompt, notes."""
    if not any(delta.finish for delta in deltas):
        return "interrupted"
    completion = Completion.fold(deltas)
    usage = completion.usage
    cached = f", {usage.cached} cached" if usage.cached else ""
    parts = [f"{usage.prompt} tokens in{cached}", f"{usage.completion} out"]
    if completion.finish == "length":
        parts.append("cut off by the token limit")
    parts += [f"{note.code}: {note.message}" for note in completion.notes]
    return " · ".join(parts)
