"""Moving a store to another engine, and `llmgate storage`."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from llmgate import storage
from llmgate.cli import main
from llmgate.errors import StorageError
from llmgate.storage import Line, copying

SOON = timedelta(seconds=30)


async def fill(records):
    async with records.transaction() as changes:
        for number in range(1200):
            changes.put(f"documents/{number}", {"n": number, "text": "é\0"})
    await records.put("large", "x" * 5_000_000)
    await records.put("larger", "y" * 5_000_000)
    await records.put("expires", 1, expires=datetime(2999, 1, 1, tzinfo=UTC))
    await records.put("expires soon", 1, expires=SOON)
    lines = [Line({"n": number}, text=f"word {number}") for number in range(2500)]
    await records.append("logs/long", *lines)
    await records.append("../odd", 1, None, "three")


def engines(tmp_path):
    return {
        "sqlite": f"sqlite:{tmp_path}/x.db",
        "file": f"file:{tmp_path}/x",
        "memory": "memory:",
    }


@pytest.mark.parametrize(
    ("source", "target"),
    [("sqlite", "file"), ("file", "sqlite"), ("memory", "file"), ("sqlite", "memory")],
)
async def test_everything_moves_to_another_engine(source, target, tmp_path):
    urls = engines(tmp_path)
    heard = []
    async with await storage.open(urls[source]) as old, await storage.open(urls[target]) as new:
        await fill(old)
        found = await copying.migrate(old, new, "old", heard.append)
        assert (found.documents, found.entries) == (1203, 2503)
        assert sum(heard) >= 3 * (1203 + 2503)
        assert await new.keys(limit=5000) == await old.keys(limit=5000)
        assert await new.read("logs/long", limit=5000) == await old.read("logs/long", limit=5000)
        assert await new.read("../odd") == await old.read("../odd")
        assert (await new.search("logs/long", "word 2499")).total == 1
        assert (await new.get("expires")).expires == (await old.get("expires")).expires


class Interrupted(Exception):
    pass


async def test_what_was_interrupted_goes_on_where_it_was(tmp_path):
    urls = engines(tmp_path)
    async with await storage.open(urls["memory"]) as old:
        await fill(old)
        tries = 0
        while True:
            left = 1500

            def stop(number):
                nonlocal left
                left -= number
                if left < 0:
                    raise Interrupted

            tries += 1
            async with await storage.open(urls["file"]) as new:
                try:
                    await copying.migrate(old, new, "old", stop if tries < 4 else lambda n: None)
                except Interrupted:
                    continue
                break
        assert tries == 4
        async with await storage.open(urls["file"]) as new:
            assert await new.keys(limit=5000) == await old.keys(limit=5000)
            assert await new.end("logs/long") == 2500


async def test_a_target_with_other_things_in_it_is_refused():
    async with await storage.open("memory:") as old, await storage.open("memory:") as new:
        await new.append("log", 1)
        with pytest.raises(StorageError, match="not empty"):
            await copying.migrate(old, new, "old")


async def test_a_migration_from_elsewhere_is_not_mixed_in():
    async with await storage.open("memory:") as old, await storage.open("memory:") as new:
        await new.put(copying.PROGRESS, {"source": "another", "after": "k"})
        with pytest.raises(StorageError, match="from another into this store"):
            await copying.migrate(old, new, "old")


@pytest.mark.parametrize("change", ["value", "new", "log", "entry"])
async def test_a_copy_that_is_not_the_same_is_noticed(change, monkeypatch):
    async with await storage.open("memory:") as old, await storage.open("memory:") as new:
        await old.put("a", 1)
        await old.append("log", 1)
        original = copying.digest

        async def digest(records, now, watch):
            if records is old:  # both were copied, and are compared from here on
                await {
                    "value": lambda: new.put("a", 2),
                    "new": lambda: new.put("b", 2),
                    "log": lambda: new.append("log2", 2),
                    "entry": lambda: old.append("log", 2),
                }[change]()
            return await original(records, now, watch)

        monkeypatch.setattr(copying, "digest", digest)
        with pytest.raises(StorageError, match="not the same"):
            await copying.migrate(old, new, "old")
        assert await new.get(copying.PROGRESS)


def run(*arguments, **environment):
    return CliRunner().invoke(main, ["storage", *arguments], env=environment)


@pytest.fixture(params=["sqlite", "file"])
def url(request, tmp_path):
    """A store with something in it."""

    async def fill():
        async with await storage.open(found) as records:
            await records.put("agents/ann/state", 1)
            await records.put("a\x1b[31m", 1)
            await records.append("agents/ann/messages", 1, 2, 3)

    found = engines(tmp_path)[request.param]
    asyncio.run(fill())
    return found


def test_the_program_looks_at_a_store(url):
    assert run("health", "--url", url).output == "ok\n"
    assert json.loads(run("health", "--url", url, "--json").output)["ok"] is True
    stats = json.loads(run("stats", "--json", LLMGATE_STORAGE_URL=url).output)
    assert (stats["documents"], stats["logs"], stats["entries"]) == (2, 1, 3)
    assert "documents   2" in run("stats", "--url", url).output
    assert run("ls", "--url", url).output == (
        "document  a\\x1b[31m\ndocument  agents/ann/state\nlog       agents/ann/messages  (3)\n"
    )
    lines = run("ls", "agents/", "--url", url, "--json").output.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["document", "log"]


def test_the_program_backs_up_and_restores(url, tmp_path):
    path = run("backup", str(tmp_path / "copy"), "--url", url).output.strip()
    assert path == str(tmp_path / "copy")
    assert ".backups" in run("backup", "--url", url).output
    restored = run("restore", path, "--url", url)
    assert "restored 2 documents and 3 entries of 1 logs" in restored.output
    assert "is kept in" in restored.stderr
    fresh = f"{url}2"
    assert run("restore", path, "--url", fresh).exit_code == 0
    assert run("ls", "--url", fresh).output == run("ls", "--url", url).output


def test_the_program_migrates(url, tmp_path):
    target = f"file:{tmp_path}/target"
    done = run("migrate", url, target)
    assert done.output == "2 documents and 3 entries of 1 logs are the same in both\n"
    again = run("migrate", url, target)
    assert again.exit_code == 1
    assert "not empty" in again.stderr


def test_the_program_says_what_is_wrong(url, tmp_path):
    path = storage.Url.parse(url).path()
    if path.is_dir():
        (path / "data/agents/ann/state.json").write_text("{")
    else:
        db = sqlite3.connect(path)
        db.execute("UPDATE documents SET value = '{' WHERE key LIKE 'agents%'")
        db.commit()
        db.close()
    done = run("health", "--url", url)
    assert done.exit_code == 1
    assert "1 problems" in done.output
    assert "state" in done.output


def test_the_program_makes_no_store_only_to_look_at_it(tmp_path):
    for words in (["stats"], ["ls"], ["health"], ["backup"]):
        done = run(*words, "--url", f"sqlite:{tmp_path}/none.db")
        assert done.exit_code == 1
        assert "no store yet" in done.stderr
    assert run("stats", "--url", "sqlit:x").exit_code == 2
    assert not list(tmp_path.iterdir())
