"""Killed writers, full disks, torn files, several processes: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import sqlite3
import stat
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks import storage_crash
from llmgate import storage
from llmgate.errors import Conflict, StorageError, StoreBusy, StoreCorrupt, StoreFull
from llmgate.storage.batch import Append, Put, StoredLine
from llmgate.storage.files import engine as file_engine
from llmgate.storage.files.lock import Lock


@pytest.mark.parametrize("engine", ["sqlite", "file"])
def test_fifty_kills_lose_nothing(engine, tmp_path):
    context = storage_crash.context()

    def ten_kills(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        url = storage_crash.url_of(engine, folder)
        return [storage_crash.kill(url, 10 * number + kill, context) for kill in range(10)]

    # What takes time is waiting for the disk, so several stores are killed at a time.
    with ThreadPoolExecutor(5) as pool:
        kills = [kill for ten in pool.map(ten_kills, range(5)) for kill in ten]
    assert [problem for _, problems in kills for problem in problems] == []
    assert len(kills) == 50
    assert sum(len(said) for said, _ in kills) > 50


def count_up(url, times):
    async def run():
        async with await storage.open(url) as records:
            for _ in range(times):
                while True:
                    try:
                        async with records.transaction() as changes:
                            found = await changes.get("count")
                            changes.put("count", found.value + 1 if found else 1)
                        break
                    except Conflict:
                        continue
                await records.append("log", os.getpid(), os.getpid())

    asyncio.run(run())


async def test_processes_that_share_a_store_lose_no_update(durable_url):
    context = storage_crash.context()
    processes = [context.Process(target=count_up, args=(durable_url, 6)) for _ in range(8)]
    async with await storage.open(durable_url) as records:
        await records.put("own", 1)
        await records.keys()
        for process in processes:
            process.start()
        for process in processes:
            await asyncio.to_thread(process.join)
        assert [process.exitcode for process in processes] == [0] * 8
        assert (await records.get("count")).value == 48
        assert await records.keys() == ["count", "own"]
        values = [entry.value for entry in await records.read("log")]
        assert len(values) == 96
        assert values[::2] == values[1::2]
        assert (await records.health()).ok


async def test_two_that_share_a_store_see_each_others_changes(durable_url):
    async with await storage.open(durable_url) as one, await storage.open(durable_url) as two:
        for number in range(5):
            await one.put(f"a{number}", number)
            await one.append("log", number)
            assert (await two.get(f"a{number}")).value == number
            assert await two.keys() == await one.keys()
            assert await two.end("log") == number + 1
            await two.append("other", number)
            assert (await one.search("other", "")).total == number + 1
        await two.drop("log")
        assert await one.end("log") == 0
        assert await one.append("log", "new") == (1,)
        assert [entry.value for entry in await two.read("log")] == ["new"]
        await two.backup()
        await one.put("behind the backup", 1)
        assert "behind the backup" in await two.keys()


async def test_what_was_written_is_there_after_opening_again(durable_url):
    async with await storage.open(durable_url) as records:
        version = await records.put("a", {"x": [1]})
        await records.append("log", "one word", "two")
        before = await records.read("log")
    async with await storage.open(durable_url) as records:
        assert await records.get("a") == storage.Document("a", {"x": [1]}, version)
        assert await records.read("log") == before
        assert (await records.search("log", "word")).total == 1
        assert await records.put("a", 2) > version
        assert await records.append("log", "three") == (3,)


async def test_a_full_disk_is_said_and_loses_nothing(durable_url):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with await storage.open(durable_url) as records:
        await records.put("first", 1)
        stored, entries = [], 0
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
        try:
            with pytest.raises(StorageError, match=r"space|full|too large") as caught:  # noqa: PT012
                for number in range(100):
                    async with records.transaction() as changes:
                        changes.put(f"d{number}", "x" * 15_000)
                        await changes.append("log", number, "y" * 5_000)
                    stored.append(f"d{number}")
                    entries += 2
            assert not isinstance(caught.value, Conflict)
            assert stored
            assert await records.keys("d") == sorted(stored)
            assert await records.end("log") == entries
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await records.put("after", 1)
    async with await storage.open(durable_url) as records:
        assert await records.keys("d") == sorted(stored)
        assert await records.end("log") == entries
        assert (await records.get("after")).value == 1
        assert (await records.health()).ok


@pytest.fixture
async def folder(tmp_path):
    """A file store that was killed: everything is in the journal, and applied."""
    place = tmp_path / "store"
    records = await storage.open(f"file:{place}")
    for number in range(5):
        await records.put("a", number)
        await records.append("log", number, "x" * number)
    copy = tmp_path / "killed"
    shutil.copytree(place, copy)
    await records.close()
    return copy


async def all_of(url):
    async with await storage.open(url) as records:
        entries = [entry.value for entry in await records.read("log")]
        document = await records.get("a")
        return document and document.value, entries


async def test_a_journal_cut_anywhere_leaves_whole_changes(folder, tmp_path):
    journal = (folder / "journal.jsonl").read_bytes()
    states = []
    values = [value for number in range(5) for value in (number, "x" * number)]
    header = journal.index(b"\n") + 1
    for length in [*range(header, len(journal), 41), len(journal)]:
        place = tmp_path / f"cut{length}"
        shutil.copytree(folder, place)
        # As after a loss of power: the files were not flushed, the journal only so far.
        shutil.rmtree(place / "data")
        (place / "journal.jsonl").write_bytes(journal[:length])
        document, entries = await all_of(f"file:{place}")
        assert entries == values[: len(entries)]
        assert len(entries) % 2 == 0
        assert document is None or document in (len(entries) // 2, len(entries) // 2 - 1)
        states.append(len(entries))
    assert states == sorted(states)
    assert (states[0], states[-1]) == (0, 10)


@pytest.mark.parametrize("damage", ["torn", "zeros", "missing", "longer", "written halfway"])
async def test_files_that_were_not_flushed_are_made_again_from_the_journal(folder, damage):
    log, document = folder / "data/log.jsonl", folder / "data/a.json"
    data = log.read_bytes()
    if damage == "torn":
        log.write_bytes(data[:-7])
        document.write_bytes(b"")
    elif damage == "zeros":
        log.write_bytes(bytes(len(data)))
        document.write_bytes(bytes(10))
    elif damage == "missing":
        log.unlink()
        document.unlink()
    elif damage == "longer":
        log.write_bytes(data + b'{"position": 11, "at"')
    else:
        (folder / "lock").write_bytes(b"W{}")
        (folder / "new" / "0").write_bytes(b"half")
        log.write_bytes(data[: len(data) // 2])
    document, entries = await all_of(f"file:{folder}")
    assert document == 4
    assert entries == [value for number in range(5) for value in (number, "x" * number)]


async def test_a_torn_last_line_of_a_log_is_cut_off_kept_and_said(folder):
    await all_of(f"file:{folder}")  # everything is flushed now
    log = folder / "data/log.jsonl"
    log.write_bytes(log.read_bytes()[:-3])
    async with await storage.open(f"file:{folder}") as records:
        assert await records.end("log") == 9
        health = await records.health()
        assert health.ok
        assert "cut off" in health.repaired[0]
        assert await records.append("log", "next") == (10,)
    [kept] = (folder / "damaged").iterdir()
    assert kept.read_bytes().startswith(b'{"position":10')


async def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(folder):
    await all_of(f"file:{folder}")
    log = folder / "data/log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    lines[3] = b"{broken}\n"
    log.write_bytes(b"".join(lines))
    async with await storage.open(f"file:{folder}") as records:
        with pytest.raises(StoreCorrupt, match="line 4"):
            await records.read("log")
        assert not (await records.health()).ok


async def test_a_damaged_record_in_the_middle_of_the_journal_is_not_passed_over(folder):
    journal = folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"log", b"lag")
    journal.write_bytes(b"".join(lines))
    with pytest.raises(StoreCorrupt, match=r"journal\.jsonl is damaged at byte"):
        await storage.open(f"file:{folder}")


async def test_a_damaged_document_is_an_error_that_names_its_file(folder):
    await all_of(f"file:{folder}")
    (folder / "data/a.json").write_text("{}")
    async with await storage.open(f"file:{folder}") as records:
        with pytest.raises(StoreCorrupt, match=r"a\.json"):
            await records.get("a")
        health = await records.health()
        assert "a.json" in health.problems[0]


async def test_a_damaged_database_is_an_error(tmp_path):
    path = tmp_path / "a.db"
    async with await storage.open(f"sqlite:{path}") as records:
        await records.append("log", *(f"entry {number}" for number in range(2000)))
    data = bytearray(path.read_bytes())
    for start in range(4096, len(data) - 4096, 4096):
        data[start : start + 200] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(StoreCorrupt):
        async with await storage.open(f"sqlite:{path}") as records:
            await records.read("log", limit=5000)
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreCorrupt):
        await storage.open(f"sqlite:{path}")


async def test_a_store_that_is_held_names_the_holder(tmp_path):
    place = tmp_path / "store"
    async with await storage.open(f"file:{place}?busy_timeout=0.1") as records:
        holder = Lock(place / "lock", 1)
        with holder.held(), pytest.raises(StoreBusy, match=f"in use by process {os.getpid()} on "):
            await records.put("a", 1)
        holder.close()
        await records.put("a", 1)


async def test_a_database_that_is_held_says_so(tmp_path):
    path = tmp_path / "a.db"
    async with await storage.open(f"sqlite:{path}?busy_timeout=0.1") as records:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="another process"):
            await records.put("a", 1)
        assert await records.get("a") is None
        other.execute("COMMIT")
        other.close()
        await records.put("a", 1)


async def test_a_write_to_files_that_fails_halfway_is_taken_back(tmp_path, monkeypatch):
    async with await storage.open(f"file:{tmp_path}/store") as records:
        await records.put("a", 1)
        await records.append("log", "one")

        def full(*arguments):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(file_engine.Tree, "_written", full)
            with pytest.raises(StoreFull, match="No space left"):  # noqa: PT012
                async with records.transaction() as changes:
                    await changes.append("log", "two")
                    changes.put("a", 2)
                    changes.put("b", 2)
        assert (await records.get("a")).value == 1
        # Who opens it now does what the journal says.
        async with await storage.open(f"file:{tmp_path}/store") as other:
            assert await other.keys() == ["a"]
        assert await records.end("log") == 1
        assert await records.append("log", "next") == (2,)
        with monkeypatch.context() as patch:
            patch.setattr(file_engine.Tree, "finish", full)
            with pytest.raises(StoreFull):
                await records.put("a", 3)
        # What is in the journal counts: the next look has finished it.
        assert (await records.get("a")).value == 3
    assert await all_of(f"file:{tmp_path}/store") == (3, ["one", "next"])


async def test_what_a_process_died_over_is_finished_by_one_that_lives_on(tmp_path):
    url = f"file:{tmp_path}/store"

    class Died(BaseException):
        """Nothing of ours runs any more, as after a kill."""

    def die(*arguments):
        raise Died

    async with await storage.open(url) as living:
        await living.put("a", 1)
        await living.append("log", "one")
        assert await living.keys() == ["a"]
        for place, value in (("finish", 2), ("begin", 3)):
            dying = file_engine.Files(tmp_path / "store", file_engine.Options())
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(file_engine.Tree, place, die)
                line = StoredLine(0, b"2", None, "")
                change = (Put("a", b"%d" % value, None, None), Append("log", (line,)))
                with pytest.raises(Died):
                    dying.commit([(*change, Put(f"b{value}", b"1", None, None))], 0)
            assert (await living.get("a")).value == value
            assert await living.keys() == ["a", "b2", "b3"][:value]
            assert await living.end("log") == value
            dying.close()


async def test_a_journal_that_grows_is_flushed_and_begun_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(file_engine, "_LONGEST_JOURNAL", 1000)
    async with await storage.open(f"file:{tmp_path}/store") as records:
        for number in range(20):
            await records.put("a", "x" * 100 + str(number))
            await records.append("log", number)
        assert (tmp_path / "store/journal.jsonl").stat().st_size < 2000
    value, entries = await all_of(f"file:{tmp_path}/store")
    assert value.endswith("19")
    assert entries == list(range(20))


async def test_a_journal_that_is_gone_does_not_give_versions_again(tmp_path):
    place = tmp_path / "store"
    async with await storage.open(f"file:{place}") as records:
        version = await records.put("a", 1)
    (place / "journal.jsonl").unlink()
    async with await storage.open(f"file:{place}") as records:
        assert (await records.get("a")).version == version
        assert await records.put("a", 2) > version


async def test_files_can_be_read_by_people(tmp_path):
    place = tmp_path / "store"
    async with await storage.open(f"file:{place}?pretty=true") as records:
        await records.put("agents/Ann/state", {"step": 1})
        await records.append("agents/Ann/messages", {"content": "Grüße"})
    text = (place / "data/agents/%41nn/state.json").read_text("utf-8")
    assert json.loads(text)["value"] == {"step": 1}
    assert '\n  "key": "agents/Ann/state"' in text
    [line] = (place / "data/agents/%41nn/messages.jsonl").read_text("utf-8").splitlines()
    assert "Grüße" in line
    assert json.loads(line)["position"] == 1
    names = [path.relative_to(place) for path in place.rglob("*")]
    assert len({str(name).lower() for name in names}) == len(names)
    assert not list((place / "new").iterdir())


async def test_no_name_leaves_the_folder(tmp_path):
    place = tmp_path / "inner" / "store"
    async with await storage.open(f"file:{place}") as records:
        for name in ("../../x", "/abs", "..", "a/../../../../y", "~/z", "\\\\host\\share"):
            await records.put(name, 1)
            await records.append(name, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]
    assert [path.name for path in (tmp_path / "inner").iterdir()] == ["store"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX says who may read what")
@pytest.mark.parametrize("scheme", ["sqlite", "file"])
async def test_nobody_else_can_read_what_is_stored(tmp_path, scheme):
    home = tmp_path / "new" / "llmgate"
    async with await storage.open(f"{scheme}:{home / 'store'}") as records:
        await records.put("agents/ann", {"secret": 1})
        await records.backup(home / "copy")
    for made in ("store", "copy"):
        assert stat.S_IMODE((home / made).stat().st_mode) & 0o077 == 0
