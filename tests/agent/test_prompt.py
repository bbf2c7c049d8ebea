"""What the model is sent: the head in both layouts, the turns as they were stored, the tools."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from llmgate.agent.events import UserMessage
from llmgate.agent.prompt import Counts, Parts, head, request, sorted_tools, summary_message
from llmgate.memory.blocks import Block
from llmgate.memory.conversation import Logged, Summary, Window
from llmgate.types import Caps, Message, Tool, ToolCall, ToolChoice
from llmgate.wrappers import Wrapper

NOW = datetime(2026, 3, 1, 21, 5, 7, tzinfo=timezone(timedelta(hours=1), "CET"))
BLOCKS = (
    Block("b1", "persona", "I am Iris.", 2000),
    Block("b2", "human", "Name: Ann\nLikes tea.", 500),
)
FUNCTIONS = (
    Tool("send_message", "Say it.", {"type": "object", "properties": {"message": {}}}),
    Tool("add", "Add.", {"type": "object", "properties": {"n": {"type": "integer"}}}),
)


def logged_turns(count):
    logged = []
    for at in range(count):
        call = ToolCall(f"c{at}", "add", f'{{"n": {at}}}')
        for message, kind in (
            (Message("user", UserMessage(f"Number {at}?").packaged(NOW)), "event:user_message"),
            (Message("assistant", "I add it.", (call,)), "assistant"),
            (Message("tool", '{"status": "OK"}', tool_call_id=call.id, name="add"), "result"),
        ):
            logged.append(Logged(len(logged) + 1, NOW, message, kind))
    return tuple(logged)


def parts(count=2, **fields):
    window = Window(head("You are Iris.", BLOCKS, layout="cached", counts=Counts(), now=NOW), 1)
    return Parts("ann", "m", **{"window": window, "logged": logged_turns(count), **fields})


def test_the_cached_head_is_the_system_prompt_and_the_blocks_and_nothing_that_changes():
    text = head("You are Iris.", BLOCKS, layout="cached", counts=Counts(12, 3), now=NOW)
    assert text == (
        "You are Iris.\n"
        '<persona characters="10/2000">\nI am Iris.\n</persona>\n'
        '<human characters="20/500">\nName: Ann\nLikes tea.\n</human>'
    )
    later = head("You are Iris.", BLOCKS, layout="cached", counts=Counts(99, 9), now=NOW.min)
    assert later == text


def test_the_cached_head_says_what_a_block_is_for_and_that_it_is_not_to_be_changed():
    block = Block("b", "rules", "Be kind.", 90, description='How to "act" <here>', read_only=True)
    text = head("S.", (block,), layout="cached", counts=Counts(), now=NOW)
    said = 'description="How to &quot;act&quot; &lt;here&gt;" read_only="true"'
    assert text == f'S.\n<rules characters="8/90" {said}>\nBe kind.\n</rules>'


def test_the_old_layout_has_the_time_and_the_counts_before_the_blocks():
    text = head("You are Iris.", BLOCKS, layout="memgpt", counts=Counts(12, 3), now=NOW)
    lines = text.split("\n")
    assert lines[:4] == [
        "You are Iris.",
        "",
        "",
        "### Memory [last modified: 2026-03-01 09:05:07 PM CET+0100]",
    ]
    assert lines[4].startswith("12 ")
    assert "recall" in lines[4]
    assert lines[5].startswith("3 ")
    assert "archival" in lines[5]
    assert lines[6] == ""
    assert lines[7].endswith(":")
    assert lines[8:] == [
        '<persona characters="10/2000">',
        "I am Iris.",
        "</persona>",
        '<human characters="20/500">',
        "Name: Ann",
        "Likes tea.",
        "</human>",
    ]


def test_the_turns_are_sent_as_they_were_stored():
    given = parts(3)
    made = request(given, reply=100)
    assert made.messages[0] == Message("system", given.window.head)
    assert made.messages[1:] == tuple(entry.message for entry in given.logged)
    assert made.conversation == "agent/ann"
    assert made.sampling.max_tokens == 100
    assert made.parallel is False
    assert made.tool_choice == ToolChoice("required")


def test_a_message_can_be_shown_in_another_way_than_it_is_stored():
    made = request(parts(1), reply=9, shown=lambda entry: Message("user", str(entry.position)))
    assert [message.content for message in made.messages[1:]] == ["1", "2", "3"]


@pytest.mark.parametrize("wrapper", ["chatml", "airoboros", "dolphin", "zephyr"])
def test_each_prompt_begins_with_the_one_before_it(wrapper):
    wrapper = Wrapper.load(wrapper, {"opening_brace": "never"})
    texts = [
        wrapper.render(request(parts(count, tools=FUNCTIONS), reply=50), Caps(grammar=True)).text
        for count in range(1, 6)
    ]
    for before, after in itertools.pairwise(texts):
        # All but what begins the answer.
        shared = len(before) - 40
        assert after[:shared] == before[:shared]


def test_what_may_be_called_now_does_not_change_the_prompt():
    wrapper = Wrapper.load("chatml")
    free, bound = (
        wrapper.render(request(parts(tools=FUNCTIONS, choice=choice), reply=50), Caps(grammar=True))
        for choice in (ToolChoice("required"), ToolChoice("required", allowed=("add",)))
    )
    assert free.text == bound.text
    assert free.grammar != bound.grammar


def test_tools_come_by_name_whoever_listed_them():
    made = request(parts(tools=FUNCTIONS), reply=9)
    assert [tool.name for tool in made.tools] == ["add", "send_message"]
    assert request(parts(tools=FUNCTIONS[::-1]), reply=9) == made


def test_schemas_are_written_the_same_way_whatever_the_order_of_their_keywords():
    properties = {
        "query": {
            "description": "What to look for.",
            "default": {"b": 1, "a": 2},
            "type": "string",
        },
        "page": {"anyOf": [{"minimum": 0, "type": "integer"}, {"type": "null"}]},
    }
    one = {"required": ["query"], "properties": properties, "type": "object"}
    other = {"type": "object", "properties": properties, "required": ["query"]}
    written = [
        json.dumps(sorted_tools([Tool("f", "", schema)])[0].parameters) for schema in (one, other)
    ]
    assert written[0] == written[1]
    made = json.loads(written[0])
    assert list(made) == ["type", "properties", "required"]
    # The order of parameters says something, and values are not keywords.
    assert list(made["properties"]) == ["query", "page"]
    assert list(made["properties"]["query"]) == ["type", "description", "default"]
    assert made == one
    assert list(made["properties"]["query"]["default"]) == ["b", "a"]


def test_a_summary_stands_before_the_turns_as_an_alert():
    summary = Summary(1, 40, "Ann likes tea.", "recursive", NOW, 38)
    made = request(parts(1, summary=summary), reply=9)
    said = json.loads(made.messages[1].content)
    assert made.messages[1].role == "user"
    assert list(said) == ["type", "message", "time"]
    assert said["type"] == "system_alert"
    assert said["message"].startswith("38 earlier messages ")
    assert said["message"].endswith("\nAnn likes tea.")
    assert [m.role for m in made.messages] == ["system", "user", "user", "assistant", "tool"]


def test_a_summary_reads_the_same_after_it_was_stored():
    summary = Summary(1, 40, "Ann likes tea.", "model", NOW, 38)
    stored = msgspec.structs.replace(summary, at=NOW.astimezone(UTC))
    assert summary_message(stored) == summary_message(summary)


def test_what_was_dropped_is_said_to_be():
    text = json.loads(summary_message(Summary(1, 1, "", "dropped", NOW, 1)).content)["message"]
    assert text.startswith("1 earlier message ")
    assert "Not all of what was said" in text
    assert "summary of it" not in text
    made = json.loads(summary_message(Summary(1, 1, "Tea.", "model", NOW, 1)).content)["message"]
    assert "Not all" not in made
