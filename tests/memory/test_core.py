"""Core memory: what edits allow, that none is lost, and the way back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from llmgate import storage
from llmgate.errors import FunctionError, RequestError, UnknownName
from llmgate.memory.core import Core, agent_author, shared_blocks

ANN = agent_author("ann")


@pytest.fixture
async def core(records):
    made = Core(records, {}, by=ANN)
    await made.create("persona", "I am Ann.", limit=100, description="who I am")
    await made.create("human", "", limit=50)
    return made


async def test_a_block_is_as_it_was_created(core):
    block = await core.get("persona")
    assert (block.value, block.limit, block.description) == ("I am Ann.", 100, "who I am")
    assert not block.shared
    assert not block.read_only
    assert block.version > 0
    assert block.id == core.ids["persona"]


async def test_blocks_come_in_the_order_in_which_they_were_attached(records, core):
    await core.create("a", "x")
    assert [block.label for block in await core.blocks()] == ["persona", "human", "a"]
    again = Core(records, core.ids, by=ANN)
    assert await again.blocks() == await core.blocks()


async def test_the_first_text_stands_alone_and_the_next_on_its_own_line(core):
    assert (await core.append("human", "Name: Bo")).value == "Name: Bo"
    assert (await core.append("human", "Likes: tea")).value == "Name: Bo\nLikes: tea"
    assert (await core.get("human")).value == "Name: Bo\nLikes: tea"


async def test_a_text_that_is_there_once_is_replaced(core):
    assert (await core.replace("persona", "Ann", "Eve")).value == "I am Eve."
    assert (await core.replace("persona", " Eve", "")).value == "I am."


async def test_a_text_that_is_there_twice_is_not_replaced(core):
    await core.rewrite("persona", "a cat, a dog, a cow")
    with pytest.raises(FunctionError, match=r"is in the block 'persona' 3 times: 'a cat, a dog"):
        await core.replace("persona", "a ", "the ")
    await core.rewrite("persona", "aaa")
    with pytest.raises(FunctionError, match="2 times"):
        await core.replace("persona", "aa", "b")
    assert (await core.get("persona")).value == "aaa"


@pytest.mark.parametrize(
    ("old", "hint"),
    [
        ("i am ann", "Did you mean 'I am Ann'?"),
        ("I  am\nAnn.", "Did you mean 'I am Ann.'?"),
        ("Likes: coffe with mlik", "Did you mean 'Likes: coffee with milk'?"),
        ("\u00fc\u00fc\u00fc", "Nothing in it is like that."),
        ("(unclosed [", "Nothing in it is like that."),
    ],
)
async def test_a_text_that_is_not_there_brings_the_closest_passage(core, old, hint):
    await core.append("persona", "Likes: coffee with milk\nLives in K\u00f6ln.")
    with pytest.raises(FunctionError, match="is not in the block 'persona'") as raised:
        await core.replace("persona", old, "x")
    assert hint in raised.value.hint


async def test_a_long_text_that_is_not_there_is_not_quoted_whole(core):
    with pytest.raises(FunctionError) as raised:
        await core.replace("persona", "no " * 100_000, "x")
    assert len(str(raised.value)) < 500


async def test_an_empty_old_text_is_refused(core):
    with pytest.raises(FunctionError, match="is empty"):
        await core.replace("persona", "", "x")
    with pytest.raises(FunctionError, match="no text to append"):
        await core.append("persona", " \n")


async def test_an_edit_over_the_limit_says_by_how_much(core):
    with pytest.raises(FunctionError, match=r"may have 50 characters, and would have 51: 1 too"):
        await core.append("human", "x" * 51)
    assert (await core.append("human", "\U0001f600" * 50)).value == "\U0001f600" * 50
    with pytest.raises(FunctionError, match="would have 52"):
        await core.append("human", "x")
    with pytest.raises(FunctionError, match="would have 101"):
        await core.rewrite("persona", "x" * 101)
    assert len(await core.log("persona")) == 1


async def test_a_block_over_its_limit_is_not_created(core):
    with pytest.raises(FunctionError, match="would have 11"):
        await core.create("new", "x" * 11, limit=10)
    with pytest.raises(RequestError, match="limit"):
        await core.create("new", "", limit=0)
    assert "new" not in core.ids


async def test_an_unknown_label_brings_the_known_ones(core):
    for edit in (core.get("humen"), core.append("humen", "x"), core.log("humen")):
        with pytest.raises(UnknownName, match="Did you mean 'human'"):
            await edit


async def test_a_label_is_taken_once(core):
    with pytest.raises(RequestError, match="already"):
        await core.create("human", "x")
    with pytest.raises(RequestError, match="'/'"):
        await core.create("a/b", "x")


async def test_a_read_only_block_is_not_the_agents_to_change(core):
    await core.create("rules", "Be kind.", read_only=True)
    for edit in (
        core.append("rules", "x"),
        core.replace("rules", "kind", "rude"),
        core.rewrite("rules", ""),
        core.undo("rules", by=ANN),
    ):
        with pytest.raises(FunctionError, match="read-only"):
            await edit
    assert (await core.rewrite("rules", "Be brief.", by="user")).value == "Be brief."
    assert (await core.log("rules"))[-1].by == "user"


async def test_what_a_block_may_be_can_be_changed(core):
    block = await core.change("persona", limit=9, description="d", read_only=True)
    assert (block.limit, block.description, block.read_only) == (9, "d", True)
    assert block.value == "I am Ann."
    with pytest.raises(RequestError, match="it has 9 characters"):
        await core.change("persona", limit=8)


async def test_halves_of_surrogate_pairs_do_not_stop_an_edit(core):
    block = await core.append("human", "\ud83d\ude00 and \ud83d")
    assert block.value == "\U0001f600 and \ufffd"


async def test_a_call_is_done_once(core):
    for _ in range(3):
        await core.append("human", "Bo", call="1:call_0")
    await core.append("human", "Bo", call="2:call_0")
    assert (await core.get("human")).value == "Bo\nBo"
    assert [edit.call for edit in await core.log("human")] == [None, "1:call_0", "2:call_0"]


async def test_a_call_that_is_not_possible_again_was_still_done(core):
    first = await core.replace("persona", "Ann", "Eve", call="c")
    await core.change("persona", read_only=True)
    assert (await core.replace("persona", "Ann", "Eve", call="c")).value == first.value


async def test_a_call_that_changes_nothing_is_not_done_later(core):
    await core.rewrite("persona", "I am Ann.", call="c")
    await core.rewrite("persona", "I am Bo.")
    assert (await core.rewrite("persona", "I am Ann.", call="c")).value == "I am Bo."


async def test_the_history_says_who_did_what_and_when(records):
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    ticks = (now + timedelta(minutes=minute) for minute in range(99))
    core = Core(records, {}, by=ANN, clock=lambda: next(ticks))
    await core.create("human", "a")
    await core.append("human", "b", call="1:x")
    await core.replace("human", "a", "c")
    await core.rewrite("human", "d", by="user")
    log = await core.log("human")
    assert [(edit.number, edit.kind, edit.by, edit.call) for edit in log] == [
        (1, "create", ANN, None),
        (2, "append", ANN, "1:x"),
        (3, "replace", ANN, None),
        (4, "rewrite", "user", None),
    ]
    assert [edit.at for edit in log] == [now + timedelta(minutes=minute) for minute in range(4)]
    assert [(edit.before, edit.after) for edit in log] == [
        ("", "a"),
        ("a", "a\nb"),
        ("a\nb", "c\nb"),
        ("c\nb", "d"),
    ]
    assert (await core.get("human")).updated_at == log[-1].at


async def test_a_diff_is_of_the_last_edit_or_of_any_two(core):
    await core.append("persona", "I like tea.")
    await core.replace("persona", "tea", "cake")
    assert (await core.diff("persona")).splitlines() == [
        "--- persona after edit 2",
        "+++ persona after edit 3",
        "@@ -1,2 +1,2 @@",
        " I am Ann.",
        "-I like tea.",
        "+I like cake.",
    ]
    assert "+I am Ann." in await core.diff("persona", 0, 1)
    assert "+I like cake." in await core.diff("persona", 1)
    assert await core.diff("persona", 2, 2) == ""
    with pytest.raises(RequestError, match="no edit 4"):
        await core.diff("persona", 1, 4)


async def test_undo_goes_back_step_by_step(core):
    await core.append("persona", "b")
    await core.append("persona", "c")
    assert (await core.undo("persona", by="user")).value == "I am Ann.\nb"
    assert (await core.undo("persona", by="user")).value == "I am Ann."
    with pytest.raises(RequestError, match="nothing to undo"):
        await core.undo("persona", by="user")
    assert [(edit.kind, edit.undoes) for edit in await core.log("persona")][3:] == [
        ("undo", 3),
        ("undo", 2),
    ]


async def test_an_undo_can_be_undone(core):
    await core.append("persona", "b")
    await core.undo("persona", by="user")
    assert (await core.undo("persona", by="user", number=3)).value == "I am Ann.\nb"
    assert (await core.undo("persona", by="user", number=4)).value == "I am Ann."
    assert (await core.redo("persona", by="user")).value == "I am Ann.\nb"
    assert (await core.undo("persona", by="user")).value == "I am Ann."
    await core.append("persona", "new")
    with pytest.raises(RequestError, match="nothing to do again"):
        await core.redo("persona", by="user")


async def test_what_changed_nothing_is_not_undone(core):
    await core.append("persona", "b")
    await core.rewrite("persona", "I am Ann.\nb", call="c")
    assert (await core.undo("persona", by="user")).value == "I am Ann."
    await core.rewrite("persona", "I am Ann.", call="d")
    assert (await core.redo("persona", by="user")).value == "I am Ann.\nb"


async def test_an_edit_below_others_is_not_undone(core):
    await core.append("persona", "b")
    await core.append("persona", "c")
    with pytest.raises(RequestError, match=r"edit 2 .* can't be undone: 3 came after it"):
        await core.undo("persona", by="user", number=2)
    for number in (0, 1, 9):
        with pytest.raises(RequestError, match=f"no edit {number}"):
            await core.undo("persona", by="user", number=number)
    await core.undo("persona", by="user")
    with pytest.raises(RequestError, match=r"edit 3 .* does not count"):
        await core.undo("persona", by="user", number=3)


async def test_agents_share_a_block(records, core):
    made = await core.create("team", "we", shared_id="crew")
    assert (made.id, made.shared) == ("crew", True)
    bob = Core(records, {}, by=agent_author("bob"))
    assert (await bob.attach("all of us", "crew")).label == "all of us"
    await bob.append("all of us", "are two")
    assert (await core.get("team")).value == "we\nare two"
    assert [edit.by for edit in await core.log("team")] == [ANN, "agent bob"]
    assert await shared_blocks(records) == ["crew"]
    with pytest.raises(RequestError, match="already"):
        await bob.create("x", "", shared_id="crew")
    with pytest.raises(UnknownName, match="Did you mean 'crew'"):
        await bob.attach("x", "crow")
    bob.detach("all of us")
    assert bob.ids == {}
    assert (await core.get("team")).value == "we\nare two"


async def test_a_block_of_a_transaction_is_there_at_its_end(records):
    core = Core(records, {}, by=ANN)
    async with records.transaction() as tx:
        block = await core.create("human", "a", tx=tx)
        tx.put("agents/ann", {"blocks": core.ids})
        assert await records.get("agents/ann") is None
    assert block.version == -1
    assert (await core.get("human")).value == "a"
    assert (await core.append("human", "b")).value == "a\nb"


async def test_edits_at_the_same_time_are_all_done(records, core):
    bob = Core(records, core.ids, by=agent_author("bob"))
    await core.change("human", limit=1000)
    await asyncio.gather(
        *(one.append("human", f"{number}") for number in range(10) for one in (core, bob))
    )
    lines = (await core.get("human")).value.splitlines()
    assert sorted(lines) == sorted(str(number) for number in range(10) for _ in range(2))
    log = await core.log("human")
    assert [edit.before for edit in log[1:]] == [edit.after for edit in log[:-1]]


EDITING = """
import asyncio, sys
from llmgate import storage
from llmgate.memory.core import Core

async def main(url, name, times):
    async with await storage.open(url) as records:
        core = Core(records, {"team": "crew"}, by=f"agent {name}")
        print("ready", flush=True)
        for number in range(int(times)):
            await core.append("team", f"{name} {number}", call=f"{number}")
            print(number, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


def editor(url, name, times):
    return subprocess.Popen(
        [sys.executable, "-c", EDITING, url, name, str(times)], stdout=subprocess.PIPE, text=True
    )


async def test_two_processes_that_share_a_block_lose_no_edit(durable_url):
    async with await storage.open(durable_url) as records:
        core = Core(records, {}, by="user")
        await core.create("team", "", limit=10_000, shared_id="crew")
        processes = [editor(durable_url, name, 15) for name in ("ann", "bob")]
        for process in processes:
            await asyncio.to_thread(process.communicate)
        assert [process.returncode for process in processes] == [0, 0]
        lines = (await core.get("team")).value.splitlines()
        assert sorted(lines) == sorted(f"{n} {i}" for n in ("ann", "bob") for i in range(15))
        assert len(await core.log("team")) == 31


async def test_a_killed_process_leaves_block_and_history_in_agreement(durable_url):
    async with await storage.open(durable_url) as records:
        core = Core(records, {}, by="user")
        await core.create("team", "", limit=10**6, shared_id="crew")
    for kill in range(5):
        process = editor(durable_url, f"ann{kill}", 10_000)
        assert process.stdout.readline() == "ready\n"
        await asyncio.sleep(0.02 * kill)
        os.kill(process.pid, signal.SIGKILL)
        said = process.communicate()[0].split()
        async with await storage.open(durable_url) as records:
            core = Core(records, {"team": "crew"}, by=f"agent ann{kill}")
            log = await core.log("team")
            value = (await core.get("team")).value
            assert value == log[-1].after
            assert [edit.before for edit in log[1:]] == [edit.after for edit in log[:-1]]
            done = [edit.call for edit in log if edit.by == f"agent ann{kill}"]
            # The last ones may have been done without having been said.
            assert done[: len(said)] == said
            # What is done again after a crash is done once.
            for call in done:
                await core.append("team", f"ann{kill} {call}", call=call)
            assert (await core.get("team")).value == value
            assert len(await core.log("team")) == len(log)
