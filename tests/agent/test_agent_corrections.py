"""Taking back, saying otherwise, and what changes from outside."""

from __future__ import annotations

import json

import pytest
from agent_doubles import agent_of, call, messages_of, says, steps_of

from llmgate.agent import Agent, UserMessage, Watch
from llmgate.agent.body import cut
from llmgate.agent.functions.approval import Answer
from llmgate.errors import RequestError
from llmgate.memory.blocks import Block

FIRST = [("boot", ("send_message",)), ("boot", "None"), ("event:login", "Never (first login)")]


def user(text):
    return ("event:user_message", text)


def spoken():
    return [("assistant", ("send_message",)), ("result", "None")]


async def talked(*answers, **more):
    agent, backend = await agent_of(*answers, **more)
    for text in ("one", "two"):
        await steps_of(agent, UserMessage(text))
    return agent, backend


async def test_the_last_messages_can_be_taken_back():
    agent, backend = await talked(says("One."), says("Two."), says("Three."))
    assert await agent.pop(3) == 3
    assert await messages_of(agent) == [*FIRST, user("one"), *spoken()]
    await steps_of(agent, UserMessage("three"))
    said = [json.loads(m.content)["message"] for m in backend.requests[-1].messages[-1:]]
    assert said == ["three"]
    assert not any('"two"' in (m.content or "") for m in backend.requests[-1].messages)


async def test_no_call_is_left_without_its_result():
    agent, _ = await talked(says("One."), says("Two."))
    # The result alone can't go: its call goes with it.
    assert await agent.pop(1) == 2
    assert await messages_of(agent) == [*FIRST, user("one"), *spoken(), user("two")]


async def test_the_first_turns_stay_however_much_is_taken_back():
    agent, _ = await talked(says("One."), says("Two."))
    await agent.pop(100)
    assert await messages_of(agent) == FIRST[:2]
    assert await agent.pop(100) == 0


async def test_the_last_exchange_can_be_undone():
    agent, _ = await talked(says("One."), says("Two."))
    assert await agent.undo() == "two"
    assert await agent.undo() == "one"
    assert await agent.undo() is None
    assert await messages_of(agent) == FIRST


async def test_the_last_message_can_be_answered_again():
    agent, backend = await talked(
        says("One."),
        call("core_memory_append", name="human", content="x", request_heartbeat=True),
        says("Two."),
        says("Better."),
    )
    steps = [step async for step in agent.retry()]
    assert [step.said for step in steps] == ["Better."]
    assert [shown for kind, shown in await messages_of(agent) if kind == "event:user_message"] == [
        "one",
        "two",
    ]
    assert backend.requests[-1].messages == backend.requests[1].messages
    assert await agent.recall.search("Two.") != await agent.recall.search("Better.")


async def test_nothing_can_be_answered_again_before_anybody_has_spoken():
    agent, _ = await agent_of()
    with pytest.raises(RequestError, match="nobody has said anything"):
        [step async for step in agent.retry()]


async def test_the_agent_can_be_made_to_have_said_something_else():
    agent, backend = await talked(says("One."), says("Two.", "A second one."), says("Three."))
    await agent.rewrite("Second!")
    await agent.rethink("I count.")
    await steps_of(agent, UserMessage("three"))
    last = [m for m in backend.requests[-1].messages if m.role == "assistant"][-1]
    assert last.content == "I count."
    assert json.loads(last.tool_calls[0].arguments) == {"message": "Second!"}
    assert (await agent.recall.search("Second!")).total == 1
    assert (await agent.recall.search("Two.")).total == 0
    # The log keeps what there was.
    raw = await agent.conversation.raw(1)
    assert any("Two." in str(each.message) for each in raw)


async def test_nothing_can_be_put_otherwise_before_the_agent_has_spoken():
    agent, _ = await agent_of()
    with pytest.raises(RequestError):
        await agent.rewrite("x")
    with pytest.raises(RequestError):
        await agent.rethink("x")


async def test_an_answer_without_a_call_can_be_rewritten():
    agent, _ = await agent_of("Hello there.")
    await steps_of(agent, UserMessage("Hi"))
    await agent.rewrite("Hello!")
    assert (await messages_of(agent))[-1] == ("assistant", "Hello!")


async def test_an_edit_from_outside_is_told_before_the_next_message():
    agent, backend = await agent_of(says("One."), says("Two."))
    await agent.core.append("human", "He is called Bo.", by="user")
    await steps_of(agent, UserMessage("one"))
    alert, question = (json.loads(m.content) for m in backend.requests[0].messages[-2:])
    assert alert["type"] == "system_alert"
    assert "by user" in alert["message"]
    assert alert["message"].endswith("He is called Bo.")
    assert question["message"] == "one"
    await steps_of(agent, UserMessage("two"))
    told = [kind for kind, _ in await messages_of(agent)]
    assert told.count("event:system_alert") == 1


async def test_an_edit_of_its_own_is_not_told():
    agent, backend = await agent_of(
        call("core_memory_append", name="human", content="Bo"), says("Two.")
    )
    await steps_of(agent, UserMessage("one"))
    await steps_of(agent, UserMessage("two"))
    assert "event:system_alert" not in [kind for kind, _ in await messages_of(agent)]
    # The head stands still.
    assert backend.requests[0].messages[0] == backend.requests[1].messages[0]


async def test_an_edit_from_outside_that_comes_between_is_told_later():
    class Edits(Watch):
        def __init__(self):
            self.approver = self

        async def ask(self, question):
            await agent.core.append("human", "From outside.", by="user")
            return Answer("once")

    append = call("core_memory_append", name="human", content="Own.", request_heartbeat=True)
    agent, backend = await agent_of(
        append, append, says("Two."), says("Three."), approvals={"core_memory_append": "ask"}
    )
    await steps_of(agent, UserMessage("one"), watch=Edits())
    lines = (await agent.core.get("human")).value.splitlines()[-4:]
    assert lines == ["From outside.", "Own.", "From outside.", "Own."]
    await steps_of(agent, UserMessage("two"))
    alert = json.loads(backend.requests[-1].messages[-2].content)["message"]
    assert alert.endswith("\n".join(lines))


async def test_in_the_old_layout_the_head_follows_every_edit_and_nothing_is_told():
    agent, backend = await agent_of(
        call("core_memory_append", name="human", content="He is called Bo."),
        says("Two."),
        says("Three."),
        layout="memgpt",
    )
    await steps_of(agent, UserMessage("one"))
    await steps_of(agent, UserMessage("two"))
    assert "He is called Bo." not in backend.requests[0].messages[0].content
    assert "He is called Bo." in backend.requests[1].messages[0].content
    await agent.core.append("human", "He has a dog.", by="user")
    await steps_of(agent, UserMessage("three"))
    assert "He has a dog." in backend.requests[2].messages[0].content
    assert "event:system_alert" not in [kind for kind, _ in await messages_of(agent)]


async def test_two_agents_that_share_a_block_are_told_of_each_other():
    ann, backend = await agent_of(
        call("core_memory_append", name="team", content="Ann was here."), says("Yes.")
    )
    await ann.add_block("team", "We cook.", shared_id="team")
    bob = await Agent.create(ann.home, "bob")
    await bob.attach_block("team", "team")
    await steps_of(ann, UserMessage("one"))
    assert (await bob.core.get("team")).value == "We cook.\nAnn was here."
    await steps_of(bob, UserMessage("two"))
    alerts = [
        json.loads(message.content)["message"]
        for message in backend.requests[-1].messages
        if message.role == "user" and "system_alert" in message.content
    ]
    assert len(alerts) == 1
    assert "by agent ann" in alerts[0]
    assert alerts[0].endswith("We cook.\nAnn was here.")


async def test_what_was_told_and_taken_back_is_told_again():
    agent, backend = await agent_of(says("One."), says("Two."))
    await agent.core.append("human", "He is called Bo.", by="user")
    await steps_of(agent, UserMessage("one"))
    await agent.pop(100)
    await steps_of(agent, UserMessage("two"))
    assert "He is called Bo." in backend.requests[-1].messages[-2].content


async def test_a_block_that_was_detached_is_told():
    agent, backend = await agent_of(says("One."))
    await agent.add_block("task", "Cook.")
    await agent.detach_block("task")
    await agent.detach_block("human")
    await steps_of(agent, UserMessage("one"))
    alert = json.loads(backend.requests[0].messages[-2].content)["message"]
    assert "human" in alert
    assert "task" not in alert


async def test_a_compaction_is_kept_and_the_head_is_new():
    agent, backend = await agent_of(
        lambda request: says("Yes.") if request.tools else "They talked."
    )
    await agent.core.append("human", "He is called Bo.", by="user")
    for number in range(6):
        await steps_of(agent, UserMessage(f"question {number}"))
    summary = await agent.compact()
    assert summary.text == "They talked."
    for each in (agent, await Agent.open(agent.home, "ann")):
        await steps_of(each, UserMessage("more"))
        messages = backend.requests[-1].messages
        assert "He is called Bo." in messages[0].content
        assert "They talked." in messages[1].content
        assert not any("question 0" in (message.content or "") for message in messages)
    assert "event:system_alert" not in [kind for kind, _ in (await messages_of(agent))[-6:]]
    assert (await agent.recall.search("question 0")).total == 1


async def test_a_summary_is_made_anew_from_the_messages_that_it_stands_for():
    told = ["They talked.", "They asked six questions.", "{}"]
    agent, backend = await agent_of(lambda request: says("Yes.") if request.tools else told.pop(0))
    assert await agent.recompress() is None
    for number in range(6):
        await steps_of(agent, UserMessage(f"question {number}"))
    first = await agent.compact()
    again = await agent.recompress()
    asked = backend.requests[-1]
    assert not asked.tools
    assert any("question 0" in (message.content or "") for message in asked.messages)
    assert not any("They talked." in (message.content or "") for message in asked.messages)
    assert again.text == "They asked six questions."
    assert (again.first, again.last, again.hidden) == (first.first, first.last, first.hidden)
    assert await agent.recompress() is None  # what the model wrote now is no summary
    agent = await Agent.open(agent.home, "ann")
    await steps_of(agent, UserMessage("more"))
    assert "They asked six questions." in backend.requests[-1].messages[1].content
    kept = await agent.conversation.summaries()
    assert [each.text for each in kept] == ["They talked.", "They asked six questions."]


@pytest.mark.parametrize(
    ("room", "lengths"),
    [(None, [10, 50, 100]), (160, [10, 50, 100]), (60, [10, 25, 25]), (0, [0, 0, 0])],
)
def test_blocks_that_do_not_fit_are_cut_and_say_so(room, lengths):
    blocks = [Block(str(size), str(size), "x" * size, 2000) for size in (10, 50, 100)]
    found = cut(blocks, room)
    assert [block.value.partition("\n")[0].count("x") for block in found] == lengths
    for block, given in zip(found, blocks, strict=True):
        whole = block.value == given.value
        assert whole or "shorten this block" in block.value
