"""The base functions over real memory: what they do, and what the model is told."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from llmgate.agent.functions import Approvals, Fetcher, Sandbox, call, shipped
from llmgate.errors import FunctionError
from llmgate.memory.conversation import Conversation
from llmgate.types import Message, ToolCall

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


@pytest.fixture
def run(context):
    functions = shipped()

    async def make(name, arguments, where=None, **options):
        options.setdefault("approvals", None)
        return await call(functions[name], arguments, where or context, **options)

    return make


@pytest.fixture
async def talk(records):
    conversation = Conversation(records, "ann")

    async def log(count, role="user", start=NOW, text="My cat number {} sleeps."):
        async with records.transaction() as tx:
            for n in range(count):
                said = text.format(n)
                packaged = json.dumps({"type": "user_message", "message": said})
                message = Message("user", packaged)
                if role == "assistant":
                    arguments = json.dumps({"message": said})
                    message = Message(
                        "assistant", None, (ToolCall(f"c{n}", "send_message", arguments),)
                    )
                kind = "assistant" if role == "assistant" else "event:user_message"
                await conversation.append(tx, (kind, message), at=start + timedelta(days=n))

    return log


def results(message):
    head, _, rest = message.partition(": ")
    return head, json.loads(rest)


async def test_send_message_says_it_and_returns_nothing(run, ears):
    result = await run("send_message", {"message": "Héllo"})
    assert (result.ok, result.message) == (True, "None")
    assert ears.said == ["Héllo"]


@pytest.mark.parametrize(("minutes", "paused"), [(5, 5), ("30", 30), (360, 360), (9999, 360)])
async def test_heartbeats_pause_for_six_hours_at_most(run, ears, minutes, paused):
    result = await run("pause_heartbeats", {"minutes": minutes})
    assert result.message == f"Pausing timed heartbeats for {paused} min"
    assert ears.paused == [paused]


async def test_heartbeats_do_not_pause_backwards(run, ears):
    assert not (await run("pause_heartbeats", {"minutes": -1})).ok
    assert ears.paused == []


async def test_core_memory_is_edited_and_its_size_told(run, context, again):
    result = await run("core_memory_append", {"name": "human", "content": "Likes tea."})
    assert result.message == "human: 24 of 60 characters used."
    result = await run(
        "core_memory_replace",
        {"name": "human", "old_content": "unknown", "new_content": "Bo"},
        again("call_2"),
    )
    assert result.message == "human: 19 of 60 characters used."
    assert (await context.core.get("human")).value == "Name: Bo\nLikes tea."


async def test_an_edit_of_core_memory_that_is_run_again_is_done_once(run, context):
    for _ in range(2):
        assert (await run("core_memory_append", {"name": "human", "content": "Likes tea."})).ok
    assert (await context.core.get("human")).value == "Name: unknown\nLikes tea."


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("core_memory_append", {"name": "human", "content": "x" * 100}, "60"),
        ("core_memory_append", {"name": "humna", "content": "x"}, "human"),
        ("core_memory_replace", {"name": "human", "old_content": "", "new_content": "x"}, ""),
        ("core_memory_replace", {"name": "human", "old_content": "zzz", "new_content": "x"}, ""),
        ("core_memory_replace", {"name": "human", "old_content": "n", "new_content": "x"}, "3"),
    ],
)
async def test_an_edit_that_can_not_be_done_fails_and_changes_nothing(
    run, context, name, arguments, words
):
    result = await run(name, arguments)
    assert not result.ok
    assert result.message.startswith(f"Error calling function {name}: ")
    assert words in result.message.partition(": ")[2]
    assert (await context.core.get("human")).value == "Name: unknown"


async def test_a_search_of_the_conversation_pages_with_true_totals_and_times(run, talk):
    await talk(12)
    head, lines = results((await run("conversation_search", {"query": "cat"})).message)
    assert head == "Showing 5 of 12 results (page 0/2)"
    assert lines[0] == (
        "timestamp: 2026-03-12 12:30:00 PM UTC+0000, user - My cat number 11 sleeps."
    )
    head, lines = results((await run("conversation_search", {"query": "cat", "page": 2})).message)
    assert head == "Showing 2 of 12 results (page 2/2)"
    assert len(lines) == 2


async def test_what_the_agent_itself_said_is_found(run, talk):
    await talk(1, "assistant", text="I like the sea.")
    _, lines = results((await run("conversation_search", {"query": "sea"})).message)
    assert lines == ["timestamp: 2026-03-01 12:30:00 PM UTC+0000, assistant - I like the sea."]


async def test_a_search_without_results_says_so(run, talk):
    assert (await run("conversation_search", {"query": "dog"})).message == "No results found."
    await talk(6)
    result = await run("conversation_search", {"query": "cat", "page": 9})
    assert result.message == "No results on page 9: there are 6, and the last page is 1."
    result = await run("conversation_search", {"query": "cat", "page": -1})
    assert not result.ok


@pytest.mark.parametrize("page", [None, "none", "None", "0", 0])
async def test_a_page_that_is_none_is_the_first(run, talk, page):
    await talk(6)
    result = await run("conversation_search", {"query": "cat", "page": page})
    assert result.message.startswith("Showing 5 of 6 results (page 0/1): ")


async def test_messages_of_some_days_are_found(run, talk):
    await talk(12)
    result = await run(
        "conversation_search_date", {"start_date": "2026-03-03", "end_date": "2026-03-04"}
    )
    head, lines = results(result.message)
    assert head == "Showing 2 of 2 results (page 0/0)"
    assert sorted(line[11:21] for line in lines) == ["2026-03-03", "2026-03-04"]


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2026-03-04", "2026-03-03", "before"),
        ("03/04/2026", "2026-03-03", "YYYY-MM-DD"),
        ("2026-02-30", "2026-03-03", "YYYY-MM-DD"),
    ],
)
async def test_days_that_can_not_be_are_refused(run, start, end, words):
    result = await run("conversation_search_date", {"start_date": start, "end_date": end})
    assert not result.ok
    assert words in result.message


async def test_a_time_from_search_results_is_taken_as_its_day(run, talk):
    await talk(3)
    result = await run(
        "conversation_search_date",
        {"start_date": "2026-03-02 12:30:00 PM UTC+0000", "end_date": "2026-03-02"},
    )
    assert result.message.startswith("Showing 1 of 1 results")


async def test_archival_memory_keeps_what_is_put_there_with_the_time_of_that(run, context, again):
    for n in range(7):
        content = {"content": f"Fact {n}: the moon is far."}
        assert (await run("archival_memory_insert", content, again(f"c{n}"))).message == "None"
    result = await run("archival_memory_search", {"query": "moon", "page": 1})
    head, lines = results(result.message)
    assert head == "Showing 2 of 7 results (page 1/1)"
    assert all(line.startswith("timestamp: 20") and ", memory: Fact " in line for line in lines)
    assert await context.archival.size() == 7


async def test_an_insert_that_is_run_again_is_done_once(run, context):
    for _ in range(2):
        await run("archival_memory_insert", {"content": "The moon is far."})
    assert await context.archival.size() == 1


async def test_nothing_is_not_put_into_archival_memory(run, context):
    assert not (await run("archival_memory_insert", {"content": " \n"})).ok
    assert await context.archival.size() == 0


async def test_a_search_result_is_not_cut_but_each_long_hit_is(run, talk):
    await talk(5, text="cat {} " + "x" * 5000)
    result = await run("conversation_search", {"query": "cat"}, limit=100)
    _, lines = results(result.message)
    assert len(lines) == 5
    assert all(line.endswith("… (cut: 2000 of 5006 characters)") for line in lines)


async def test_another_model_is_asked(run, ears):
    assert (await run("message_chatgpt", {"message": "Why?"})).message == "None says yes"
    assert (await run("ask_model", {"model": "big", "message": "Why?"})).message == "big says yes"
    assert ears.asked == [(None, "Why?"), ("big", "Why?")]


async def test_without_a_folder_or_the_web_the_model_is_told_so(run):
    read = await run("read_from_text_file", {"filename": "a", "line_start": 1})
    assert "agent.files" in read.message
    assert not read.ok
    assert not (await run("http_request", {"method": "GET", "url": "https://a.org"})).ok


async def test_files_are_read_by_lines_and_appended_to(run, context, tmp_path):
    (tmp_path / "notes.txt").write_text("one\ntwo\nthree", encoding="utf-8")
    context = msgspec.structs.replace(context, files=Sandbox(tmp_path))
    arguments = {"filename": "notes.txt", "line_start": 2, "num_lines": 2}
    assert (await run("read_from_text_file", arguments, context)).message == "two\nthree"
    result = await run("append_to_text_file", {"filename": "notes.txt", "content": "four"}, context)
    assert result.ok
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "one\ntwo\nthree\nfour\n"
    arguments = {"filename": "notes.txt", "line_start": 0}
    assert not (await run("read_from_text_file", arguments, context)).ok


async def test_a_long_reading_is_cut_with_an_alert(run, context, tmp_path):
    (tmp_path / "long.txt").write_text("x" * 1500 + "\n" + "y" * 1500, encoding="utf-8")
    context = msgspec.structs.replace(context, files=Sandbox(tmp_path))
    result = await run(
        "read_from_text_file", {"filename": "long.txt", "line_start": 1, "num_lines": 9}, context
    )
    assert result.message.endswith(
        "\n[SYSTEM ALERT - only 2000 characters were read: stopped in line 2 of 2]"
    )


def test_errors_of_functions_are_for_the_model():
    assert str(FunctionError("Full.", hint="Delete.")) == "Full. Delete."


def garbage(rng, depth=0):
    """A JSON value as a model that has lost its way may write it."""
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice([None, True, 0, -1, 10**30, 2.5, float("nan")])
    if kind == 1 and depth < 4:
        return [garbage(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 2 and depth < 4:
        return {f"k{n}": garbage(rng, depth + 1) for n in range(rng.randrange(4))}
    if kind == 3:
        return "".join(chr(rng.randrange(0x2FFF)) for _ in range(rng.randrange(40)))
    known = ["human", "none", "GET", "POST", "notes.txt", "../outside.txt", "/etc/passwd", "5"]
    return rng.choice([*known, "http://127.0.0.1:1/", "http://example.org", "\ud800", "x" * 3000])


async def test_no_garbage_does_anything_that_nobody_approved(run, context, records, ears, tmp_path):
    (tmp_path / "in").mkdir()
    for path in (tmp_path / "in" / "notes.txt", tmp_path / "outside.txt"):
        path.write_text("as it was", encoding="utf-8")

    async def resolve(host, port):
        raise AssertionError(f"{host} was looked up")

    context = msgspec.structs.replace(
        context, files=Sandbox(tmp_path / "in"), web=Fetcher(resolve=resolve)
    )
    approvals = Approvals(records, "ann")
    functions = shipped()
    rng = random.Random(1)
    denied = 0
    for _ in range(1000):
        function = functions[rng.choice(list(functions))]
        wanted = [one.name for one in function.parameters] + ["surprise"]
        arguments = {name: garbage(rng) for name in wanted if rng.random() < 0.8}
        result = await run(function.name, arguments, context, approvals=approvals)
        denied += result.denied
        assert result.ok or result.message.startswith(f"Error calling function {function.name}: ")
    assert denied
    assert ears.asked == []
    for path in (tmp_path / "in" / "notes.txt", tmp_path / "outside.txt"):
        assert path.read_text(encoding="utf-8") == "as it was"
