"""How fast a backend reads prompts and writes answers, at several depths of its context."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from llmgate.backends import Backend, open_backend
from llmgate.bench.cells import alone
from llmgate.config import Settings, with_facts
from llmgate.errors import ContextOverflow
from llmgate.types import Delta, Message, Prompt, Request, Sampling, Usage

HEAD = f"{'depth':>7} {'read':>11} {'first':>9} {'written':>11}"
# Plain words that any vocabulary has; in an order of their own each time, no cache holds them.
_WORDS = ("time", "year", "people", "way", "day", "thing", "life", "world", "school", "family")
# The whole prompt is measured once with so many words, to know how many make a depth.
_TRIAL = 200


class Plan(msgspec.Struct, frozen=True):
    """What is measured: `repeat` times at each of `depths` tokens, `tokens` written."""

    depths: tuple[int, ...]
    tokens: int = 32
    repeat: int = 3
    seed: int = 1


class Speed(msgspec.Struct, frozen=True):
    """The medians at one depth; a speed is None where it can't be told.

    `prompt` counts the tokens read, those from a cache left out. `first` is in seconds.
    """

    model: str
    backend: str
    depth: int
    prompt: int
    first: float | None = None
    read_per_second: float | None = None
    written_per_second: float | None = None
    problem: str = ""

    def line(self) -> str:
        """The row below `HEAD`."""
        if self.problem:
            return f"{self.depth:>7} {self.problem}"
        first = "-" if self.first is None else f"{self.first * 1000:.0f} ms"
        read, written = _rate(self.read_per_second), _rate(self.written_per_second)
        return f"{self.prompt:>7} {read:>11} {first:>9} {written:>11}"

    def json(self) -> str:
        """One line for programs."""
        return msgspec.json.encode(self).decode()


class _Measured(msgspec.Struct, frozen=True):
    usage: Usage
    first: float | None
    seconds: float


async def measure(model: str, settings: Settings, plan: Plan) -> AsyncGenerator[Speed, None]:
    """The speed at each depth, the lowest first.

    Raises `BackendError` for a backend that is gone, and `ConfigError`.
    """
    asked = alone(with_facts(settings.models[model]))
    backend = open_backend(model, asked)
    dice = random.Random(plan.seed)
    try:
        await backend.start()
        # It warms up, too.
        trial = await _measured(backend, _text(dice, _TRIAL), plan.tokens)
        per_word = max(trial.usage.prompt, 1) / _TRIAL
        for depth in sorted(plan.depths):
            words = max(1, round(depth / per_word))
            speed = Speed(model, asked.backend, depth, 0)
            try:
                found = [
                    await _measured(backend, _text(dice, words), plan.tokens)
                    for _ in range(plan.repeat)
                ]
            except ContextOverflow as error:
                yield msgspec.structs.replace(speed, problem=error.message)
                return
            yield _medians(speed, found)
    finally:
        await backend.aclose()


async def _measured(backend: Backend, text: str, tokens: int) -> _Measured:
    sampling = Sampling(max_tokens=tokens, temperature=0.0, seed=1)
    begun = time.perf_counter()
    first: float | None = None
    usage = Usage()
    deltas: AsyncGenerator[Delta, None]
    if backend.caps.chat:
        messages = (Message("user", text),)
        deltas = backend.chat(Request("speed", messages, sampling=sampling))
    else:
        deltas = backend.complete(Prompt(text, sampling=sampling))
    async with aclosing(deltas):
        async for delta in deltas:
            if first is None and (delta.text or delta.reasoning):
                first = time.perf_counter() - begun
            usage = delta.usage or usage
    return _Measured(usage, first, time.perf_counter() - begun)


def _medians(speed: Speed, found: Sequence[_Measured]) -> Speed:
    read, written, first = [], [], []
    for one in found:
        if one.first is None:
            continue  # nothing was written, or nothing that can be seen
        first.append(one.first)
        if (tokens := one.usage.prompt - (one.usage.cached or 0)) > 0:
            read.append(tokens / one.first)
        if one.usage.completion > 1 and one.seconds > one.first:
            written.append((one.usage.completion - 1) / (one.seconds - one.first))
    return msgspec.structs.replace(
        speed,
        prompt=round(statistics.median(one.usage.prompt for one in found)),
        first=_median(first),
        read_per_second=_median(read),
        written_per_second=_median(written),
    )


def _median(numbers: Sequence[float]) -> float | None:
    return statistics.median(numbers) if numbers else None


def _text(dice: random.Random, words: int) -> str:
    return f"{dice.getrandbits(32):08x} " + " ".join(dice.choices(_WORDS, k=words))


def _rate(speed: float | None) -> str:
    return "-" if speed is None else f"{speed:.0f} tok/s"
