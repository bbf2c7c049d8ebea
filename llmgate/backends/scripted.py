"""A backend that says what it is told to: for llmgate's own tests and for its users' tests."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from llmgate.backends.base import Completes
from llmgate.backends.stops import Stops
from llmgate.config import ModelSettings
from llmgate.errors import BackendUnreachable, ConfigError
from llmgate.types import Caps, ChatTemplate, Delta, Finish, Prompt, Usage

Answer = str | Sequence[str | Exception] | Exception
Script = Iterable[Answer] | Callable[[Prompt], Answer]
_Lines = list[str | list[str]]


class _Play(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file can hold in place of a bare list of answers."""

    answers: _Lines
    template: ChatTemplate | str | None = None


class ScriptedBackend(Completes):
    """Answers with a script: texts, lists of pieces, or exceptions to raise, in their order.

        backend = ScriptedBackend(["Hello.", ["It ", "is ", "late."], BackendTimeout("…")])

    A piece may be an exception too: it is raised at that place of the stream. In place of
    the list a function of the prompt may make each answer. Stop strings and `max_tokens` are
    honoured, words count as tokens; grammars are taken and not applied. `prompts` are the
    prompts it got, `cancelled` counts the answers whose reader went away. `template` is the
    chat template that its model pretends to have, with control tokens or as bare Jinja.
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
        self.cancelled = 0

    @classmethod
    def open(cls, model: str, settings: ModelSettings) -> ScriptedBackend:
        """The script is the JSON file at the model's `path`: a list of texts or lists of pieces.

        Or an object with that list as `answers` and a chat template as `template`. Raises
        `ConfigError`.
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
        return cls(play.answers, caps=caps, template=play.template)

    @property
    def caps(self) -> Caps:
        """What it was told to pretend."""
        return self._caps

    async def start(self) -> None:
        """Nothing to do."""

    async def complete(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Say the next answer. Raises `BackendUnreachable` when the script is at its end."""
        self.prompts.append(prompt)
        answer = self._next(prompt)
        pieces = [answer] if isinstance(answer, (str, Exception)) else answer
        stops, said, limit = Stops(prompt.stop), 0, prompt.sampling.max_tokens
        cut = False
        try:
            for piece in pieces:
                if isinstance(piece, Exception):
                    raise piece
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
        except GeneratorExit:
            self.cancelled += 1
            raise
        finish: Finish = "length" if cut and not stops.found else "stop"
        yield Delta(finish=finish, usage=Usage(len(_words(prompt.text)), said))

    async def count(self, text: str) -> int:
        """The number of words."""
        return len(_words(text))

    async def health(self) -> None:
        """Always well."""

    async def aclose(self) -> None:
        """Nothing to do."""

    def _next(self, prompt: Prompt) -> Answer:
        if self._make is not None:
            return self._make(prompt)
        if not self._answers:
            raise BackendUnreachable(f"The script has no answer number {len(self.prompts)}.")
        return self._answers.pop(0)


def _words(text: str) -> list[str]:
    """The words of the text, each with the space before it."""
    return re.findall(r"\s*\S+|\s+", text)
