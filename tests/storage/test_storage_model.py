"""Every engine against a model that is simple enough to be right."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgate import storage
from llmgate.errors import Conflict
from llmgate.storage import Line
from llmgate.storage.encoding import fold
from llmgate.storage.files.names import is_long, name_of, path_of

NAMES = st.sampled_from(["a", "a/b", "A", "a.json", "../a", "b", "é", "x" * 250])
TEXTS = st.text(st.sampled_from("abcABC 東京éß\0\n"), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
EXPECTED = st.sampled_from(["any", "none", "right", "wrong"])
EXPIRES = st.sampled_from([None, None, timedelta(hours=-1), timedelta(hours=1)])
CHANGES = (
    st.tuples(st.just("put"), NAMES, VALUES, EXPECTED, EXPIRES)
    | st.tuples(st.just("delete"), NAMES, EXPECTED)
    | st.tuples(st.just("append"), NAMES, st.lists(TEXTS, max_size=3))
    | st.tuples(st.just("drop"), NAMES)
)
STEPS = st.lists(
    CHANGES
    | st.tuples(st.just("transaction"), st.lists(CHANGES, min_size=1, max_size=4))
    | st.tuples(st.just("search"), NAMES, TEXTS, st.booleans(), st.integers(0, 4))
    | st.tuples(st.just("reopen"))
    | st.tuples(st.just("backup")),
    max_size=12,
)


class Model:
    """What a store should be: key → (value, version), log → texts."""

    def __init__(self):
        self.documents = {}
        self.logs = {}

    def copy(self):
        new = Model()
        new.documents = dict(self.documents)
        new.logs = {name: list(texts) for name, texts in self.logs.items()}
        return new

    def version(self, key):
        return self.documents[key][1] if key in self.documents else 0

    def expected(self, key, kind):
        return {
            "any": None,
            "none": 0,
            "right": self.version(key),
            "wrong": self.version(key) + 1000,
        }[kind]

    def change(self, change, version):
        """Play one change; False if it must conflict."""
        match change:
            case ("put", key, value, expected, expires):
                if self.expected(key, expected) not in (None, self.version(key)):
                    return False
                self.documents[key] = (value, version)
                if expires is not None and expires < timedelta(0):
                    del self.documents[key]
            case ("delete", key, expected):
                if self.expected(key, expected) not in (None, self.version(key)):
                    return False
                self.documents.pop(key, None)
            case ("append", log, texts):
                if texts:
                    self.logs.setdefault(log, []).extend(texts)
            case ("drop", log):
                self.logs.pop(log, None)
        return True


async def apply(target, change, model):
    match change:
        case ("put", key, value, expected, expires):
            return target.put(key, value, expected=model.expected(key, expected), expires=expires)
        case ("delete", key, expected):
            return target.delete(key, expected=model.expected(key, expected))
        case ("append", log, texts):
            return await target.append(log, *(Line(text, at=datetime.now(UTC)) for text in texts))
        case ("drop", log):
            return target.drop(log)


async def compare(records, model):
    assert await records.keys() == sorted(model.documents)
    for key, (value, version) in model.documents.items():
        found = await records.get(key)
        assert found.value == value
        assert version in (None, found.version)
    assert await records.logs() == sorted(model.logs)
    for log, texts in model.logs.items():
        assert [entry.value for entry in await records.read(log)] == texts


async def play(url, folder, steps):
    records, model, saved = await storage.open(url), Model(), None
    for number, step in enumerate(steps):
        match step:
            case ("reopen",):
                if url != "memory:":
                    await records.close()
                    records = await storage.open(url)
            case ("backup",):
                if saved is None:
                    saved = await records.backup(folder / f"backup{number}"), model.copy()
                else:
                    await records.restore(saved[0])
                    model = saved[1].copy()
            case ("search", log, text, reverse, limit):
                words = fold(text).split()
                found = [
                    position
                    for position, entry in enumerate(model.logs.get(log, []), 1)
                    if all(word in fold(entry) for word in words)
                ]
                page = await records.search(log, text, reverse=reverse, limit=limit)
                assert page.total == len(found)
                wanted = (found[::-1] if reverse else found)[:limit]
                assert [entry.position for entry in page.entries] == wanted
            case ("transaction", changes):
                # A second change of a key can't name the version that the first will give it.
                seen, changes_left = set(), []
                for change in changes:
                    if change[0] in ("put", "delete"):
                        if change[1] in seen:
                            continue
                        seen.add(change[1])
                    changes_left.append(change)
                after = model.copy()
                fits = all(after.change(change, None) for change in changes_left)
                try:
                    async with records.transaction() as transaction:
                        for change in changes_left:
                            await apply(transaction, change, model)
                except Conflict:
                    assert not fits
                else:
                    assert fits
                    model = after
                    for key in model.documents:
                        value, _ = model.documents[key]
                        model.documents[key] = value, (await records.get(key)).version
            case change:
                after = model.copy()
                try:
                    result = await apply(records, change, model)
                    if change[0] != "append":
                        result = await result
                except Conflict:
                    assert not after.change(change, None)
                else:
                    assert after.change(change, result)
                    model = after
        await compare(records, model)
    assert (await records.health()).ok
    await records.close()


@pytest.mark.parametrize("engine", ["sqlite", "file", "memory"])
def test_any_history_is_as_in_the_model(engine):
    @settings(max_examples=20)
    @given(STEPS)
    def run(steps):
        with tempfile.TemporaryDirectory() as folder:
            url = {"sqlite": f"sqlite:{folder}/a.db", "file": f"file:{folder}/a"}
            asyncio.run(play(url.get(engine, "memory:"), Path(folder), steps))

    run()


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_path_says_its_name_and_nothing_else_says_the_same(name):
    path = path_of(name)
    assert not path.is_absolute()
    assert not set(path.parts) & {".", ".."}
    assert all(set(part) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-%") for part in path.parts)
    assert is_long(path) or name_of(path) == name
    assert len(str(path)) <= 200
