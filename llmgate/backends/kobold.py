"""KoboldCpp, over its `POST /api/extra/generate/stream`.

API: https://lite.koboldai.net/koboldcpp_api and koboldcpp.py in
https://github.com/LostRuins/koboldcpp
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from llmgate.backends.fields import count_in, piece_in, string_in
from llmgate.backends.http import HTTPBackend
from llmgate.backends.llamacpp_json import template_of
from llmgate.backends.room import fitted
from llmgate.errors import BackendError, BackendUnreachable
from llmgate.types import Caps, Delta, Finish, Note, Prompt, Usage

# What it calls the model while there is none.
_NO_MODEL = "inactive"
_PERF_SECONDS = 2.0
# Texts of 50,000 tokens or more are counted as 0; no text of so many characters has as many.
_COUNTED = 12_000
_SEEDS = 2**31 - 2
# Control tokens that end answers, and are shown like all others where those are asked for.
_ENDS = (
    "</s>",
    "<eos>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|return|>",
    "<end_of_turn>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
)
# `stop_reason` of `/api/extra/perf` after an end of the model's own, and after a stop string.
_STOPPED = (1, 2)


class KoboldBackend(HTTPBackend):
    """Completes prompts with a running KoboldCpp.

    It cuts prompts that are too long from the front, and all the more the longer the answer may
    be: so `max_length` is kept to what the prompt leaves. It reports `length` where one of our
    stop strings ended an answer: so they are left in its text, and found by ourselves.
    """

    kind = "KoboldCpp"
    example = "http://127.0.0.1:5001"
    path = "/api/extra/generate/stream"
    known = Caps(grammar=True, tokenize=True, truncates=True)

    def body_of(self, prompt: Prompt) -> dict[str, Any]:
        """The body of a request to `/api/extra/generate/stream`."""
        return {**body_of(prompt, self.caps.context), **self.settings.extra}

    def reader(self, prompt: Prompt) -> AnswerReader:
        """A reader of the events of one answer."""
        ends = [end for end in _ENDS if end not in prompt.preserved] if prompt.preserved else []
        return AnswerReader(self.server.url, ends)

    def notes(self, prompt: Prompt) -> list[Note]:
        """`frequency_penalty`: it would be taken for `presence_penalty`."""
        if prompt.sampling.frequency_penalty is None:
            return []
        return [Note("ignored_parameter", "KoboldCpp has no frequency_penalty.")]

    async def complete(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Complete the prompt. See `Backend.complete`."""
        await self.prepare()
        prompt = await fitted(prompt, self.caps.context, self.count)
        seed = prompt.sampling.seed
        # Ours in any case: it tells this answer from others in what the server says of its last.
        seed = secrets.randbelow(_SEEDS) + 1 if seed is None else seed % _SEEDS + 1
        sampling = msgspec.structs.replace(prompt.sampling, seed=seed)
        prompt = msgspec.structs.replace(prompt, sampling=sampling)
        async with aclosing(super().complete(prompt)) as deltas:
            async for delta in deltas:
                yield delta if delta.finish is None else await self._counted(delta, seed)

    async def learn(self) -> Caps:
        """Context and template. The context in its settings page may be less than the real one."""
        told = await self.server.ask_if_allowed("GET", "/api/extra/true_max_context_length")
        props = await self.server.ask_if_allowed("GET", "/props")
        sizes = [size for size in (self.settings.context, count_in(told, "value")) if size]
        return msgspec.structs.replace(
            self.caps, context=min(sizes, default=None), template=template_of(props)
        )

    async def count(self, text: str) -> int:
        """The number of tokens of `text`, by the server's tokenizer."""
        if not text:
            return 0
        if tokens := await self._tokens(text):
            return tokens
        pieces = [text[at : at + _COUNTED] for at in range(0, len(text), _COUNTED)]
        return sum([await self._tokens(piece) for piece in pieces])

    async def models(self) -> tuple[str, ...]:
        """The one model that it has loaded."""
        return tuple(name for name in await super().models() if not name.endswith(_NO_MODEL))

    async def health(self) -> None:
        """Return if the server is up and has a model. Raises `BackendError`s."""
        reply = await self.server.ask("GET", "/api/v1/model")
        if (string_in(reply, "result") or "").endswith(_NO_MODEL):
            raise BackendUnreachable(f"KoboldCpp at {self.server.url} has no model loaded.")

    def abandoned(self, body: dict[str, Any]) -> Coroutine[Any, Any, None] | None:
        """Older versions notice a closed connection only with the next piece they send."""
        return self._abort(body.get("genkey"))

    async def _abort(self, key: Any) -> None:
        await self.server.ask("POST", "/api/extra/abort", {"genkey": key})

    async def _tokens(self, text: str) -> int:
        body = {"prompt": text, "special": False}
        reply = await self.server.ask("POST", "/api/extra/tokencount", body)
        if (value := count_in(reply, "value")) is None:
            raise BackendError(f"KoboldCpp at {self.server.url} counted no tokens: {reply!r:.300}")
        return value

    async def _counted(self, last: Delta, seed: int) -> Delta:
        """The last delta with the token counts, which no event of the stream tells.

        The server answers one request at a time and begins the next some time after the end of
        this one: what it says of its last answer is about ours, and the seed proves it.
        """
        told: dict[str, Any] = {}
        with contextlib.suppress(BackendError):
            told = await self.server.ask("GET", "/api/extra/perf", seconds=_PERF_SECONDS)
        if told.get("last_seed") != seed:
            return last
        usage = Usage(
            count_in(told, "last_input_count") or 0, count_in(told, "last_token_count") or 0
        )
        finish = "stop" if told.get("stop_reason") in _STOPPED else last.finish
        return msgspec.structs.replace(last, usage=usage, finish=finish)


def body_of(prompt: Prompt, context: int | None) -> dict[str, Any]:
    """The body of a request; what nobody chose is left out, the server has its own defaults."""
    sampling = prompt.sampling
    fields = {
        "max_context_length": context,
        "max_length": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "rep_pen": sampling.repeat_penalty,
        "presence_penalty": sampling.presence_penalty,
        "sampler_seed": sampling.seed,
        "stop_sequence": [stop for stop in prompt.stop if stop] or None,
        "grammar": prompt.grammar,
        "render_special": True if prompt.preserved else None,
    }
    return {
        "prompt": prompt.text,
        "genkey": f"llmgate-{secrets.token_hex(8)}",
        # Else an answer that a stop string ended can't be told from one that was cut off.
        "trim_stop": False,
        # Else texts like {{[INPUT]}} in the prompt are replaced.
        "replace_instruct_placeholders": False,
        **{name: value for name, value in fields.items() if value is not None},
    }


class AnswerReader:
    """Reads the events of one answer, see `llmgate.backends.http.Reader`.

    Leaves out the control token that ended the answer, one of `ends` where it is shown.
    """

    def __init__(self, url: str, ends: Sequence[str] = ()) -> None:
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        self.complete = False
        self._url = url
        self._ends = ends
        # Whether it is the end is clear with the next event.
        self._held = ""

    def take(self, reply: dict[str, Any]) -> list[Delta]:
        """The deltas of one event. Raises `BackendError` for one that says that it failed."""
        ended = reply.get("finish_reason")
        if ended == "error":
            raise BackendError(f"KoboldCpp at {self._url} failed while it wrote the answer.")
        text, held = piece_in(reply, "token"), ""
        if text or ended:
            text = self._held + text
            held = next((end for end in self._ends if text.endswith(end)), "")
        if ended:
            self.finish, self.complete = "length" if ended == "length" else "stop", True
            held = held if self.finish == "stop" else ""
        elif text:
            self._held = held
        text = text.removesuffix(held) if held else text
        return [Delta(text)] if text else []
