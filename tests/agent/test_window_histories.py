"""Random conversations in random windows: what is sent never has a token too many."""

from __future__ import annotations

import asyncio
import logging

from engines import needs_engine
from random_histories import tell

from llmgate.backends.embedded import EmbeddedBackend
from llmgate.config import ModelSettings


def test_no_prompt_is_ever_over_the_window(request, caplog):
    caplog.set_level(logging.ERROR)
    count = request.config.getoption("--histories")

    async def all_of_them():
        # One by one: a story is no small thing.
        for seed in range(count):
            story = await tell(seed)
            overflows.append(story.overflow is not None)
            compactions.append(story.compactions)
            tightest.append(story.tightest)

    overflows, compactions, tightest = [], [], []
    asyncio.run(all_of_them())
    assert sum(overflows) < count * 0.2
    assert sum(compactions) > count / 2
    # The windows are used: some prompts have all but a few tokens of theirs.
    assert min(tightest) < 10


@needs_engine
async def test_the_same_holds_for_a_real_tokenizer():
    engine = EmbeddedBackend.open("tiny", ModelSettings(threads=1))
    try:
        stories = [await tell(seed, count=engine.count) for seed in range(20)]
    finally:
        await engine.aclose()
    assert sum(story.compactions for story in stories) > 10
    assert min(story.tightest for story in stories) < 200
