"""The first words of a new agent: the rule, and how it gives way."""

from __future__ import annotations

import pytest
from agent_doubles import agent_of, call, says, steps_of

from llmgate.agent import UserMessage, Watch
from llmgate.agent.first_message import problem
from llmgate.types import Message, ToolCall

HELLO = UserMessage("Hello.")


def answer(thoughts, name="send_message"):
    return Message("assistant", thoughts, (ToolCall("1", name, "{}"),))


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        (answer("They are here: I say hello."), None),
        (answer(None, "archival_memory_search"), None),
        (answer(None, "core_memory_append"), "core_memory_append"),
        (Message("assistant", "Hello!"), "no function"),
        (answer("I call send_message now."), "send_message"),
        (answer("The functions are mine."), "functions"),
        (answer("dysfunctional"), None),
        *((answer(f"a {sign} b"), sign) for sign in '(){}[]"'),
    ],
)
def test_what_is_wrong_with_a_first_answer_is_said(message, wrong):
    found = problem(message)
    assert found is None if wrong is None else wrong in found


async def test_a_new_agent_may_only_speak_or_look_up():
    agent, backend = await agent_of(says("Hi."), says("Yes?"), first_message=True)
    await steps_of(agent, HELLO)
    await steps_of(agent, HELLO)
    first, second = backend.requests
    assert first.tool_choice.allowed == ("send_message", "archival_memory_search")
    assert second.tool_choice.allowed == ()
    assert first.tools == second.tools


async def test_an_answer_that_breaks_the_rule_is_asked_for_once_more():
    agent, backend = await agent_of(
        says("Hi.", 'I think {"a": 1}'), says("Hello.", "They are here."), first_message=True
    )
    [step] = await steps_of(agent, HELLO)
    assert step.said == "Hello."
    assert len(backend.requests) == 2
    assert "first_message" in [note.code for note in step.notes]


async def test_an_answer_that_breaks_it_again_is_taken_and_the_reason_shown():
    agent, backend = await agent_of(
        lambda request: says("Hi.", 'I think {"a": 1}'), first_message=True
    )
    [step] = await steps_of(agent, HELLO)
    assert step.said == "Hi."
    assert len(backend.requests) == 2
    [*_, note] = [note for note in step.notes if note.code == "first_message"]
    assert "as if they were a call" in note.message


async def test_a_model_that_can_not_be_held_to_it_does_what_it_wants_the_second_time():
    agent, backend = await agent_of(
        lambda request: call("core_memory_append", name="human", content="Bo"), first_message=True
    )
    [step] = await steps_of(agent, HELLO)
    assert (step.call.name, step.ok) == ("core_memory_append", True)
    assert [request.tool_choice.allowed for request in backend.requests] == [
        ("send_message", "archival_memory_search"),
        (),
    ]
    asked_again, taken = [note for note in step.notes if note.code == "first_message"]
    assert "core_memory_append" in asked_again.message
    assert "it began with core_memory_append" in taken.message
    assert agent.state.greeted


async def test_whoever_watches_is_told_that_the_model_is_asked_again():
    class Watcher(Watch):
        asked = 0

        def thinking(self, event, attempt):
            self.asked += 1

    watcher = Watcher()
    agent, _ = await agent_of(
        says("Hi.", "I call (it)."), says("Hello.", "They are here."), first_message=True
    )
    await steps_of(agent, HELLO, watch=watcher)
    assert watcher.asked == 2


async def test_the_rule_can_be_switched_off():
    agent, backend = await agent_of(
        call("core_memory_append", name="human", content="Bo"), first_message=False
    )
    [step] = await steps_of(agent, HELLO)
    assert step.ok
    assert backend.requests[0].tool_choice.allowed == ()
