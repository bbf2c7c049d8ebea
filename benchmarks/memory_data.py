"""Messages and passages made up for `benchmarks.memory`, the same for the same seed."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Sequence

import numpy as np

from llmgate.memory.conversation import Logged
from llmgate.storage.passages import Passage
from llmgate.types import Message, ToolCall

DIMENSION = 384
_SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ra", "se", "ti", "vo", "zu")
_WORDS = 8_000
_TOPICS = 400
# Of a vector of length 1, how far a passage lies from its topic.
_SPREAD = 0.6
_TIME = "2026-05-0{} 0{}:14:0{} PM CEST+0200"


class Words:
    """Words that occur as often as in a language: the second half as often as the first."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        made = itertools.chain.from_iterable(
            itertools.product(_SYLLABLES, repeat=length) for length in (2, 3, 4)
        )
        self.all = ["".join(one) for one in itertools.islice(made, _WORDS)]
        self._random.shuffle(self.all)
        self._weights = list(itertools.accumulate(1 / (rank + 10) for rank in range(_WORDS)))

    def text(self, fewest: int, most: int) -> str:
        count = self._random.randint(fewest, most)
        return " ".join(self._random.choices(self.all, cum_weights=self._weights, k=count))


def messages(count: int, words: Words) -> Iterator[tuple[str, Message]]:
    """So many messages as an agent stores them: events, calls, results."""
    kinds = itertools.cycle((_event, _call, _result))
    for number in range(count):
        yield next(kinds)(number, words.text(8, 24))


def history(characters: int, words: Words) -> tuple[Logged, ...]:
    """A conversation whose messages have about so many characters in a prompt."""
    from datetime import UTC, datetime

    now = datetime(2026, 5, 1, 12, tzinfo=UTC)
    found: list[Logged] = []
    size = 0
    for number in itertools.count():
        kind, message = (_event, _call, _result)[number % 3](number, words.text(12, 40))
        found.append(Logged(number + 1, now, message, kind))
        size += len(message.content or "") + sum(len(c.arguments) for c in message.tool_calls) + 60
        if size > characters and number % 3 == 2:
            return tuple(found)
    raise AssertionError


def _event(number: int, said: str) -> tuple[str, Message]:
    packaged = {"type": "user_message", "message": said, "time": _time(number)}
    return "event:user_message", Message("user", json.dumps(packaged))


def _call(number: int, said: str) -> tuple[str, Message]:
    call = ToolCall(f"call{number:05}", "send_message", json.dumps({"message": said}))
    return "assistant", Message("assistant", said[:40], (call,))


def _result(number: int, said: str) -> tuple[str, Message]:
    packaged = {"status": "OK", "message": "None", "time": _time(number)}
    id_ = f"call{number - 1:05}"
    return "result", Message("tool", json.dumps(packaged), tool_call_id=id_, name="send_message")


def _time(number: int) -> str:
    return _TIME.format(1 + number % 9, 1 + number // 9 % 9, number // 81 % 10)


class Vectors:
    """Vectors in groups, as those of texts on a number of topics are."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._topics = _unit(self._random.normal(size=(_TOPICS, DIMENSION)))

    def some(self, count: int) -> np.ndarray:
        topics = self._topics[self._random.integers(0, _TOPICS, count)]
        noise = self._random.normal(size=(count, DIMENSION)) * (_SPREAD / DIMENSION**0.5)
        return _unit(topics + noise).astype(np.float32)

    def near(self, vectors: np.ndarray, count: int) -> np.ndarray:
        """What is asked for: a little beside some of the vectors."""
        chosen = vectors[self._random.integers(0, len(vectors), count)]
        noise = self._random.normal(size=chosen.shape) * (_SPREAD / 2 / DIMENSION**0.5)
        return _unit(chosen + noise).astype(np.float32)


def passages(vectors: np.ndarray, first: int, words: Words) -> list[Passage]:
    return [
        Passage(words.text(20, 60), f"p{first + number}", embedding=vector)
        for number, vector in enumerate(vectors)
    ]


def recall(found: Sequence[Sequence[str]], exact: Sequence[Sequence[str]]) -> float:
    """The part of what should have been found that was."""
    pairs = list(zip(found, exact, strict=True))
    return sum(len(set(one) & set(other)) for one, other in pairs) / sum(map(len, exact))


def _unit(vectors: np.ndarray) -> np.ndarray:
    found: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found
