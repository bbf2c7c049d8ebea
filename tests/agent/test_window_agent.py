"""A whole agent in a small window: it talks for as long as one likes, and nothing is forgotten."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from agent_doubles import home_of, settle, steps_of
from random_histories import BOOK, Counting, chunks, text_of

from llmgate.agent import Agent, UserMessage
from llmgate.wrappers import Wrapper

# No marks of turns: those would end the model's answer.
CLEAN = [word for word in BOOK if word.isalpha()]
CONTEXT = 2048


def model_of(rng, *, summarises):
    """Calls functions at random, and sums up what it is shown of the conversation."""
    asked = {"summaries": 0, "calls": 0}

    def answer(prompt):
        if prompt.slot.endswith("/summary"):
            asked["summaries"] += 1
            return "The person is called Ann. They spoke of many things." if summarises else ""
        asked["calls"] += 1
        chance = rng.random()
        if chance < 0.75:
            return call("send_message", message=f"Yes. {' '.join(rng.choices(CLEAN, k=9))}")
        if chance < 0.85:
            found = {"query": "order", "request_heartbeat": True}
            return call("conversation_search", **found)
        if chance < 0.95:
            text = f"Fact {asked['calls']}."
            return call("core_memory_append", name="human", content=text, request_heartbeat=True)
        return call(
            "archival_memory_insert",
            content=" ".join(rng.choices(CLEAN, k=40)),
            request_heartbeat=True,
        )

    return answer, asked


def call(function, **arguments):
    arguments = {"inner_thoughts": "So be it.", **arguments}
    return json.dumps({"function": function, "params": arguments}, ensure_ascii=False)


@pytest.mark.parametrize(
    ("turns", "layout", "summarises"), [(300, "cached", True), (60, "memgpt", False)]
)
async def test_hundreds_of_turns_in_two_thousand_tokens(turns, layout, summarises):
    rng = random.Random(7)
    answer, asked = model_of(rng, summarises=summarises)
    backend = Counting(answer, tokens=chunks, context=CONTEXT)
    wrapper = Wrapper.load("chatml", {"opening_brace": "never"})
    home = await home_of(backend, wrapper=wrapper, layout=layout, preset="memgpt_chat_compressed")
    agent = await Agent.create(home, "ann")
    await settle(agent)
    heads = []
    for turn in range(turns):
        said = f"My secret number {turn} is K{turn * 7919:07d}. {text_of(rng, rng.randint(1, 40))}"
        steps = await steps_of(agent, UserMessage("x " * 4000 if turn == turns // 2 else said))
        assert steps[-1].stopped is None
        heads.append(agent._kept.window.head)
        if turn == turns * 2 // 3:
            await agent.aclose()
            agent = await Agent.open(home, "ann")
    # Each prompt was counted by the backend (see `Counting`): none was too long.
    assert len(backend.prompts) == asked["calls"] + asked["summaries"]
    assert asked["calls"] >= turns
    summaries = await agent.conversation.summaries()
    assert len(summaries) > 10
    assert {summary.how for summary in summaries} == ({"model"} if summarises else {"dropped"})
    assert all(a.last < b.last for a, b in itertools.pairwise(summaries))
    # In the cached layout only a compaction changes the head, in the old one each edit does too.
    changes = sum(a != b for a, b in itertools.pairwise(heads))
    assert changes <= len(summaries) or layout == "memgpt"
    assert all(("### Memory [last modified" in head) == (layout == "memgpt") for head in heads)
    _, logged, summary = await agent.conversation.load()
    assert ("Ann" in summary.text) == summarises
    assert logged[0].position == summary.last + 1
    # All of it is in recall, what left the window long ago included.
    for turn in (0, 17, turns - 1):
        found = await agent.recall.search(f"K{turn * 7919:07d}")
        assert found.total == 1
    await agent.aclose()
    await home.aclose()
