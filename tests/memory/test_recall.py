"""Recall: finding what was said, by words and by days."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from llmgate.errors import FunctionError
from llmgate.memory.conversation import Conversation
from llmgate.memory.recall import Recall
from llmgate.types import Message, ToolCall

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def packaged(text, kind="user_message"):
    return f"event:{kind}", Message("user", json.dumps({"type": kind, "message": text}))


def said(text, thought=None):
    call = ToolCall("call_1", "send_message", json.dumps({"message": text}))
    return "assistant", Message("assistant", thought, (call,))


@pytest.fixture
def talk(records):
    return Conversation(records, "ann", clock=lambda: NOON)


@pytest.fixture
def recall(records):
    return Recall(records, "ann", zone=UTC)


async def say(records, talk, *messages, at=None):
    async with records.transaction() as tx:
        return await talk.append(tx, *messages, at=at)


async def found(recall, text, **options):
    return [hit.text for hit in (await recall.search(text, **options)).found]


async def test_what_people_and_the_agent_said_is_found(records, talk, recall):
    await say(
        records,
        talk,
        packaged("My cat is called Fl\u00f6ckchen"),
        said("What a lovely name for a cat!", "The cat matters to them."),
        ("event:user_message", Message("user", "not packaged: catalogue")),
        ("assistant", Message("assistant", "A plain answer about a cat")),
    )
    page = await recall.search("CAT")
    assert [(hit.role, hit.text, hit.position) for hit in page.found] == [
        ("assistant", "A plain answer about a cat", 4),
        ("user", "not packaged: catalogue", 3),
        ("assistant", "The cat matters to them.\nWhat a lovely name for a cat!", 2),
        ("user", "My cat is called Fl\u00f6ckchen", 1),
    ]
    assert page.total == 4
    assert {hit.at for hit in page.found} == {NOON}
    assert await found(recall, "l\u00d6CK") == ["My cat is called Fl\u00f6ckchen"]
    assert await found(recall, "name lovely") == [page.found[2].text]


async def test_what_nobody_said_is_not_found(records, talk, recall):
    call = ToolCall("call_2", "message_chatgpt", '{"message": "zebra", "content": "zebra"}')
    await say(
        records,
        talk,
        packaged("zebra alert", "system_alert"),
        packaged("zebra beat", "heartbeat"),
        ("boot", Message("assistant", "zebra boot")),
        ("result", Message("tool", '{"status": "OK", "message": "zebra"}', name="zebra")),
        ("assistant", Message("assistant", None, (call,))),
        packaged("a horse"),
    )
    assert (await recall.search("zebra")).total == 0
    # The keys of the packaged JSON are nobody's words either.
    assert (await recall.search("message")).total == 0
    assert (await recall.search("user_message")).total == 0
    assert (await recall.search_dates(NOON.date(), NOON.date())).total == 1


async def test_pages_have_true_totals_and_the_newest_first(records, talk, recall):
    await say(records, talk, *(packaged(f"number {number}") for number in range(12)))
    pages = [await recall.search("number", page) for page in range(4)]
    assert [[hit.text.split()[1] for hit in page.found] for page in pages] == [
        ["11", "10", "9", "8", "7"],
        ["6", "5", "4", "3", "2"],
        ["1", "0"],
        [],
    ]
    assert {(page.total, page.size, page.last) for page in pages} == {(12, 5, 2)}
    assert (await recall.search("nothing of it")).last == 0
    assert (await recall.search("number", size=6)).last == 1


async def test_days_are_included_and_local(records, talk):
    berlin = ZoneInfo("Europe/Berlin")
    recall = Recall(records, "ann", zone=berlin)
    # The clocks are changed on 2026-03-29: that day has 23 hours.
    moments = [
        datetime(2026, 3, 27, 23, 59, 59, 999999, tzinfo=berlin),
        datetime(2026, 3, 28, 0, 0, tzinfo=berlin),
        datetime(2026, 3, 29, 23, 59, 59, tzinfo=berlin),
        datetime(2026, 3, 30, 0, 0, tzinfo=berlin),
    ]
    for number, at in enumerate(moments):
        await say(records, talk, packaged(f"{number}"), at=at)

    async def days(first, last):
        page = await recall.search_dates(date(2026, 3, first), date(2026, 3, last))
        assert page.total == len(page.found)
        return [hit.text for hit in page.found]

    assert await days(28, 29) == ["2", "1"]
    assert await days(27, 27) == ["0"]
    assert await days(30, 31) == ["3"]
    everything = await recall.search_dates(date.min, date.max)
    assert everything.total == 4
    assert everything.found[0].at == moments[3]
    with pytest.raises(FunctionError, match="2026-03-29 is after the end date 2026-03-28"):
        await recall.search_dates(date(2026, 3, 29), date(2026, 3, 28))


async def test_without_a_zone_days_are_those_of_this_machine(records, talk):
    recall = Recall(records, "ann")
    today = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    await say(records, talk, packaged("now"), at=today + timedelta(minutes=1))
    await say(records, talk, packaged("before"), at=today - timedelta(minutes=1))
    page = await recall.search_dates(today.date(), today.date())
    assert [hit.text for hit in page.found] == ["now"]


async def test_what_was_retracted_is_not_found(records, talk, recall):
    await say(records, talk, *(packaged(f"number {number}") for number in range(12)))
    async with records.transaction() as tx:
        await talk.retract(tx, 12, 9, 8, 3)
    pages = [await recall.search("number", page, 3) for page in range(4)]
    assert [[hit.position for hit in page.found] for page in pages] == [
        [11, 10, 7],
        [6, 5, 4],
        [2, 1],
        [],
    ]
    assert {page.total for page in pages} == {8}
    days = [await recall.search_dates(NOON.date(), NOON.date(), page, 3) for page in range(4)]
    assert [page.found for page in days] == [page.found for page in pages]
    assert {page.total for page in days} == {8}


async def test_what_was_amended_is_found_by_its_new_text(records, talk, recall):
    await say(records, talk, packaged("a dog"), said("a wolf"), at=NOON - timedelta(days=9))
    async with records.transaction() as tx:
        await talk.amend(tx, 2, said("a fox")[1])
    assert await found(recall, "wolf") == []
    [hit] = (await recall.search("fox")).found
    assert (hit.text, hit.position, hit.at) == ("a fox", 2, NOON - timedelta(days=9))
    async with records.transaction() as tx:
        await talk.amend(tx, 2, said("a bear")[1])
    assert await found(recall, "fox") == []
    assert await found(recall, "bear") == ["a bear"]
    assert (await recall.search("a")).total == 2
    async with records.transaction() as tx:
        await talk.retract(tx, 2)
    assert await found(recall, "bear") == []
    assert (await recall.search("a")).total == 1


async def test_results_that_were_retracted_do_not_spoil_a_total(records, talk, recall):
    result = ("result", Message("tool", "OK"))
    await say(records, talk, packaged("a"), result, said("b"), result)
    async with records.transaction() as tx:
        await talk.retract(tx, 2, 3, 4)
    page = await recall.search_dates(NOON.date(), NOON.date())
    assert (page.total, [hit.text for hit in page.found]) == (1, ["a"])


async def test_messages_are_counted_by_role(records, talk, recall):
    assert await recall.counts() == {}
    result = ("result", Message("tool", "OK"))
    for _ in range(100):
        await say(records, talk, packaged("a"), said("b"), result)
    assert await recall.counts() == {"user": 100, "assistant": 100, "tool": 100}
    async with records.transaction() as tx:
        await talk.append(tx, packaged("c"))
        await talk.amend(tx, 1, Message("user", "x"))
        await talk.retract(tx, 2, 3)
    expected = {"user": 101, "assistant": 99, "tool": 99}
    assert await recall.counts() == expected
    assert await recall.counts() == expected


async def test_a_search_that_can_not_be_says_why(recall):
    with pytest.raises(FunctionError, match="nothing to search for"):
        await recall.search(" \n")
    with pytest.raises(FunctionError, match="no page -1"):
        await recall.search("x", -1)
    with pytest.raises(FunctionError, match="no page 0 of 0"):
        await recall.search("x", size=0)
    assert (await recall.search("\ud83d")).total == 0
    assert (await recall.search("x", 10**9)).found == ()


async def test_the_words_of_others_are_not_found(records, talk, recall):
    await say(records, talk, packaged("mine"))
    await say(records, Conversation(records, "bob"), packaged("mine too"))
    assert await found(recall, "mine") == ["mine"]
