"""Conversations: the log of all that was said, the window, and what stands for the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from llmgate import storage
from llmgate.errors import RequestError, UnknownAgent
from llmgate.memory.conversation import Conversation, Logged, Summary, Window
from llmgate.types import Message, ToolCall

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def user(text):
    return "event:user_message", Message("user", text)


def agent(text):
    return "assistant", Message("assistant", text)


@pytest.fixture
def talk(records):
    return Conversation(records, "ann", clock=lambda: NOON)


async def say(records, talk, *messages, at=None):
    async with records.transaction() as tx:
        return await talk.append(tx, *messages, at=at)


def texts(logged):
    return [entry.message.content for entry in logged]


async def test_messages_come_back_as_they_were_given(records, talk):
    call = ToolCall("call_1", "send_message", '{"message": "Gr\u00fc\u00dfe \\ud83d\\ude00"}')
    messages = [
        ("event:login", Message("user", '{"type":"login"}')),
        ("assistant", Message("assistant", "He\0llo?", (call,), reasoning="hm")),
        ("result", Message("tool", "OK", tool_call_id="call_1", name="send_message")),
        ("assistant", Message("assistant", None, (ToolCall("", "x", "{", "cut off"),))),
    ]
    stored = await say(records, talk, *messages)
    assert [(entry.kind, entry.message) for entry in stored] == messages
    assert [entry.position for entry in stored] == [1, 2, 3, 4]
    assert {entry.at for entry in stored} == {NOON}
    assert await talk.messages(1) == stored
    assert await talk.messages(2, 3) == stored[1:3]
    assert await talk.messages(5, 9) == ()
    assert await talk.end() == 4


async def test_what_no_store_can_keep_is_returned_as_it_is_kept(records, talk):
    call = ToolCall("c", "f", '{"a": "\udc00"}')
    [stored] = await say(
        records, talk, ("assistant", Message("assistant", "\ud83d\ude00 \ud83d", (call,)))
    )
    assert stored.message.content == "\U0001f600 \ufffd"
    assert stored.message.tool_calls[0].arguments == '{"a": "\ufffd"}'
    assert await talk.messages(1) == (stored,)


async def test_nothing_is_stored_if_the_transaction_fails(records, talk):
    async def fail():
        async with records.transaction() as tx:
            await talk.append(tx, user("a"))
            talk.put_window(tx, Window("head", 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await talk.end() == 0
    assert await talk.window() is None


async def test_the_window_is_what_the_model_sees(records, talk):
    await say(records, talk, *(user(f"{number}") for number in range(5)))
    summary = Summary(1, 3, "0 to 2", "model", NOON, 3)
    async with records.transaction() as tx:
        number = await talk.add_summary(tx, summary)
        talk.put_window(tx, Window("head", 4, number, alerted=True))
        await talk.append(tx, agent("5"))
    window, logged, found = await talk.load()
    assert (window.head, window.start, window.summary, window.alerted) == ("head", 4, 1, True)
    assert window.version > 0
    assert texts(logged) == ["3", "4", "5"]
    assert found == summary
    assert await talk.window() == window
    async with records.transaction() as tx:
        talk.put_window(tx, Window("new", 7))
    assert (await talk.load())[1:] == ((), None)


async def test_a_conversation_that_has_not_begun_is_unknown(records, talk):
    with pytest.raises(UnknownAgent, match="'ann'"):
        await talk.load()
    with pytest.raises(RequestError, match="no summary 1"):
        await talk.summary(1)
    with pytest.raises(RequestError, match="can't be seen"):
        Conversation(records, "a\nb")


async def test_summaries_keep_their_numbers(records, talk):
    made = [
        Summary(1, 5, "\u00e4", "model", NOON, 5),
        Summary(1, 9, "", "dropped", NOON, 9),
        Summary(1, 20, "c", "recursive", NOON + timedelta(hours=1), 20),
    ]
    async with records.transaction() as tx:
        assert [await talk.add_summary(tx, summary) for summary in made] == [1, 2, 3]
    assert await talk.summaries() == tuple(made)
    assert await talk.summary(2) == made[1]


async def test_messages_that_left_the_window_can_be_read_again(records, talk):
    await say(records, talk, *(user(f"{number}") for number in range(1, 2501)))
    async with records.transaction() as tx:
        talk.put_window(tx, Window("head", 2400))
        await talk.retract(tx, 3)
        await talk.amend(tx, 5, Message("user", "five"))
    assert texts(await talk.messages(1, 6)) == ["1", "2", "4", "five", "6"]
    assert texts(await talk.raw(1, 6)) == ["1", "2", "3", "4", "5", "6"]
    assert len(await talk.messages(1)) == 2499
    assert len(await talk.messages(100, 2100)) == 2001
    assert texts((await talk.load())[1]) == [f"{number}" for number in range(2400, 2501)]


async def test_an_amended_message_is_seen_in_its_place(records, talk):
    await say(records, talk, user("a"), agent("b"), user("c"), at=NOON - timedelta(days=1))
    async with records.transaction() as tx:
        talk.put_window(tx, Window("head", 1))
        new = await talk.amend(tx, 2, Message("assistant", "B"))
    assert new == Logged(2, NOON - timedelta(days=1), Message("assistant", "B"), "assistant")
    await say(records, talk, user("d"))
    async with records.transaction() as tx:
        await talk.amend(tx, 2, Message("assistant", "BB"))
    _, logged, _ = await talk.load()
    assert texts(logged) == ["a", "BB", "c", "d"]
    assert [entry.position for entry in logged] == [1, 2, 3, 5]
    assert [entry.kind for entry in await talk.raw(1)] == [
        "event:user_message",
        "assistant",
        "event:user_message",
        "amended",
        "event:user_message",
        "amended",
    ]


async def test_retracted_messages_are_gone_and_stay_in_the_log(records, talk):
    await say(records, talk, user("a"), agent("b"), user("c"), agent("d"))
    async with records.transaction() as tx:
        talk.put_window(tx, Window("head", 1))
        await talk.amend(tx, 4, Message("assistant", "D"))
    async with records.transaction() as tx:
        retracted = await talk.retract(tx, 4, 3, 3)
    assert texts(retracted) == ["c", "D"]
    assert texts((await talk.load())[1]) == ["a", "b"]
    assert texts(await talk.raw(1, 4)) == ["a", "b", "c", "d"]
    for position in (0, 3, 4, 5, 9):
        with pytest.raises(RequestError, match=f"no message {position} that can be changed"):
            async with records.transaction() as tx:
                await talk.retract(tx, position)


async def test_conversations_of_other_roots_are_apart(records, talk):
    other = Conversation(records, "ann", root="chats")
    await say(records, talk, user("a"))
    await say(records, other, user("b"), user("c"))
    assert texts(await talk.messages(1)) == ["a"]
    assert texts(await other.messages(1)) == ["b", "c"]


async def test_a_long_conversation_is_loaded_by_its_window_alone(records, talk):
    await say(records, talk, *(user(f"{number}") for number in range(3000)))
    async with records.transaction() as tx:
        talk.put_window(tx, Window("head", 2990))
        await talk.retract(tx, *range(2000, 2200))
    read, entries = records.read, []

    async def counting(*arguments, **options):
        found = await read(*arguments, **options)
        entries.extend(found)
        return found

    records.read = counting
    _, logged, _ = await talk.load()
    assert len(logged) == 11
    assert len(entries) < 300


async def test_a_conversation_is_there_after_opening_again(durable_url):
    async with await storage.open(durable_url) as records:
        talk = Conversation(records, "ann")
        await say(records, talk, user("a"), agent("b"))
        async with records.transaction() as tx:
            talk.put_window(tx, Window("h\u00e4ad", 1))
            await talk.amend(tx, 1, Message("user", "A"))
        before = await talk.load()
    async with await storage.open(durable_url) as records:
        assert await Conversation(records, "ann").load() == before
