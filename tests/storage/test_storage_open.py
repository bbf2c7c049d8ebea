"""URLs, parameters, schema numbers, engines of other packages, the rows of backups."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llmgate import config, storage
from llmgate.errors import ConfigError, NewerStore, StorageError, StoreCorrupt, UnknownName
from llmgate.storage import memory, sqlite_schema
from llmgate.storage.files import copies


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "not a storage URL"),
        ("store.db", "not a storage URL"),
        ("sqlit:a.db", "Did you mean 'sqlite'"),
        ("redis://host/0", "unknown storage engine 'redis'"),
        ("sqlite:", "needs a path"),
        ("file:?pretty=1", "needs a path"),
        ("C:\\store.db", "path of Windows"),
        ("sqlite://store.db", "sqlite:store.db for a relative path"),
        ("sqlite:a.db?busy_timeot=1", "Did you mean 'busy_timeout'"),
        ("sqlite:a.db?busy_timeout=soon", "'busy_timeout' of sqlite: storage is 'soon'"),
        ("sqlite:a.db?busy_timeout=0", "'busy_timeout' of sqlite: storage is '0'"),
        ("sqlite:a.db?backups=1&backups=2", "'backups' is there twice"),
        ("file:a?prety=1", "Did you mean 'pretty'"),
        ("file:a?pretty=perhaps", "'pretty' of file: storage is 'perhaps'"),
        ("memory:?size=1", "unknown parameter 'size'"),
    ],
)
async def test_a_bad_url_says_what_is_wrong(url, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        await storage.open(url)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:a.db", "a.db"),
        ("sqlite:///tmp/a.db", "/tmp/a.db"),
        ("sqlite:/tmp/a.db", "/tmp/a.db"),
        ("SQLITE:a%20b%3F.db?backups=2", "a b?.db"),
        ("file://localhost/tmp/a", "/tmp/a"),
    ],
)
def test_a_url_names_a_path(url, path):
    assert storage.Url.parse(url).path() == Path(path)


def test_a_home_folder_is_found(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    assert storage.Url.parse("file:~/store").path() == Path("/home/ann/store")


def test_the_environment_goes_over_the_file_and_both_over_the_default():
    settings = config.parse('[storage]\nurl = "file:x"', Path("/a/llmgate.toml"))
    assert config.storage_url(settings, {}) == "file:x"
    assert config.storage_url(settings, {"LLMGATE_STORAGE_URL": "memory:"}) == "memory:"
    default = config.storage_url(config.Settings(), {"XDG_DATA_HOME": "/data of ann"})
    assert storage.Url.parse(default).path().name == "llmgate.db"
    with pytest.raises(ConfigError, match="storage"):
        config.parse('[storage]\npath = "x"', Path("/a/llmgate.toml"))


async def test_another_package_can_bring_an_engine(monkeypatch):
    entry = importlib.metadata.EntryPoint(
        "mine", "llmgate.storage.memory:open_url", "llmgate.storage"
    )

    def entry_points(group):
        return (entry,) if group == "llmgate.storage" else ()

    monkeypatch.setattr("llmgate.registry.entry_points", entry_points)
    assert storage.engines() == ["file", "memory", "mine", "sqlite"]
    async with await storage.open("mine:") as records:
        assert await records.put("a", 1) == 1
    with pytest.raises(UnknownName, match="Did you mean 'mine'"):
        await storage.open("mines:")


async def test_a_newer_store_is_refused_and_left_alone(tmp_path):
    database, folder = tmp_path / "a.db", tmp_path / "store"
    for url in (f"sqlite:{database}", f"file:{folder}"):
        async with await storage.open(url) as records:
            await records.put("a", 1)
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    (folder / "store.json").write_text('{"format": "llmgate file store", "schema": 99}')
    before = database.read_bytes(), (folder / "journal.jsonl").read_bytes()
    for url in (f"sqlite:{database}", f"file:{folder}"):
        with pytest.raises(NewerStore, match="has schema 99, and this llmgate knows"):
            await storage.open(url)
    assert before == (database.read_bytes(), (folder / "journal.jsonl").read_bytes())


async def test_an_older_database_is_saved_and_migrated(tmp_path, monkeypatch):
    path = tmp_path / "a.db"
    async with await storage.open(f"sqlite:{path}") as records:
        await records.put("a", 1)
    monkeypatch.setattr(sqlite_schema, "SCHEMA", 3)
    steps = {
        1: lambda db: db.execute("ALTER TABLE documents ADD COLUMN colour TEXT"),
        2: lambda db: db.execute("UPDATE documents SET colour = 'red'"),
    }
    monkeypatch.setattr(sqlite_schema, "MIGRATIONS", steps)
    for _ in range(2):
        async with await storage.open(f"sqlite:{path}") as records:
            assert (await records.get("a")).value == 1
            assert (await records.stats()).schema == 3
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT colour FROM documents").fetchall() == [("red",)]
    assert len(list((tmp_path / "a.db.backups").iterdir())) == 1


async def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.db"
    async with await storage.open(f"sqlite:{path}") as records:
        await records.put("a", 1)

    def broken(db):
        db.execute("DROP TABLE documents")
        db.execute("nonsense")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_schema, "SCHEMA", 2)
        patch.setattr(sqlite_schema, "MIGRATIONS", {1: broken})
        with pytest.raises(Exception, match="nonsense"):
            await storage.open(f"sqlite:{path}")
    async with await storage.open(f"sqlite:{path}") as records:
        assert (await records.get("a")).value == 1


async def test_an_older_folder_is_saved_and_migrated(tmp_path, monkeypatch):
    place = tmp_path / "store"
    async with await storage.open(f"file:{place}") as records:
        await records.put("a", 1)
    monkeypatch.setattr(copies, "SCHEMA", 2)
    monkeypatch.setattr(copies, "MIGRATIONS", {1: lambda folder: (folder / "new.txt").touch()})
    for _ in range(2):
        async with await storage.open(f"file:{place}") as records:
            assert (await records.get("a")).value == 1
    assert json.loads((place / "store.json").read_text())["schema"] == 2
    assert (place / "new.txt").exists()
    assert len(list((tmp_path / "store.backups").iterdir())) == 1


async def test_what_is_not_ours_is_left_alone(tmp_path):
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (a)")
    db.close()
    with pytest.raises(StoreCorrupt, match="another program"):
        await storage.open(f"sqlite:{path}")
    with pytest.raises(StoreCorrupt, match=r"not a store: it has 'theirs\.db'"):
        await storage.open(f"file:{tmp_path}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["theirs.db"]


async def test_backups_beside_the_store_are_kept_in_a_row(durable_url):
    async with await storage.open(f"{durable_url}?backups=2") as records:
        paths = []
        for number in range(4):
            await records.put("a", number)
            paths.append(await records.backup())
        assert [path.exists() for path in paths] == [False, False, True, True]
        await records.restore(paths[2])
        assert (await records.get("a")).value == 2


async def test_a_backup_is_a_store_itself(durable_url, tmp_path):
    async with await storage.open(durable_url) as records:
        await records.put("a", 1)
        path = await records.backup(tmp_path / "copy")
    async with await storage.open(f"{durable_url.partition(':')[0]}:{path}") as records:
        assert (await records.get("a")).value == 1


async def test_a_backup_of_another_engine_is_refused(tmp_path):
    async with (
        await storage.open(f"sqlite:{tmp_path}/a.db") as one,
        await storage.open(f"file:{tmp_path}/b") as two,
        await storage.open("memory:") as three,
    ):
        backups = [await records.backup() for records in (one, two)]
        backups.append(await three.backup(tmp_path / "c.json"))
        for records, path in ((one, backups[2]), (two, backups[0]), (three, backups[0])):
            with pytest.raises(StorageError):
                await records.restore(path)


async def test_without_an_index_of_texts_every_search_still_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite_schema, "_INDEX", "CREATE VIRTUAL TABLE texts USING nothing(x)")
    async with await storage.open(f"sqlite:{tmp_path}/a.db") as records:
        await records.append("log", "An apple", "a pear", "東京 apple")
        assert (await records.search("log", "apple")).total == 2
        assert (await records.search("log", "京")).total == 1
        await records.drop("log")
        assert (await records.search("log", "apple")).total == 0
        assert (await records.health()).ok


async def test_documents_whose_time_is_over_are_taken_away(durable_url):
    async with await storage.open(durable_url) as records:
        await records.put("gone", "x" * 1000, expires=datetime.now(UTC) - timedelta(days=1))
        await records.put("stays", 1)
    async with await storage.open(durable_url) as records:
        await records.put("stays", 2)
        assert await records.keys() == ["stays"]
    path = storage.Url.parse(durable_url).path()
    if path.is_dir():
        assert not list(path.rglob("gone*"))
    else:
        db = sqlite3.connect(path)
        assert db.execute("SELECT count(*) FROM documents").fetchone() == (1,)
        db.close()


async def test_a_memory_store_restores_only_its_own(tmp_path):
    records = await memory.open_url(storage.Url.parse("memory:"))
    path = tmp_path / "x.json"
    path.write_text("{}")
    with pytest.raises(StoreCorrupt, match="not a backup"):
        await records.restore(path)
    await records.close()
