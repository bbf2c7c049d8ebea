"""Agents over models that complete prompts, held by a grammar or not."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from agent_doubles import agent_of, steps_of

from llmgate.agent import UserMessage, explaining
from llmgate.types import Caps
from llmgate.wrappers import Wrapper

CAPS = Caps(grammar=True, tokenize=True, context=9000)
HELLO = UserMessage("Hello, I am Bo.")


def written(function, /, **arguments):
    return json.dumps({"function": function, "params": arguments})


async def test_a_chain_over_prompts():
    agent, backend = await agent_of(
        written("core_memory_append", name="human", content="Bo", request_heartbeat=True),
        written("send_message", message="Hello Bo!"),
        caps=CAPS,
    )
    first, second = await steps_of(agent, HELLO)
    assert (first.ok, first.next) == (True, "heartbeat")
    assert second.said == "Hello Bo!"
    one, two = backend.prompts
    assert one.grammar is not None
    assert one.slot == two.slot == "agent/ann"
    assert [text for text, _ in _texts(agent)] == [one.text, two.text]
    kept = await agent.home.records.get("system/prompts/ann")
    assert explaining.texts(kept.value) == (one.text, two.text)


async def test_each_prompt_begins_with_the_one_before_it():
    agent, backend = await agent_of(
        *(written("send_message", message=f"Answer {number}") for number in range(5)), caps=CAPS
    )
    for number in range(5):
        await steps_of(agent, UserMessage(f"Question {number}"))
    texts = [prompt.text for prompt in backend.prompts]
    for before, after in pairwise(texts):
        # What a template writes before the answer is not there any more.
        shared = before.rpartition("<|im_start|>assistant")[0]
        assert after.startswith(shared)


async def test_the_first_message_is_held_to_what_it_may_be():
    agent, backend = await agent_of(
        written("send_message", message="Hi."),
        written("send_message", message="Yes?"),
        caps=CAPS,
        first_message=True,
    )
    await steps_of(agent, HELLO)
    await steps_of(agent, HELLO)
    first, second = (prompt.grammar for prompt in backend.prompts)
    assert "core_memory_append" not in first
    assert "core_memory_append" in second
    # Only the grammar differs: the list of tools is the same, and so is the cache of it.
    assert "core_memory_append" in backend.prompts[0].text


@pytest.mark.parametrize("inner_thoughts", ["inside", "beside"])
async def test_thoughts_are_kept_beside_the_call_and_not_passed_to_it(inner_thoughts):
    wrapper = Wrapper.load("chatml", {"inner_thoughts": inner_thoughts})
    answers = {
        "inside": json.dumps(
            {"function": "send_message", "params": {"inner_thoughts": "So.", "message": "Hi."}}
        ),
        "beside": json.dumps(
            {"function": "send_message", "inner_thoughts": "So.", "params": {"message": "Hi."}}
        ),
    }
    agent, _ = await agent_of(answers[inner_thoughts], caps=CAPS, wrapper=wrapper)
    [step] = await steps_of(agent, HELLO)
    assert (step.thoughts, step.said) == ("So.", "Hi.")
    assert json.loads(step.call.arguments) == {"message": "Hi."}


def _texts(agent):
    return [(prompt.text, said) for prompt, said in agent.exchanges]
