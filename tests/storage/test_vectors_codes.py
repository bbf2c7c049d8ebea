"""Above some ten thousand vectors their signs tell the candidates: nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from llmgate.storage import codes
from llmgate.storage.passages import Passage
from llmgate.storage.sqlite_file import Options
from llmgate.storage.sqlite_vectors import SqliteVectors

MANY = 2500
# No multiple of 64, nor of 8.
DIMENSION = 203


@pytest.fixture(autouse=True)
def _codes_of_small_collections(monkeypatch):
    monkeypatch.setattr(codes, "FEWEST", 1000)
    monkeypatch.setattr(codes, "_CANDIDATES", (100, 200, 400))


@pytest.fixture
def engine():
    opened = SqliteVectors(None, Options())
    yield opened
    opened.close()


def vectors(count, seed=1, dimension=DIMENSION):
    # In heaps that all lie on one side, as those of many models do.
    chance, heaps = np.random.default_rng(seed), np.random.default_rng(0)
    middles = 1.5 + heaps.standard_normal((50, dimension))
    rows = middles[chance.integers(0, 50, count)]
    return (rows + 0.6 * chance.standard_normal((count, dimension))).astype(np.float32)


def insert(engine, rows, first=0, metric="cosine"):
    passages = [Passage(f"{n}", f"{n}", row) for n, row in enumerate(rows, first)]
    engine.insert("a", None, metric, passages)


def used(engine):
    """Whether there are codes by now, when all that is being built is there."""
    engine.query("a", vectors(1)[0], None, 1, None)
    engine._nearest.wait()
    [one] = engine._nearest._codes.values()
    return one._built is not None


def looked_at(engine, monkeypatch):
    """How many vectors a search is ranked of; None for all."""
    counts = []
    [matrix] = engine._nearest._matrices.values()
    ranked = matrix.ranked
    monkeypatch.setattr(
        matrix, "ranked", lambda q, places, n: counts.append(len(places)) or ranked(q, places, n)
    )
    engine.query("a", vectors(1)[0], None, 10, None)
    return counts[0] if counts else None


def recall(engine, rows, gone=frozenset()):
    """How many of the ten nearest are found; that their order is exact."""
    found = 0
    scaled = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for query in vectors(40, 99):
        scores = scaled @ query
        wanted = [str(n) for n in np.argsort(-scores) if str(n) not in gone][:10]
        hits = engine.query("a", query, None, 10, None)
        names = [hit.passage.id for hit in hits]
        assert len(names) == len(set(names)) == 10
        assert not gone & set(names)
        assert names == sorted(names, key=lambda name: -scores[int(name)])
        found += len(set(wanted) & set(names))
    return found / 400


def test_the_nearest_are_found_among_few_candidates(engine, monkeypatch):
    rows = vectors(MANY)
    insert(engine, rows)
    assert used(engine)
    assert recall(engine, rows) >= 0.98
    assert looked_at(engine, monkeypatch) < MANY // 4


@pytest.mark.parametrize(
    ("count", "dimension", "metric"),
    [(900, DIMENSION, "cosine"), (MANY, 60, "cosine"), (MANY, DIMENSION, "dot")],
)
def test_there_are_none_for_few_or_short_vectors_or_other_metrics(engine, count, dimension, metric):
    insert(engine, vectors(count, dimension=dimension), metric=metric)
    engine.query("a", vectors(1, dimension=dimension)[0], None, 1, None)
    engine._nearest.wait()
    [one] = engine._nearest._codes.values()
    assert one._built is None


def test_what_comes_and_goes_after_they_were_made_is_seen_at_once(engine, monkeypatch):
    rows = vectors(MANY)
    insert(engine, rows)
    assert used(engine)
    more = vectors(150, 2)
    insert(engine, more, MANY)
    gone = {str(n) for n in range(0, MANY + 150, 13)}
    engine.delete("a", sorted(gone))
    assert recall(engine, np.concatenate([rows, more]), gone) >= 0.98
    [best] = engine.query("a", more[5], None, 1, None)
    assert best.passage.id == str(MANY + 5)
    engine.insert("a", None, None, [Passage("7", "7", more[6])])
    two = engine.query("a", more[6], None, 2, None)
    assert {hit.passage.id for hit in two} == {"7", str(MANY + 6)}
    assert looked_at(engine, monkeypatch) is not None


def test_they_are_made_anew_when_much_has_come_or_gone(engine):
    rows, more = vectors(MANY), vectors(MANY, 3)
    insert(engine, rows)
    assert used(engine)
    insert(engine, more, MANY)
    assert used(engine)
    [one] = engine._nearest._codes.values()
    assert len(one._built.ids) == 2 * MANY
    gone = {str(n) for n in range(0, 2 * MANY, 2)}
    engine.delete("a", sorted(gone))
    assert used(engine)
    assert len(one._built.ids) == MANY
    assert recall(engine, np.concatenate([rows, more]), gone) >= 0.98


def test_those_that_do_not_find_enough_are_not_used(engine, monkeypatch):
    # What tells them apart is in a few of their numbers: most signs say nothing.
    rows = np.random.default_rng(4).standard_normal((MANY, DIMENSION)).astype(np.float32)
    rows[:, 2:] *= 0.01
    insert(engine, rows)
    assert not used(engine)
    assert looked_at(engine, monkeypatch) is None
    assert recall(engine, rows) == 1


def test_many_results_and_filters_are_ranked_of_all_vectors(engine, monkeypatch):
    rows = vectors(MANY)
    insert(engine, rows)
    assert used(engine)
    query = vectors(1, 5)[0]
    every = engine.query("a", query, None, MANY, None)
    assert len(every) == MANY
    filtered = engine.query("a", query, None, 10, {"doc_id": [None]})
    assert [hit.passage.id for hit in filtered] == [hit.passage.id for hit in every[:10]]


def test_equal_vectors_are_no_trouble(engine):
    rows = np.repeat(vectors(5), MANY // 5, axis=0)
    insert(engine, rows)
    used(engine)
    hits = engine.query("a", rows[0], None, 20, None)
    assert [hit.passage.id for hit in hits] == [str(n) for n in range(20)]


def test_a_restored_or_dropped_store_has_its_own(engine, tmp_path):
    rows = vectors(MANY)
    insert(engine, rows)
    copy = engine.backup(tmp_path / "copy.db")
    assert used(engine)
    engine.drop("a")
    insert(engine, vectors(MANY, 8))
    assert used(engine)
    engine.restore(copy)
    assert used(engine)
    assert recall(engine, rows) >= 0.98
