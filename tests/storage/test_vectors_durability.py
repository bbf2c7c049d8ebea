"""Killed writers, full disks, damaged matrices, several processes: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from benchmarks import vectors_crash
from llmgate import storage
from llmgate.errors import MissingPackage, NewerStore, StorageError, StoreBusy, StoreCorrupt
from llmgate.storage import matrix, sqlite_vector_schema, sqlite_vector_writing
from llmgate.storage.passages import Passage
from llmgate.storage.vectors import open_vector_store, open_vectors


@pytest.fixture
def url(tmp_path):
    return f"sqlite:{tmp_path}/vectors.db"


@pytest.fixture
def small_matrices(monkeypatch):
    """Matrices are written as soon as there is a handful of vectors."""
    monkeypatch.setattr(matrix, "_FEWEST", 5)


def matrices(tmp_path):
    return sorted((tmp_path / "vectors.db.matrices").glob("*.matrix"))


def passages(first, last):
    chance = np.random.default_rng(first)
    return [
        Passage(f"word {n}", f"{n}", tuple(chance.standard_normal(6).astype(np.float32).tolist()))
        for n in range(first, last)
    ]


async def is_exact(archive):
    """Whether searches find what a plain computation over everything stored finds."""
    stored = [one async for page in archive.all() for one in page]
    vectors = np.array([one.embedding for one in stored])
    for query in np.random.default_rng(5).standard_normal((5, 6)):
        cosines = vectors @ query / np.linalg.norm(vectors, axis=1)
        wanted = [stored[place].id for place in np.argsort(-cosines, kind="stable")[:10]]
        if [hit.passage.id for hit in await archive.query(query)] != wanted:
            return False
    return True


def test_fifty_kills_lose_nothing(tmp_path):
    context = vectors_crash.context()

    def ten_kills(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        url = f"sqlite:{folder}/vectors.db"
        return [vectors_crash.kill(url, 10 * number + kill, context) for kill in range(10)]

    with ThreadPoolExecutor(5) as pool:
        kills = [kill for ten in pool.map(ten_kills, range(5)) for kill in ten]
    assert [problem for _, problems in kills for problem in problems] == []
    assert len(kills) == 50
    assert sum(len(said) for said, _ in kills) > 50


async def test_what_was_written_is_there_after_opening_again(url, tmp_path, small_matrices):
    async with await open_vectors(url, collection="a") as archive:
        await archive.insert_many(passages(0, 30))
        await archive.query(np.ones(6))
        await archive.insert_many(passages(30, 33))
        await archive.delete("3", "31")
        before = [page async for page in archive.all()]
        hits = await archive.query(np.ones(6), "word 7")
    assert len(matrices(tmp_path)) == 1
    async with await open_vectors(url, collection="a") as archive:
        assert [page async for page in archive.all()] == before
        assert await archive.query(np.ones(6), "word 7") == hits
        assert await is_exact(archive)


@pytest.mark.parametrize(
    "damage",
    ["torn", "empty", "longer", "zeros", "header", "ids", "missing", "not ours", "not readable"],
)
async def test_a_damaged_matrix_is_made_anew(url, tmp_path, small_matrices, damage):
    async with await open_vectors(url, collection="a") as archive:
        await archive.insert_many(passages(0, 40))
        assert await is_exact(archive)
    [path] = matrices(tmp_path)
    data = path.read_bytes()
    if damage == "torn":
        path.write_bytes(data[:-7])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "longer":
        path.write_bytes(data + b"x")
    elif damage == "zeros":
        path.write_bytes(bytes(len(data)))
    elif damage == "header":
        path.write_bytes(data.replace(b'"rows":40', b'"rows":41'))
    elif damage == "ids":
        path.write_bytes(data[:4096] + bytes(80) + data[4176:])
    elif damage == "missing":
        shutil.rmtree(path.parent)
    elif damage == "not ours":
        path.write_bytes(b"something else" * 1000)
    else:
        path.unlink()
        path.mkdir()
    async with await open_vectors(url, collection="a") as archive:
        assert await is_exact(archive)
        assert (await archive.health()).ok
        await archive.insert_many(passages(40, 60))
        assert await is_exact(archive)


async def test_a_matrix_with_other_numbers_is_found_by_health_and_mended(
    url, tmp_path, small_matrices
):
    async with await open_vectors(url, collection="a") as archive:
        await archive.insert_many(passages(0, 100))
        assert await is_exact(archive)
    [path] = matrices(tmp_path)
    data = bytearray(path.read_bytes())
    at = 4096 + 16 * 100 + 24 * 50
    data[at : at + 24] = np.full(6, 9, np.float32).tobytes()
    path.write_bytes(data)
    async with await open_vectors(url, collection="a") as archive:
        health = await archive.health()
        assert health.ok
        assert health.repaired == ("the matrix of 'a' was damaged and made anew",)
        assert await is_exact(archive)
        assert (await archive.health()).repaired == ()


async def test_a_matrix_of_another_file_is_not_trusted(url, tmp_path, small_matrices):
    path = tmp_path / "vectors.db"
    async with await open_vectors(url, collection="a") as archive:
        await archive.insert_many(passages(0, 20))
    shutil.copy(path, tmp_path / "old.db")
    async with await open_vectors(url, collection="a") as archive:
        await archive.delete(*(f"{n}" for n in range(10)))
        await archive.insert_many(passages(100, 150))
        assert await is_exact(archive)
    # Somebody puts an older file back by hand, and goes on with it.
    shutil.copy(tmp_path / "old.db", path)
    async with await open_vectors(url, collection="a") as archive:
        assert await is_exact(archive)
        await archive.insert_many(passages(300, 400))
        assert await is_exact(archive)


async def test_a_restored_backup_is_searched_not_what_was_there_before(
    url, tmp_path, small_matrices
):
    async with await open_vector_store(url) as store, await open_vector_store(url) as other:
        archive, beside = await store.open("a"), await other.open("a")
        await archive.insert_many(passages(0, 20))
        path = await store.backup()
        assert path.parent.name == "vectors.db.backups"
        await archive.delete("1", "2", "3")
        await archive.insert_many(passages(50, 90))
        assert await is_exact(archive)
        assert await is_exact(beside)
        await store.restore(path)
        await archive.insert_many(passages(200, 220))
        assert await is_exact(archive)
        assert await is_exact(beside)
        assert await archive.size() == 40


async def test_two_that_share_a_store_see_each_others_changes(url, small_matrices):
    async with await open_vector_store(url) as store, await open_vector_store(url) as other:
        one, two = await store.open("a"), await other.open("a")
        for step in range(6):
            await one.insert_many(passages(100 * step, 100 * step + 15))
            await two.delete(f"{100 * step + 3}", f"{100 * step + 4}")
            assert await is_exact(one)
            assert await is_exact(two)
            assert await one.size(text="word") == await two.size() == 13 * (step + 1)
        await two.insert(Passage("word 0", "0", (9, 9, 9, 9, 9, 9)))
        assert (await one.query((1, 1, 1, 1, 1, 1)))[0].passage.id == "0"
        assert await store.drop("a") == 78
        assert await two.query((1, 1, 1, 1, 1, 1), "word") == ()
        await two.insert(Passage("new", embedding=(1, 2)))
        assert [hit.passage.text for hit in await one.query((1, 2))] == ["new"]


async def test_removals_that_are_no_longer_listed_are_not_missed(url, monkeypatch, small_matrices):
    monkeypatch.setattr(sqlite_vector_writing, "_REMEMBERED", 8)
    async with await open_vector_store(url) as store, await open_vector_store(url) as other:
        one, two = await store.open("a"), await other.open("a")
        await (await store.open("b")).insert_many(passages(0, 10))
        await one.insert_many(passages(0, 60))
        assert await is_exact(one)
        assert await is_exact(two)
        for number in range(40):
            await one.delete(f"{number}")
        assert await is_exact(two)
        assert await is_exact(one)
        assert await is_exact(await other.open("b"))
        await one.delete("50")
        assert await is_exact(two)


def write_many(url, number):
    async def run():
        async with await open_vectors(url, collection="a") as archive:
            for step in range(6):
                await archive.insert_many(
                    Passage(f"word {number} {step} {part}", embedding=(number, step, part, 1, 1, 1))
                    for part in range(3)
                )
                await archive.insert(Passage("shared", "shared", (1, 1, 1, 1, 1, 1)))
                await archive.query((1, 2, 3, 4, 5, 6), "word")

    asyncio.run(run())


async def test_processes_that_share_a_store_lose_nothing(url):
    context = vectors_crash.context()
    processes = [context.Process(target=write_many, args=(url, number)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.join)
    assert [process.exitcode for process in processes] == [0] * 8
    async with await open_vectors(url, collection="a") as archive:
        assert await archive.size() == 8 * 18 + 1
        assert await archive.size(text="word") == 144
        assert len(await archive.query((1, 1, 1, 1, 1, 1), top_k=500)) == 145
        assert (await archive.health()).ok


async def test_a_full_disk_is_said_and_loses_nothing(url, small_matrices):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with await open_vectors(url, collection="a") as archive:
        await archive.insert_many(passages(0, 3))
        stored = {"0", "1", "2"}
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
        try:
            with pytest.raises(StorageError, match=r"space|full|too large"):  # noqa: PT012
                for number in range(1000, 4000, 3):
                    names = await archive.insert_many(
                        Passage("word " * 500, f"{n}", (1, 2, 3, 4, 5, n))
                        for n in range(number, number + 3)
                    )
                    stored |= set(names)
            assert len(stored) > 3
            listed = {one.id async for page in archive.all() for one in page}
            assert listed == stored
            assert await archive.size(text="word") == len(stored)
            await archive.query((1, 2, 3, 4, 5, 6))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await archive.insert(Passage("after"))
    async with await open_vectors(url, collection="a") as archive:
        assert await archive.size() == len(stored) + 1
        assert (await archive.health()).ok


async def test_a_matrix_that_can_not_be_written_is_said_and_missed_by_nobody(
    url, tmp_path, small_matrices
):
    (tmp_path / "vectors.db.matrices").write_text("in the way")
    async with await open_vectors(url, collection="a") as archive:
        await archive.insert_many(passages(0, 30))
        assert await is_exact(archive)
        health = await archive.health()
        assert "can't write" in health.problems[0]
        await archive.insert_many(passages(30, 60))
        assert await is_exact(archive)


async def test_matrices_of_collections_that_are_gone_are_removed(url, tmp_path, small_matrices):
    async with await open_vector_store(url) as store:
        for name in ("a", "b"):
            archive = await store.open(name)
            await archive.insert_many(passages(0, 20))
            await archive.query(np.ones(6))
        assert len(matrices(tmp_path)) == 2
        await store.drop("a")
        assert len(matrices(tmp_path)) == 1
    unfinished = matrices(tmp_path)[0].with_name("77-1.matrix.new")
    unfinished.write_bytes(b"x")
    async with await open_vector_store(url) as store:
        assert await is_exact(await store.open("b"))
    assert not unfinished.exists()


async def test_older_matrices_are_removed_as_the_store_grows(url, tmp_path, small_matrices):
    async with await open_vectors(url, collection="a") as archive:
        for step in range(8):
            await archive.insert_many(passages(100 * step, 100 * step + 40))
            assert await is_exact(archive)
            assert len(matrices(tmp_path)) == 1
        await archive.delete(*(f"{100 * step + n}" for step in range(6) for n in range(40)))
        assert await is_exact(archive)
        assert matrices(tmp_path)[0].stat().st_size == 4096 + 80 * (16 + 24)


async def test_a_store_that_is_held_says_so(tmp_path):
    path = tmp_path / "a.db"
    async with await open_vectors(f"sqlite:{path}?busy_timeout=0.1", collection="a") as archive:
        await archive.insert(Passage("a"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="another process"):
            await archive.insert(Passage("b"))
        assert await archive.size() == 1
        other.execute("COMMIT")
        other.close()
        await archive.insert(Passage("b"))


async def test_stores_of_another_kind_are_refused_and_left_as_they_are(tmp_path):
    path = tmp_path / "a.db"
    async with await storage.open(f"sqlite:{path}") as records:
        await records.put("a", 1)
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="a store of records, not of passages"):
        await open_vector_store(f"sqlite:{path}")
    assert path.read_bytes() == before
    async with await open_vectors(f"sqlite:{tmp_path}/v.db", collection="a") as archive:
        await archive.insert(Passage("a"))
    with pytest.raises(StoreCorrupt, match="a store of passages, not of records"):
        await storage.open(f"sqlite:{tmp_path}/v.db")
    (tmp_path / "text").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreCorrupt):
        await open_vector_store(f"sqlite:{tmp_path}/text")


async def test_a_newer_store_is_refused(tmp_path):
    path = tmp_path / "a.db"
    async with await open_vectors(f"sqlite:{path}", collection="a") as archive:
        await archive.insert(Passage("a"))
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(NewerStore, match="has schema 99, and this llmgate knows schemas up to 1"):
        await open_vector_store(f"sqlite:{path}")


async def test_without_an_index_of_words_every_text_is_looked_at(url, monkeypatch):
    monkeypatch.setattr(
        sqlite_vector_schema, "_INDEX", "CREATE VIRTUAL TABLE {name} USING not_there(text)"
    )
    async with await open_vectors(url, collection="a") as archive:
        await archive.insert_many(
            [
                Passage("Ann has a dog", metadata={"n": 1}),
                Passage("a dog and a quokka", embedding=(1, 1)),
                Passage("世界 without any"),
            ]
        )
        texts = [hit.passage.text for hit in await archive.query(text="Quokka dog")]
        assert texts == ["a dog and a quokka", "Ann has a dog"]
        assert await archive.size(text="dog") == 2
        assert await archive.size({"n": 1}, text="dog") == 1
        assert (await archive.query((1, 1), "dog"))[0].passage.text == "a dog and a quokka"
        assert [hit.passage.text for hit in await archive.query(text="世界")] == [
            "世界 without any"
        ]
        await archive.delete((await archive.query(text="quokka"))[0].passage.id)
        assert await archive.query(text="quokka") == ()
        assert (await archive.health()).ok
    monkeypatch.undo()
    async with await open_vectors(url, collection="a") as archive:
        assert await archive.size(text="dog") == 1


async def test_without_numpy_words_are_found_and_vectors_kept(url, monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    async with await open_vectors(url, collection="a") as archive:
        await archive.insert(Passage("a dog", "1", (1.0, 2.0)))
        assert (await archive.get("1")).embedding == (1.0, 2.0)
        assert len(await archive.query(text="dog")) == 1
        assert (await archive.health()).ok
        with pytest.raises(MissingPackage, match=r"llmgate\[memory\]"):
            await archive.query((1.0, 2.0))
    monkeypatch.undo()
    async with await open_vectors(url, collection="a") as archive:
        assert (await archive.query((1.0, 2.0)))[0].score == pytest.approx(1)


async def test_words_that_most_of_a_small_collection_has_count_little_beside_a_large_one(url):
    async with await open_vector_store(url) as store:
        await (await store.open("large")).insert_many(Passage(f"the page {n}") for n in range(500))
        small = await store.open("small")
        await small.insert_many(Passage(f"the cat number {n}") for n in range(40))
        await small.insert(Passage("the quokka"))
        assert await small.size(text="the quokka") == 1


async def test_health_finds_what_does_not_belong_together(url, tmp_path):
    async with await open_vectors(url, collection="a") as archive:
        await archive.insert_many(passages(0, 5))
    with sqlite3.connect(tmp_path / "vectors.db") as db:
        db.execute("DELETE FROM passages WHERE name = '1'")
        db.execute("UPDATE vectors SET vector = x'00' WHERE id = 3")
    db.close()
    async with await open_vectors(url, collection="a") as archive:
        problems = "\n".join((await archive.health()).problems)
    assert "'a' has 4 passages and 5 texts in its index" in problems
    assert "1 vectors of no passage" in problems
    assert "1 vectors of another dimension" in problems


async def test_files_of_a_store_lie_beside_it(url, tmp_path, small_matrices):
    async with await open_vectors(url, collection="../../x") as archive:
        await archive.insert_many(passages(0, 20))
        await archive.query(np.ones(6))
        store_bytes = sum(
            path.stat().st_size
            for path in tmp_path.rglob("*")
            if path.is_file() and path.name.startswith(("vectors.db", "1-"))
        )
    assert {path.name for path in tmp_path.iterdir()} == {"vectors.db", "vectors.db.matrices"}
    async with await open_vector_store(url) as store:
        stats = await store.stats()
        assert (stats.engine, stats.location) == ("sqlite", f"{tmp_path}/vectors.db")
        assert 0 < stats.bytes <= 2 * store_bytes
    assert os.listdir(tmp_path / "vectors.db.matrices")
