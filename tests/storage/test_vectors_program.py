"""`llmgate storage --vectors`: the same looks and copies for passages."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner

from llmgate.cli import main
from llmgate.errors import StorageError
from llmgate.storage import copying_vectors
from llmgate.storage.copying_vectors import migrate_vectors
from llmgate.storage.passages import Passage
from llmgate.storage.vectors import open_vector_store


def run(*arguments, **environment):
    return CliRunner().invoke(main, ["storage", *arguments], env=environment)


@pytest.fixture
def url(tmp_path):
    """A store with something in it."""

    async def fill():
        async with await open_vector_store(found) as store:
            own, book = await store.open("agent/ann"), await store.open("source/book\x1b[31m")
            await own.insert_many([Passage("a", embedding=(1, 2)), Passage("b")])
            await book.insert(Passage("c"))

    found = f"sqlite:{tmp_path}/vectors.db"
    # In a thread: some of the tests have a loop of their own.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, fill()).result()
    return found


def test_the_program_looks_at_passages(url):
    assert run("health", "--vectors", "--url", url).output == "ok\n"
    stats = json.loads(run("stats", "--vectors", "--json", LLMGATE_VECTORS_URL=url).output)
    assert (stats["collections"], stats["passages"], stats["vectors"]) == (2, 3, 1)
    assert "passages    3" in run("stats", "--vectors", "--url", url).output
    assert run("ls", "--vectors", "--url", url).output == (
        "collection agent/ann  (2)\ncollection source/book\\x1b[31m  (1)\n"
    )
    [line] = run("ls", "source/", "--vectors", "--json", "--url", url).output.splitlines()
    assert json.loads(line) == {
        "kind": "collection",
        "name": "source/book\x1b[31m",
        "entries": 1,
    }


def test_the_program_backs_passages_up_and_restores_them(url, tmp_path):
    path = run("backup", str(tmp_path / "copy"), "--vectors", "--url", url).output.strip()
    assert path == str(tmp_path / "copy")
    assert ".backups" in run("backup", "--vectors", "--url", url).output
    restored = run("restore", path, "--vectors", "--url", url)
    assert "restored 3 passages of 2 collections" in restored.output
    assert "is kept in" in restored.stderr
    fresh = f"{url}2"
    assert run("restore", path, "--vectors", "--url", fresh).exit_code == 0
    listed = [run("ls", "--vectors", "--url", one).output for one in (url, fresh)]
    assert listed[0] == listed[1]


def test_the_program_moves_passages(url, tmp_path):
    target = f"sqlite:{tmp_path}/target.db"
    for _ in range(2):
        done = run("migrate", url, target, "--vectors")
        assert done.output == "3 passages of 2 collections are the same in both\n"
    listed = [run("ls", "--vectors", "--url", one).output for one in (url, target)]
    assert listed[0] == listed[1]
    back = run("migrate", target, f"sqlite:{tmp_path}/vectors.db2", "--vectors")
    assert back.exit_code == 0


async def test_a_target_with_other_passages_is_refused(url, tmp_path):
    async with (
        await open_vector_store(url) as old,
        await open_vector_store(f"sqlite:{tmp_path}/target.db") as new,
    ):
        await (await new.open("agent/ann")).insert(Passage("other"))
        with pytest.raises(StorageError, match="'agent/ann' has 2 passages, and 3 came"):
            await migrate_vectors(old, new)
        await (await new.open("agent/bob")).insert(Passage("other"))
        with pytest.raises(StorageError, match="not empty: it has 'agent/bob'"):
            await migrate_vectors(old, new)


async def test_an_interrupted_move_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(copying_vectors, "_TOGETHER", 7)
    async with await open_vector_store("memory:") as old, await open_vector_store("memory:") as new:
        archive = await old.open("a", metric="dot")
        await archive.insert_many(
            Passage(f"word {n}", embedding=(n, 0.1), doc_id="d", metadata={"b": n, "a": [n]})
            for n in range(40)
        )

        def interrupt(number):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await migrate_vectors(old, new, interrupt)
        assert await (await new.open("a")).size() == 7
        seen = []
        found = await migrate_vectors(old, new, seen.append)
        assert found.passages == 40
        assert sum(seen) == 120
        assert [page async for page in (await new.open("a")).all()] == [
            page async for page in archive.all()
        ]
        assert await (await new.open("a")).query((1, 0), "word") == await archive.query(
            (1, 0), "word"
        )


def test_the_program_says_what_is_wrong_with_passages(url, tmp_path):
    with sqlite3.connect(tmp_path / "vectors.db") as db:
        db.execute("DELETE FROM passages WHERE text = 'a'")
    db.close()
    done = run("health", "--vectors", "--url", url)
    assert done.exit_code == 1
    assert "'agent/ann' has 1 passages and 2 texts in its index" in done.output
    # Passages are no records.
    assert "a store of passages" in run("stats", "--url", url).stderr


def test_the_program_makes_no_store_of_passages_only_to_look_at_it(tmp_path):
    for words in (["stats"], ["ls"], ["health"], ["backup"]):
        done = run(*words, "--vectors", "--url", f"sqlite:{tmp_path}/none.db")
        assert done.exit_code == 1
        assert "no store yet" in done.stderr
    assert not list(tmp_path.iterdir())
