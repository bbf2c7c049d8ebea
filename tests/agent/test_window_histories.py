"""Random conversations in random windows: what is sent never has a token too many."""

from __future__ import annotations

import asyncio
import logging

import pytest
from engines import needs_engine
from random_histories import tell

from llmgate.backends.embedded import EmbeddedBackend
from llmgate.config import ModelSettings


@pytest.mark.parametrize("part", range(4))
def test_no_prompt_is_ever_over_the_window(part, request, caplog):
    caplog.set_level(logging.ERROR)
    count = request.config.getoption("--histories") // 4

    async def all_of_them():
        return [await tell(seed) for seed in range(part * count, (part + 1) * count)]

    stories = asyncio.run(all_of_them())
    assert sum(story.overflow is not None for story in stories) < count * 0.2
    assert sum(story.compactions for story in stories) > count / 2
    # The windows are used: some prompts have all but a few tokens of theirs.
    assert min(story.tightest for story in stories) < 16


@needs_engine
async def test_the_same_holds_for_a_real_tokenizer():
    engine = EmbeddedBackend.open("tiny", ModelSettings(threads=1))
    try:
        stories = [await tell(seed, count=engine.count) for seed in range(60)]
    finally:
        await engine.aclose()
    assert sum(story.compactions for story in stories) > 30
    assert min(story.tightest for story in stories) < 64
