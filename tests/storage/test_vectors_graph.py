"""Above some hundred thousand vectors a graph finds the candidates: nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from llmgate.storage import graph
from llmgate.storage.passages import Passage
from llmgate.storage.sqlite_file import Options
from llmgate.storage.sqlite_vectors import SqliteVectors

MANY = 1500


@pytest.fixture(autouse=True)
def _graphs_of_small_collections(monkeypatch):
    monkeypatch.setattr(graph, "FEWEST", 500)


@pytest.fixture
def open_engine(tmp_path):
    opened = []

    def open_it(path=tmp_path / "vectors.db"):
        opened.append(SqliteVectors(path, Options()))
        return opened[-1]

    yield open_it
    for engine in opened:
        engine.close()


def vectors(count, seed=1):
    # In heaps, as texts are.
    chance = np.random.default_rng(seed)
    heaps = np.random.default_rng(0).standard_normal((50, 32))
    return (
        heaps[chance.integers(0, 50, count)] + 0.6 * chance.standard_normal((count, 32))
    ).astype(np.float32)


def insert(engine, rows, first=0, metric="cosine"):
    engine.insert(
        "a", None, metric, [Passage(f"{n}", f"{n}", row) for n, row in enumerate(rows, first)]
    )


def recall(engine, rows, gone=frozenset(), metric="cosine"):
    """How many of the ten nearest are found, and whether their order is exact."""
    found = asked = 0
    for query in vectors(40, 99):
        if metric == "euclidean":
            scores = -np.linalg.norm(rows - query, axis=1)
        else:
            scores = rows @ query
            scores = scores / np.linalg.norm(rows, axis=1) if metric == "cosine" else scores
        wanted = [str(n) for n in np.argsort(-scores) if str(n) not in gone][:10]
        hits = engine.query("a", query, None, 10, None)
        names = [hit.passage.id for hit in hits]
        assert len(names) == len(set(names)) == 10
        assert not gone & set(names)
        ranked = [hit.score for hit in hits]
        assert ranked == sorted(ranked, reverse=True)
        found += len(set(wanted) & set(names))
        asked += 10
    return found / asked


def used(engine):
    """Whether there is a graph by now, when all that is being built is there."""
    engine.query("a", vectors(1)[0], None, 1, None)
    engine._nearest.wait()
    [one] = engine._nearest._graphs.values()
    return one._ready is not None


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_the_nearest_are_found_by_a_graph(open_engine, metric):
    engine, rows = open_engine(None), vectors(MANY)
    insert(engine, rows, metric=metric)
    assert used(engine)
    assert recall(engine, rows, metric=metric) >= 0.98


def test_small_collections_have_no_graph(open_engine):
    engine, rows = open_engine(), vectors(450)
    insert(engine, rows)
    assert not used(engine)
    assert recall(engine, rows) == 1


def test_what_comes_and_goes_after_it_was_built_is_seen_at_once(open_engine):
    engine, rows = open_engine(), vectors(MANY)
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


def test_it_grows_with_the_collection_and_is_built_anew_when_much_is_gone(open_engine):
    engine, rows = open_engine(), vectors(MANY)
    insert(engine, rows)
    assert used(engine)
    more = vectors(MANY, 3)
    insert(engine, more, MANY)
    assert used(engine)
    [one] = engine._nearest._graphs.values()
    assert len(one._ready[0]) == 2 * MANY
    gone = {str(n) for n in range(0, 2 * MANY, 2)}
    engine.delete("a", sorted(gone))
    assert used(engine)
    assert len(one._ready[0]) == MANY
    assert recall(engine, np.concatenate([rows, more]), gone) >= 0.98


def test_it_is_kept_in_a_file(open_engine, tmp_path, monkeypatch):
    rows = vectors(MANY)
    engine = open_engine()
    insert(engine, rows)
    assert used(engine)
    engine.close()
    [path] = (tmp_path / "vectors.db.matrices").glob("*.graph")

    added = []
    plain = graph._new

    def counting(frozen):
        index = plain(frozen)
        monkeypatch.setattr(index, "add", lambda *a, **k: added.append(a))
        return index

    monkeypatch.setattr(graph, "_new", counting)
    engine = open_engine()
    assert used(engine)
    assert added == []
    assert recall(engine, rows) >= 0.98
    engine.close()
    monkeypatch.undo()
    monkeypatch.setattr(graph, "FEWEST", 500)
    # A torn file never gets to usearch.
    path.write_bytes(path.read_bytes()[:-1000])
    engine = open_engine()
    assert used(engine)
    assert recall(engine, rows) >= 0.98
    assert [one.name for one in path.parent.glob("*.graph")] == [path.name]


def test_a_graph_that_does_not_find_enough_is_not_used(open_engine, monkeypatch):
    monkeypatch.setattr(graph, "_EXPANSIONS", (1,))
    monkeypatch.setattr(graph, "_CANDIDATES", 11)
    monkeypatch.setattr(graph, "_CONNECTIVITY", 2)
    monkeypatch.setattr(graph, "_EXPANSION_ADD", 2)
    engine = open_engine()
    rows = np.random.default_rng(4).standard_normal((MANY, 32)).astype(np.float32)
    insert(engine, rows)
    assert not used(engine)
    assert recall(engine, rows) == 1


def test_a_restored_store_has_its_own(open_engine, tmp_path):
    engine, rows = open_engine(), vectors(MANY)
    insert(engine, rows)
    copy = engine.backup(tmp_path / "copy.db")
    assert used(engine)
    engine.drop("a")
    insert(engine, vectors(MANY, 8))
    assert used(engine)
    engine.restore(copy)
    assert used(engine)
    assert recall(engine, rows) >= 0.98


def test_without_usearch_every_vector_is_looked_at(open_engine, monkeypatch):
    monkeypatch.setattr(graph, "_is_installed", lambda: False)
    engine, rows = open_engine(), vectors(MANY)
    insert(engine, rows)
    assert not used(engine)
    assert recall(engine, rows) == 1
