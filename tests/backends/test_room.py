"""How much may be written is kept to what the prompt leaves of the context."""

from __future__ import annotations

import pytest

from llmgate.backends.room import fitted
from llmgate.errors import ContextOverflow
from llmgate.types import Prompt, Sampling


class Tokenizer:
    """One token for two bytes; how often it was asked is kept."""

    def __init__(self) -> None:
        self.asked = 0

    async def count(self, text: str) -> int:
        self.asked += 1
        return len(text.encode()) // 2


async def room(text: str, wanted: int | None, context: int | None) -> tuple[int | None, int]:
    tokenizer = Tokenizer()
    prompt = Prompt(text, sampling=Sampling(max_tokens=wanted, top_k=3))
    got = await fitted(prompt, context, tokenizer.count)
    assert (got.text, got.sampling.top_k) == (text, 3)
    return got.sampling.max_tokens, tokenizer.asked


@pytest.mark.parametrize(
    ("text", "wanted", "context", "kept", "asked"),
    [
        ("a" * 80, 18, 100, 18, 0),
        ("a" * 80, 19, 100, 19, 1),
        ("a" * 80, 58, 100, 58, 1),
        ("a" * 80, 59, 100, 58, 1),
        ("a" * 80, None, 100, 58, 1),
        ("a" * 194, 50, 100, 1, 1),
        ("é" * 40, 18, 100, 18, 0),
        ("a" * 800, 18, None, 18, 0),
        ("a" * 800, None, None, None, 0),
    ],
)
async def test_an_answer_gets_what_the_prompt_leaves(text, wanted, context, kept, asked):
    assert await room(text, wanted, context) == (kept, asked)


@pytest.mark.parametrize("length", [196, 1000])
async def test_a_prompt_that_leaves_nothing_is_refused_with_both_numbers(length):
    with pytest.raises(ContextOverflow, match=rf"has {length // 2} tokens.* holds 100\."):
        await room("a" * length, 1, 100)
