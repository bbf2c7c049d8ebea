"""What an agent does with an answer, and when it goes on by itself."""

from __future__ import annotations

import json

import msgspec
import pytest
from agent_doubles import (
    agent_of,
    backend_of,
    call,
    calls,
    home_of,
    messages_of,
    says,
    steps_of,
)

from llmgate.agent import Agent, Alert, Login, UserMessage, Watch
from llmgate.agent.acting import truth
from llmgate.agent.state import Pending
from llmgate.agent.thinking import whole_characters
from llmgate.errors import AgentBusy, BackendUnreachable, RequestError, UnknownAgent, UnknownModel
from llmgate.types import CallDelta, Caps, Delta, Message, ToolCall

HELLO = UserMessage("Hello, I am Bo.")


class Seen(Watch):
    """Keeps what it is told."""

    def __init__(self, approver=None):
        self.approver = approver
        self.told = []
        self.text = []

    def thinking(self, event, attempt):
        self.told.append(("thinking", event, attempt))

    def delta(self, delta):
        self.text.append(delta.text)

    def calling(self, call):
        self.told.append(("calling", call.name))

    def said(self, text):
        self.told.append(("said", text))

    def note(self, note):
        self.told.append(("note", note.code))


async def test_an_answer_that_speaks_is_one_step_that_waits():
    agent, backend = await agent_of(says("Hello Bo!", "Somebody is here."))
    [step] = await steps_of(agent, HELLO)
    assert (step.number, step.event, step.thoughts) == (1, "user_message", "Somebody is here.")
    assert (step.said, step.ok, step.result, step.next) == ("Hello Bo!", True, "None", None)
    assert step.call.name == "send_message"
    assert step.usage.prompt > 0
    assert not agent.pending
    assert len(backend.requests) == 1
    assert await agent.steps() == (step,)


async def test_the_model_is_asked_as_agreed():
    agent, backend = await agent_of(says("Hello!"), reply_tokens=100)
    await steps_of(agent, HELLO)
    [request] = backend.requests
    assert request.tool_choice.mode == "required"
    assert request.parallel is False
    assert request.conversation == "agent/ann"
    assert request.sampling.max_tokens == 100
    assert [tool.name for tool in request.tools] == sorted(tool.name for tool in request.tools)
    assert request.messages[0].role == "system"


async def test_a_conversation_begins_with_the_first_turns_and_a_login():
    agent, _ = await agent_of()
    assert await messages_of(agent) == [
        ("boot", ("send_message",)),
        ("boot", "None"),
        ("event:login", "Never (first login)"),
    ]


async def test_a_heartbeat_that_was_asked_for_comes():
    agent, _ = await agent_of(
        call("core_memory_append", name="human", content="Bo", request_heartbeat=True),
        says("Noted."),
    )
    first, second = await steps_of(agent, HELLO)
    assert (first.next, second.event, second.next) == ("heartbeat", "heartbeat", None)
    assert second.said == "Noted."
    kinds = [kind for kind, _ in await messages_of(agent)]
    assert kinds[3:] == [
        "event:user_message",
        "assistant",
        "result",
        "event:heartbeat",
        "assistant",
        "result",
    ]


@pytest.mark.parametrize("asked", [True, "true", "True", " TRUE "])
async def test_a_heartbeat_may_be_asked_for_in_words(asked):
    arguments = {"name": "human", "content": "Bo", "request_heartbeat": asked}
    answer = Message(
        "assistant", None, (ToolCall("1", "core_memory_append", json.dumps(arguments)),)
    )
    agent, _ = await agent_of(answer, says("Noted."))
    first, _ = await steps_of(agent, HELLO)
    assert first.next == "heartbeat"


def test_truth_is_what_a_small_model_may_mean_by_it():
    assert [
        value for value in (True, "true", " True", "YES", 1, 1.0, "1") if not truth(value)
    ] == []
    assert [value for value in (False, "false", "no", 0, None, [], {}, "", 2) if truth(value)] == []


@pytest.mark.parametrize("asked", [False, "false", "False"])
async def test_no_heartbeat_comes_where_none_was_asked_for(asked):
    agent, _ = await agent_of(
        call("core_memory_append", name="human", content="Bo", request_heartbeat=asked)
    )
    [step] = await steps_of(agent, HELLO)
    assert step.next is None
    assert step.ok


async def test_a_heartbeat_is_added_where_a_search_forgot_it():
    agent, _ = await agent_of(
        call("conversation_search", query="Bo", request_heartbeat=False), says("There it is.")
    )
    first, second = await steps_of(agent, HELLO)
    assert first.next == "data"
    assert "heartbeat" in [note.code for note in first.notes]
    assert second.event == "heartbeat"
    assert second.said == "There it is."


async def test_a_call_that_does_not_mention_the_heartbeat_is_made():
    agent, backend = await agent_of(call("conversation_search", query="Bo"), says("There it is."))
    first, second = await steps_of(agent, HELLO)
    assert (first.ok, first.next) == (True, "data")
    assert second.said == "There it is."
    assert len(backend.requests) == 2


async def test_what_fails_goes_before_a_heartbeat_and_is_told():
    agent, backend = await agent_of(
        call("core_memory_replace", name="human", old_content="none such", new_content="x",
             request_heartbeat=True),
        says("Sorry."),
    )  # fmt: skip
    first, second = await steps_of(agent, HELLO)
    assert (first.ok, first.next) == (False, "failed")
    assert "none such" in first.result
    result = json.loads(backend.requests[1].messages[-2].content)
    assert result["status"] == "Failed"
    assert result["message"] == first.result
    assert second.event == "heartbeat"
    assert "failed" in json.loads(backend.requests[1].messages[-1].content)["reason"]


async def test_the_warning_of_a_full_window_goes_before_everything_and_comes_once():
    agent, _ = await agent_of(
        call("core_memory_append", name="nobody", content="x", request_heartbeat=True),
        call("core_memory_append", name="human", content="Bo", request_heartbeat=True),
        says("Noted."),
        says("Yes?"),
        pressure=0.01,
    )
    first, second, third = await steps_of(agent, HELLO)
    assert (first.ok, first.next) == (False, "pressure")
    assert second.event == "system_alert"
    assert second.next == "heartbeat"
    assert third.next is None
    told = [shown for kind, shown in await messages_of(agent) if kind == "event:system_alert"]
    assert told == [agent.pressure_text]
    [later] = await steps_of(agent, UserMessage("Hm."))
    assert later.next is None


async def test_a_chain_has_an_end():
    agent, backend = await agent_of(
        lambda request: call("conversation_search", query="Bo"), chain_limit=4
    )
    steps = await steps_of(agent, HELLO)
    assert len(steps) == len(backend.requests) == 4
    assert [step.stopped for step in steps[:3]] == [None] * 3
    assert steps[3].next == "data"
    assert "chain limit of 4" in steps[3].stopped
    assert not agent.pending
    assert len(await steps_of(agent, UserMessage("Stop that."))) == 4


async def test_arguments_that_are_no_json_are_told():
    agent, _ = await agent_of(says("Sorry."))
    kept = agent._kept
    broken = (
        ToolCall("abcdefghi", "send_message", '{"message": '),
        ToolCall("abcdefghj", "send_message", "{}", error="it breaks off"),
        ToolCall("abcdefghk", "send_message", '{"text": "Hi"}'),
    )
    pending = Pending("call", "user_message", calls=broken)
    await kept.commit(
        msgspec.structs.replace(kept.state, pending=pending),
        ("assistant", Message("assistant", None, broken)),
    )
    *failed, last = await steps_of(agent, None)
    assert [step.ok for step in failed] == [False, False, False]
    assert all("send_message" in step.result for step in failed)
    assert "it breaks off" in failed[1].result
    assert "message" in failed[2].result
    assert [step.next for step in failed] == [None, None, "failed"]
    assert last.said == "Sorry."


async def interrupted_with(*wanted, next_answer):
    """An agent that was interrupted when its model had made these calls."""
    agent, backend = await agent_of(next_answer)
    message = calls(*wanted, thoughts="Two things and a word.")
    pending = Pending("call", "user_message", 1, calls=message.tool_calls, thoughts=message.content)
    state = msgspec.structs.replace(agent.state, pending=pending)
    await agent._kept.commit(state, ("assistant", message))
    return agent, backend


async def test_several_calls_of_one_answer_are_made_in_their_order():
    agent, backend = await interrupted_with(
        ("core_memory_append", {"name": "human", "content": "Bo"}),
        ("core_memory_append", {"name": "human", "content": "Aarhus", "request_heartbeat": True}),
        ("send_message", {"message": "Both noted."}),
        next_answer=says("That is all."),
    )
    one, two, three, four = await steps_of(agent, None)
    assert (one.event, one.thoughts) == ("user_message", "Two things and a word.")
    assert (two.event, two.thoughts) == (None, None)
    assert three.said == "Both noted."
    # The heartbeat comes when all are made.
    assert [step.next for step in (one, two, three, four)] == [None, None, "heartbeat", None]
    assert [step.resumed for step in (one, two, three, four)] == [True, True, True, False]
    assert (await agent.core.get("human")).value.endswith("Bo\nAarhus")
    [request] = backend.requests
    assert [message.role for message in request.messages[-5:]] == [
        "assistant",
        "tool",
        "tool",
        "tool",
        "user",
    ]
    ids = [each.id for each in request.messages[-5].tool_calls]
    assert [message.tool_call_id for message in request.messages[-4:-1]] == ids


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (("heard", "failed"), "failed"),
        (("failed", "heard"), "failed"),
        (("searched", "heard"), "heartbeat"),
        (("heard", "searched"), "heartbeat"),
        (("searched", "failed"), "failed"),
        (("searched", "spoke"), "data"),
    ],
)
async def test_of_several_reasons_to_go_on_one_goes_before_the_others(wanted, reason):
    known = {
        "heard": (
            "core_memory_append",
            {"name": "human", "content": "x", "request_heartbeat": True},
        ),
        "failed": ("core_memory_append", {"name": "nobody", "content": "x"}),
        "searched": ("conversation_search", {"query": "x"}),
        "spoke": ("send_message", {"message": "x"}),
    }
    agent, _ = await interrupted_with(*(known[one] for one in wanted), next_answer=says("Done."))
    first, second, third = await steps_of(agent, None)
    assert (first.next, second.next, third.event) == (None, reason, "heartbeat")


async def test_a_function_that_is_not_there_is_told_with_those_that_are():
    agent, _ = await interrupted_with(("fly", {}), next_answer=says("Sorry."))
    first, second = await steps_of(agent, None)
    assert (first.ok, first.next, first.resumed) == (False, "failed", True)
    assert first.result.startswith("No function named fly.")
    assert "send_message" in first.result
    assert second.said == "Sorry."


async def test_ids_of_calls_never_come_again_though_servers_repeat_theirs():
    agent, _ = await agent_of(
        call("core_memory_append", name="human", content="one", request_heartbeat=True),
        call("core_memory_append", name="human", content="one", request_heartbeat=True),
        says("Twice."),
    )
    first, second, _ = await steps_of(agent, HELLO)
    assert first.call.id != second.call.id
    assert (await agent.core.get("human")).value.endswith("one\none")


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (r'{"message": "\ud83e\udd8a"}', r'{"message": "\ud83e\udd8a"}'),
        (r'{"message": "\ud83e!"}', r'{"message": "\ufffd!"}'),
        (r'{"message": "\uDD8A\ud83e', r'{"message": "\ufffd\ufffd'),
        (r'{"message": "\\ud83e"}', r'{"message": "\\ud83e"}'),
        ("\\", "\\"),
    ],
)
def test_escapes_of_half_a_character_are_not_kept(text, whole):
    assert whole_characters(text) == whole


@pytest.mark.parametrize("text", [r'{"message": "\ud83e!"}', r'{"message": "\udd8a'])
async def test_halves_of_characters_are_not_shown_to_the_model_again(text):
    answer = Message("assistant", "\ud83e", (ToolCall("1", "send_message", text),))
    agent, backend = await agent_of(answer, says("Yes."), says("Yes."))
    await steps_of(agent, HELLO)
    await steps_of(agent, HELLO)
    assert msgspec.json.encode(backend.requests[-1])


async def test_an_answer_without_a_call_is_for_the_person():
    agent, _ = await agent_of("Hello Bo, nice to meet you.")
    watch = Seen()
    [step] = await steps_of(agent, HELLO, watch=watch)
    assert step.said == "Hello Bo, nice to meet you."
    assert step.call is None
    assert "no_call" in [note.code for note in step.notes]
    assert ("said", "Hello Bo, nice to meet you.") in watch.told
    assert (await messages_of(agent))[-1] == ("assistant", "Hello Bo, nice to meet you.")


async def test_an_answer_that_can_not_be_used_is_told_and_asked_for_again():
    agent, backend = await agent_of('{"name": "send_message", "argum', says("Now."), retries=2)
    first, second = await steps_of(agent, HELLO)
    assert (first.ok, first.next, first.call) == (False, "failed", None)
    assert "could not be used" in first.result
    assert "refused" in [note.code for note in first.notes]
    assert second.said == "Now."
    assert "could not be used" in json.loads(backend.requests[1].messages[-1].content)["message"]


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_a_model_that_gives_nothing_of_use_is_asked_so_often_and_no_more(retries):
    agent, backend = await agent_of(lambda request: "<<<{{{", retries=retries)
    steps = await steps_of(agent, HELLO)
    assert len(steps) == len(backend.requests) == retries + 1
    assert "could not be used" in steps[-1].stopped
    assert not agent.pending


async def test_an_empty_answer_is_one_that_can_not_be_used():
    agent, backend = await agent_of(lambda request: "", retries=1)
    steps = await steps_of(agent, HELLO)
    assert [step.ok for step in steps] == [False, False]
    assert len(backend.requests) == 2


async def test_a_call_that_was_cut_off_is_not_made_unless_it_speaks():
    def cut(message):
        [made] = message.tool_calls
        piece = CallDelta(0, made.arguments, id="1", name=made.name)
        return [Delta(call=piece), Delta(finish="length")]

    agent, _ = await agent_of(
        cut(call("core_memory_append", name="human", content="Bo lives in")),
        cut(says("I was going to say")),
    )
    first, second = await steps_of(agent, HELLO)
    assert not first.ok
    assert "cut off" in first.result
    assert "Bo lives in" not in (await agent.core.get("human")).value
    assert second.said == "I was going to say"
    assert "truncated" in [note.code for note in second.notes]


async def test_a_server_that_can_not_be_reached_costs_no_message():
    answers = [BackendUnreachable("down"), says("Here I am.")]
    agent, backend = await agent_of(*answers)
    with pytest.raises(BackendUnreachable):
        await steps_of(agent, HELLO)
    assert agent.pending
    again = await Agent.open(agent.home, "ann")
    assert again.pending
    [step] = await steps_of(again, None)
    assert step.said == "Here I am."
    assert step.resumed
    asked = [json.loads(m.content)["message"] for m in backend.requests[1].messages[-1:]]
    assert asked == ["Hello, I am Bo."]


async def test_nothing_is_done_where_nothing_waits():
    agent, backend = await agent_of()
    assert await steps_of(agent, None) == []
    assert backend.requests == []


async def test_a_person_may_say_more_before_there_is_an_answer():
    agent, backend = await agent_of(BackendUnreachable("down"), says("Both heard."))
    with pytest.raises(BackendUnreachable):
        await steps_of(agent, HELLO)
    [step] = await steps_of(agent, UserMessage("Are you there?"))
    assert step.said == "Both heard."
    said = [json.loads(message.content)["message"] for message in backend.requests[1].messages[-2:]]
    assert said == ["Hello, I am Bo.", "Are you there?"]


async def test_what_watches_is_told_in_order():
    agent, _ = await agent_of(
        call("core_memory_append", name="human", content="Bo", request_heartbeat=True),
        says("Hello."),
    )
    watch = Seen()
    await steps_of(agent, HELLO, watch=watch)
    assert [told for told in watch.told if told[0] != "note"] == [
        ("thinking", "user_message", 1),
        ("calling", "core_memory_append"),
        ("thinking", "heartbeat", 2),
        ("calling", "send_message"),
        ("said", "Hello."),
    ]


async def test_an_event_can_be_told_without_asking_for_an_answer():
    agent, backend = await agent_of(says("Hello again."))
    await agent.tell(Login())
    assert backend.requests == []
    assert not agent.pending
    await steps_of(agent, HELLO)
    login, hello = backend.requests[0].messages[-2:]
    assert json.loads(login.content)["type"] == "login"
    assert json.loads(login.content)["last_login"] != "Never (first login)"
    assert json.loads(hello.content)["message"] == "Hello, I am Bo."


async def test_the_name_of_who_speaks_stands_beside_the_message_where_servers_take_it():
    agent, backend = await agent_of(says("Hi."), says("Hi."))
    await steps_of(agent, UserMessage("Hi", name="bo_1"))
    await steps_of(agent, UserMessage("Hi", name="Bo Ågård"))
    first, second = (request.messages[-1] for request in backend.requests)
    assert (first.name, second.name) == ("bo_1", None)
    assert json.loads(second.content)["name"] == "Bo Ågård"


async def test_agents_have_names_that_nobody_else_has():
    agent, _ = await agent_of()
    with pytest.raises(RequestError, match="already"):
        await Agent.create(agent.home, "ann")
    with pytest.raises(RequestError):
        await Agent.create(agent.home, "../ann")
    with pytest.raises(UnknownAgent, match="'ann'"):
        await Agent.open(agent.home, "anna")
    assert await agent.home.agents() == ("ann",)


async def test_an_agent_can_think_with_another_model():
    agent, _ = await agent_of()
    assert agent.model == "m"
    with pytest.raises(UnknownModel):
        await agent.set_model("n")
    await agent.set_model("m")
    assert (await Agent.open(agent.home, "ann")).state.model == "m"


async def test_one_task_can_not_run_an_agent_inside_of_its_own_run():
    agent, _ = await agent_of(says("Hello."))
    run = agent.run(HELLO)
    await anext(run)
    with pytest.raises(AgentBusy, match="in the middle of a run"):
        await agent.pop()
    await run.aclose()
    assert await agent.pop(0) == 0


async def test_a_run_that_was_left_in_the_middle_does_not_stand_in_the_way():
    agent, _ = await agent_of(
        call("core_memory_append", name="human", content="Bo", request_heartbeat=True),
        says("Hello."),
    )
    async for step in agent.run(HELLO):
        assert step.next == "heartbeat"
        break
    [step] = await steps_of(agent, None)
    assert step.said == "Hello."


async def test_a_deleted_agent_is_gone_with_what_was_its_own():
    agent, _ = await agent_of(says("Hello."))
    await steps_of(agent, HELLO)
    home = agent.home
    await home.delete("ann")
    assert await home.agents() == ()
    assert await home.records.keys() == []
    assert await home.records.logs() == []
    with pytest.raises(UnknownAgent):
        await home.delete("ann")


async def test_what_a_preset_is_made_of_is_kept():
    backend = backend_of(caps=Caps(chat=True))
    home = await home_of(backend)
    agent = await Agent.create(home, "ann", blocks={"human": "Bo", "task": "Cook."}, model="m")
    state = agent.state
    assert (state.preset, state.persona, state.human) == ("memgpt_chat", "starter", "basic")
    assert list(state.blocks) == ["persona", "human", "task"]
    assert (await agent.core.get("human")).value == "Bo"
    assert state.pending.event == "login"
    assert Alert.kind == "system_alert"
