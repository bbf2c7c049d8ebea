"""What every engine for passages must do: the same tests for all of them."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest

from llmgate.errors import ConfigError, StorageError, UnknownName, Unstorable
from llmgate.storage.passages import Passage, Source
from llmgate.storage.vectors import engines, open_vector_store, open_vectors

ENGINES = ["sqlite", "memory"]
DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)

TEXTS = {
    "empty": "",
    "plain": "Ann has a dog called Rex.",
    "Unicode": "Grüße, 世界 🌍, עברית, हिन्दी",
    "combining characters": "e\u0301 é ﬁ",
    "a NUL byte": "a\0b\0",
    "control characters": "\x01\x1f\x7f\u2028\u2029\ufeff",
    "every plane": "\u0800\uffff\U00010000\U0010ffff",
    "quotes": "\"'`\\ %_*?; DROP TABLE passages; --",
    "operators": 'NOT AND OR NEAR("a" b) ^x {y} col:z -w (',
    "lines": "one\ntwo\r\nthree\rfour\x85five",
    "one long word": "x" * 100_000,
    "10 MB": "0123456789äöü " * 600_000,
}
NAMES = {
    "plain": "agent/ann",
    "up and out": "../../x",
    "absolute": "/etc/passwd",
    "slashes": "//",
    "spaces": "  a b  ",
    "capitals": "ABC/abc/Abc",
    "Unicode": "ünï/世界/🌍",
    "a NUL byte": "a\0b",
    "control characters": "\n\t\x7f",
    "long": "long/" * 3000,
    "the last character": "\U0010ffff\U0010ffff",
    "SQL": "'; DROP TABLE passages; --",
    "wildcards": "%_*?[a]",
}


@pytest.fixture(params=ENGINES)
async def store(request, tmp_path):
    url = {"sqlite": f"sqlite:{tmp_path}/vectors.db", "memory": "memory:"}[request.param]
    async with await open_vector_store(url) as opened:
        yield opened


@pytest.fixture
async def archive(store):
    return await store.open("agent/ann")


async def texts_of(archive, **how):
    return [passage.text async for page in archive.all(**how) for passage in page]


async def found(archive, *arguments, **how):
    return [hit.passage.text for hit in await archive.query(*arguments, **how)]


@pytest.mark.parametrize("name", TEXTS)
async def test_a_passage_comes_back_as_it_was(archive, name):
    passage = Passage(
        TEXTS[name],
        "an id",
        (0.5, -1.0, 0.25),
        "a/document.txt",
        {"page": 7, "tags": ["a", "ü\0"], "deep": {"x": [None, 1.5]}},
        DAY,
    )
    assert await archive.insert(passage) == "an id"
    assert await archive.get("an id") == passage
    [[listed]] = [page async for page in archive.all()]
    assert listed == passage
    [hit] = await archive.query((1, 0, 0))
    # Nobody who searches reads vectors, and they are most of what is stored.
    assert hit.passage == msgspec.structs.replace(passage, embedding=None)


async def test_any_text_can_be_an_id_a_document_or_a_collection(store):
    for number, name in enumerate(NAMES.values()):
        archive = await store.open(name)
        await archive.insert_many([Passage("one word", name, (number, 1), name, {name: name})])
    assert await store.collections() == sorted(NAMES.values())
    for number, name in enumerate(NAMES.values()):
        archive = await store.open(name)
        passage = await archive.get(name)
        assert (passage.id, passage.doc_id, passage.metadata) == (name, name, {name: name})
        assert passage.embedding == (number, 1)
        assert await archive.sources() == (Source(name, 1),)
        assert await archive.size({name: name, "doc_id": name}) == 1
        assert await found(archive, text="word") == ["one word"]
    for name in NAMES.values():
        assert await store.collections(name) == [name]
        assert await store.drop(name) == 1
    assert await store.collections() == []
    assert (await store.stats()).passages == 0


async def test_an_empty_collection_answers_empty(store, archive):
    assert await archive.size() == 0
    assert await archive.size({"a": 1}) == 0
    assert await archive.size(text="word") == 0
    assert await archive.get("x") is None
    assert await archive.delete("x") == 0
    assert await archive.query((1.0, 2.0), "word") == ()
    assert await archive.query((1.0, 2.0)) == ()
    assert await archive.query(text="word") == ()
    assert await archive.sources() == ()
    assert await archive.insert_many([]) == ()
    assert await texts_of(archive) == []
    stats = await archive.stats()
    assert (stats.passages, stats.vectors, stats.dimension) == (0, 0, None)
    # Looking leaves no trace.
    assert await store.collections() == []
    assert await store.drop("agent/ann") == 0


async def test_a_collection_that_was_emptied_answers_empty(archive):
    names = await archive.insert_many(Passage(f"word {n}", embedding=(n, 1)) for n in range(5))
    assert await archive.delete(*names) == 5
    assert await archive.query((1.0, 2.0), "word") == ()
    assert await archive.size() == 0
    assert await texts_of(archive) == []
    await archive.insert(Passage("word again", embedding=(1, 2)))
    assert await found(archive, (1.0, 2.0), "word") == ["word again"]


async def test_ids_come_from_the_document_and_the_text(archive):
    one = await archive.insert(Passage("same", doc_id="a"))
    assert await archive.insert(Passage("same", doc_id="b")) != one
    assert await archive.insert(Passage("other", doc_id="a")) != one
    assert await archive.insert(Passage("same")) != one
    assert await archive.insert(Passage("same", doc_id="a")) == one
    assert await archive.size() == 4


async def test_inserting_the_same_document_again_changes_nothing(archive):
    passages = [Passage(f"piece {n}", embedding=(n, 1.0), doc_id="book") for n in range(30)]
    first = await archive.insert_many(passages)
    before = [page async for page in archive.all()]
    assert await archive.insert_many(passages) == first
    assert await archive.insert_many(reversed(passages)) == first[::-1]
    assert [page async for page in archive.all()] == before
    assert await archive.sources() == (Source("book", 30),)
    stats = await archive.stats()
    assert (stats.passages, stats.vectors) == (30, 30)
    assert len(await archive.query((1, 1), top_k=100)) == 30
    assert len(await archive.query(text="piece", top_k=100)) == 30


async def test_a_passage_twice_in_one_call_is_stored_once(archive):
    names = await archive.insert_many([Passage("a"), Passage("b"), Passage("a")])
    assert names[0] == names[2]
    assert await texts_of(archive) == ["a", "b"]


async def test_an_id_with_another_text_is_refused(archive):
    await archive.insert(Passage("one", "id"))
    with pytest.raises(Unstorable, match=r"'id' is in 'agent/ann' already, with another text"):
        await archive.insert_many([Passage("two"), Passage("other", "id")])
    with pytest.raises(Unstorable, match="another document"):
        await archive.insert(Passage("one", "id", doc_id="d"))
    assert await texts_of(archive) == ["one"]


async def test_a_vector_can_come_later_and_be_another_one(archive):
    await archive.insert_many([Passage("a", "1", created_at=DAY), Passage("b", "2", (0, 1))])
    assert await found(archive, (1, 0)) == ["b"]
    await archive.insert(Passage("a", "1", (1, 0)))
    assert await found(archive, (1, 0)) == ["a", "b"]
    await archive.insert(Passage("b", "2", (5, 0)))
    await archive.insert(Passage("a", "1", (0, 5)))
    assert await found(archive, (1, 0)) == ["b", "a"]
    assert (await archive.get("1")).created_at == DAY
    assert (await archive.get("1")).embedding == (0, 5)
    # One that comes without leaves it.
    await archive.insert(Passage("a", "1"))
    assert (await archive.get("1")).embedding == (0, 5)
    assert await texts_of(archive) == ["a", "b"]


async def test_vectors_are_given_only_to_passages_that_are_there(archive):
    assert await archive.embed({"1": (1, 0)}) == 0
    await archive.insert_many([Passage("a", "1"), Passage("b", "2", metadata={"x": 1})])
    assert await archive.embed({"1": (1, 0), "2": (0, 1), "gone": (1, 1)}) == 2
    assert await texts_of(archive) == ["a", "b"]
    assert await found(archive, (0, 1)) == ["b", "a"]
    assert await archive.size({"x": 1}) == 1
    with pytest.raises(ConfigError, match="2 dimensions, and this one has 3"):
        await archive.embed({"1": (0, 1), "2": (1, 2, 3)})
    with pytest.raises(Unstorable, match="NaN"):
        await archive.embed({"1": (0, 1), "2": (math.nan, 1)})
    assert await found(archive, (0, 1)) == ["b", "a"]


async def test_new_metadata_takes_the_place_of_the_old(archive):
    await archive.insert(Passage("a", "1", metadata={"x": 1, "y": [2]}))
    await archive.insert(Passage("a", "1"))
    assert await archive.size({"x": 1, "y": 2}) == 1
    await archive.insert(Passage("a", "1", metadata={"x": 3}))
    assert (await archive.get("1")).metadata == {"x": 3}
    assert await archive.size({"x": 1}) == await archive.size({"y": 2}) == 0
    assert await archive.size({"x": 3}) == 1


async def test_the_first_vector_fixes_the_dimension(archive):
    await archive.insert(Passage("text only"))
    await archive.insert(Passage("a", embedding=(1, 2, 3)))
    assert (await archive.stats()).dimension == 3
    with pytest.raises(ConfigError, match=r"'agent/ann' have 3 dimensions, and this one has 2"):
        await archive.insert_many([Passage("b", embedding=(1, 2, 3)), Passage("c", "c", (1, 2))])
    with pytest.raises(ConfigError, match="3 dimensions, and this one has 4"):
        await archive.query((1, 2, 3, 4))
    assert await texts_of(archive) == ["text only", "a"]


async def test_opening_fixes_the_dimension_and_the_metric(store):
    archive = await store.open("a", dimension=3, metric="dot")
    with pytest.raises(ConfigError, match="3 dimensions, and this one has 2"):
        await archive.insert(Passage("x", embedding=(1, 2)))
    assert await store.collections() == []
    await archive.insert(Passage("x"))
    stats = await (await store.open("a")).stats()
    assert (stats.dimension, stats.metric) == (3, "dot")
    with pytest.raises(ConfigError, match="3 dimensions, and this one has 4"):
        await store.open("a", dimension=4)
    with pytest.raises(ConfigError, match="'a' is dot, and can't be cosine"):
        await store.open("a", metric="cosine")
    await store.open("a", dimension=3, metric="dot")


async def test_two_that_make_a_collection_differently_do_not_both(store):
    one, two = await store.open("a", metric="dot"), await store.open("a", metric="cosine")
    three = await store.open("a", dimension=5)
    await one.insert(Passage("x", embedding=(1, 2)))
    with pytest.raises(ConfigError, match="dot, and can't be cosine"):
        await two.insert(Passage("y"))
    with pytest.raises(ConfigError, match="2 dimensions, and this one has 5"):
        await three.insert(Passage("y"))
    assert await one.size() == 1


@pytest.mark.parametrize(("dimension", "metric"), [(0, None), (-1, None), (None, "manhattan")])
async def test_what_can_be_no_dimension_or_metric_is_refused(store, dimension, metric):
    with pytest.raises(ConfigError):
        await store.open("a", dimension=dimension, metric=metric)


@pytest.mark.parametrize(
    "vector",
    [(math.nan, 1), (1, math.inf), (), ("a", "b"), (1e39, 0), (None,), "text"],
    ids=["nan", "inf", "empty", "texts", "too large", "none", "a text"],
)
async def test_what_is_no_vector_is_refused(archive, vector):
    with pytest.raises(Unstorable, match="vector"):
        await archive.insert_many([Passage("a"), Passage("b", embedding=vector)])
    assert await archive.size() == 0
    await archive.insert(Passage("c", embedding=(1, 2)))
    with pytest.raises(Unstorable, match="vector"):
        await archive.query(vector)


@pytest.mark.parametrize(
    "passage",
    [
        Passage("\ud800"),
        Passage("a", "\udfff"),
        Passage("a", doc_id="\ud800"),
        Passage("a", metadata={"x": math.nan}),
        Passage("a", metadata={"x": object()}),
        Passage("a", metadata={"\ud800": 1}),
        Passage("a", metadata=[1]),
        Passage("a", created_at=datetime(2026, 1, 1)),
    ],
    ids=["text", "id", "document", "nan", "object", "key", "list", "no time zone"],
)
async def test_what_can_not_be_stored_is_refused_whole(archive, passage):
    with pytest.raises(Unstorable):
        await archive.insert_many([Passage("before"), passage])
    assert await archive.size() == 0


async def test_an_empty_collection_name_is_refused(store):
    with pytest.raises(Unstorable, match="collection can't be empty"):
        await store.open("")


async def test_arrays_of_numpy_are_vectors(archive):
    for kind in (np.float32, np.float64, np.float16, np.int64):
        await archive.insert(Passage(kind.__name__, embedding=np.array([3, 4], kind)))
    assert (await archive.query(np.array([3, 4], np.float32)))[0].score == pytest.approx(1)
    page = await anext(archive.all())
    assert [passage.embedding for passage in page] == [(3.0, 4.0)] * 4


@pytest.mark.parametrize(
    ("metric", "query", "order", "best"),
    [
        ("cosine", (1.0, 0.0), ["far", "near", "up", "back"], 1.0),
        ("dot", (1.0, 0.0), ["far", "near", "up", "back"], 10.0),
        ("euclidean", (1.0, 0.5), ["near", "up", "back", "far"], -0.5),
    ],
)
async def test_the_metric_says_what_is_near(store, metric, query, order, best):
    archive = await store.open("a", metric=metric)
    await archive.insert_many(
        [
            Passage("back", embedding=(-1.0, 0.0)),
            Passage("up", embedding=(0.0, 1.0)),
            Passage("far", embedding=(10.0, 0.0)),
            Passage("near", embedding=(1.0, 0.0)),
        ]
    )
    hits = await archive.query(query)
    assert [hit.passage.text for hit in hits] == order
    assert hits[0].score == hits[0].similarity == pytest.approx(best)
    assert [hit.relevance for hit in hits] == [None] * 4


async def test_a_vector_without_a_length_is_similar_to_none(archive):
    await archive.insert_many([Passage("zero", embedding=(0, 0)), Passage("a", embedding=(1, 0))])
    assert [hit.score for hit in await archive.query((1, 0))] == [1, 0]
    assert [hit.score for hit in await archive.query((0, 0))] == [0, 0]


async def test_very_small_and_very_large_numbers_are_compared(archive):
    await archive.insert_many(
        [Passage("large", embedding=(3e38, 3e38)), Passage("small", embedding=(1e-40, 0))]
    )
    hits = await archive.query((3e38, 0))
    assert [hit.passage.text for hit in hits] == ["small", "large"]
    assert hits[0].score == pytest.approx(1)
    assert hits[1].score == pytest.approx(math.sqrt(0.5))


async def test_infinite_products_are_no_error(store):
    for metric in ("dot", "euclidean"):
        archive = await store.open(metric, metric=metric)
        await archive.insert_many(
            [Passage("a", embedding=(3e38, -3e38)), Passage("b", embedding=(1, 1))]
        )
        assert len(await archive.query((3e38, 3e38))) == 2


async def test_the_nearest_are_exactly_those_of_a_plain_computation(archive):
    chance = np.random.default_rng(7)
    vectors = chance.standard_normal((700, 24), dtype=np.float32)
    await archive.insert_many(
        Passage(f"{n}", f"{n}", vector) for n, vector in enumerate(vectors[:400])
    )
    assert await archive.delete(*(str(n) for n in range(0, 400, 7)))
    await archive.insert_many(
        Passage(f"{n}", f"{n}", vector) for n, vector in enumerate(vectors[400:], 400)
    )
    kept = [n for n in range(700) if n >= 400 or n % 7]
    lengths = np.linalg.norm(vectors, axis=1)
    for query in chance.standard_normal((20, 24), dtype=np.float32):
        cosines = vectors @ query / lengths / np.linalg.norm(query)
        best = sorted(kept, key=lambda n: -cosines[n])[:15]
        hits = await archive.query(query, top_k=15)
        assert [hit.passage.id for hit in hits] == [str(n) for n in best]
        assert [hit.score for hit in hits] == pytest.approx([cosines[n] for n in best], abs=1e-5)


async def test_of_equals_the_first_inserted_comes_first(archive):
    await archive.insert_many(Passage(f"same {n}", embedding=(1, 1)) for n in range(50))
    assert await found(archive, (1, 1), top_k=5) == [f"same {n}" for n in range(5)]
    assert await found(archive, text="same", top_k=5) == [f"same {n}" for n in range(5)]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("dog", "Ann has a dog."),
        ("DOGS", "Ann has a dog."),
        ("what is the dog called?", "Ann has a dog."),
        ("loved", "He loves her"),
        ("cafe", "Das Café in der Straße"),
        ("STRASSE", "Das Café in der Straße"),
        ("ｗｉｄｅ", "wide"),
        ("e\u0301te\u0301", "été"),
        ("Hund", "Hundefutter"),
        ("世界", "你好，世界！"),
        ("界", "你好，世界！"),
        ("世界地图", "这是世界地图集"),
        ("ひらがな", "これはひらがなです"),
        ("ภาษา", "ฉันเรียนภาษาไทย"),
        ("한국어", "한국어를 배워요"),
        ("हिन्दी", "मैं हिन्दी बोलता हूँ"),
        ("שלום", "שלום עולם"),
        ("мир", "Привет, мир!"),
        ("foo_bar", "call foo_bar(1)"),
        ("bar", "call foo_bar(1)"),
        ("C++", "written in C++ mostly"),
        ("o'brien", "Miles O’Brien and Keiko O'Brien"),
        ("2026-03-01", "on 2026-03-01 at noon"),
        ("🌍", "hello 🌍"),
        ("b", "a\0b\0c"),
    ],
)
async def test_words_are_found(archive, query, text):
    await archive.insert_many([Passage(text), Passage("something else entirely"), Passage("")])
    assert await found(archive, text=query) == [text]
    assert await archive.size(text=query) == 1
    [hit] = await archive.query(text=query)
    assert hit.relevance == hit.score > 0
    assert hit.similarity is None


@pytest.mark.parametrize(
    "query",
    [
        "",
        "   ",
        "\0",
        "?!",
        '"',
        "zzzunknown",
        "*",
        "a" * 100_000,
        "' OR 1=1 --",
        "NEAR(",
        "^",
        "-",
    ],
)
async def test_a_query_that_finds_nothing_is_no_error(archive, query):
    await archive.insert(Passage("word"))
    assert await archive.query(text=query) == ()
    assert await archive.size(text=query) == 0


async def test_a_query_of_operators_is_a_query_of_words(archive):
    await archive.insert_many([Passage("this and that"), Passage("near or far"), Passage("x")])
    assert await found(archive, text="AND") == ["this and that"]
    assert await found(archive, text='NEAR("far" x, 5) NOT col:y*') == ["near or far", "x"]


async def test_the_passage_with_more_and_rarer_words_is_first(archive):
    await archive.insert_many(Passage(f"the dog of house number {n}") for n in range(10))
    await archive.insert_many(Passage(f"the cat of house number {n}") for n in range(30))
    await archive.insert_many([Passage("a quokka in a tree"), Passage("the quokka and the dog")])
    texts = await found(archive, text="Where are the dog and the quokka?", top_k=3)
    assert texts[:2] == ["the quokka and the dog", "a quokka in a tree"]
    assert "dog" in texts[2]
    # What is in most of them says nothing, unless nothing else is asked for.
    assert await archive.size(text="the quokka") == 2
    assert await archive.size(text="the") == 41


async def test_a_long_query_is_one_of_its_rarest_and_longest_words(archive):
    await archive.insert_many([Passage("antidisestablishmentarianism"), Passage("other")])
    query = " ".join(f"w{n}" for n in range(5000)) + " antidisestablishmentarianism"
    assert await found(archive, text=query) == ["antidisestablishmentarianism"]


async def test_both_rankings_become_one(archive):
    await archive.insert_many(
        [
            Passage("dog by words alone"),
            Passage("by vector alone", embedding=(1, 0.1)),
            Passage("dog by both", embedding=(1, 0.2)),
            Passage("neither", embedding=(-1, 0)),
        ]
    )
    hits = await archive.query((1, 0), "dog")
    assert hits[0].passage.text == "dog by both"
    assert hits[-1].passage.text == "neither"
    assert len(hits) == 4
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert hits[0].similarity > 0.9
    assert hits[0].relevance > 0
    by_text = {hit.passage.text: hit for hit in hits}
    assert by_text["dog by words alone"].similarity is None
    assert by_text["by vector alone"].relevance is None
    assert await found(archive, (1, 0), "dog", 1) == ["dog by both"]
    assert await found(archive, (1, 0), "dog", 0) == []


async def test_the_order_does_not_depend_on_how_many_are_asked_for(archive):
    chance = np.random.default_rng(3)
    words = [f"w{n}" for n in range(20)]
    await archive.insert_many(
        Passage(" ".join(chance.choice(words, 6)), f"{n}", chance.standard_normal(8))
        for n in range(300)
    )
    query = chance.standard_normal(8)
    every = await archive.query(query, "w1 w2 w3", 1000)
    assert 100 <= len(every) <= 200
    for count in (1, 5, 17, 99, 150):
        assert await archive.query(query, "w1 w2 w3", count) == every[:count]
    plain = await archive.query(query, top_k=300)
    assert len(plain) == 300
    assert await archive.query(query, top_k=7) == plain[:7]


FILTERS = [
    ({}, "abcd"),
    ({"n": 1}, "ab"),
    ({"n": 1.0}, "ab"),
    ({"n": "1"}, "c"),
    ({"n": True}, ""),
    ({"n": 7}, ""),
    ({"n": [1, "1"]}, "abc"),
    ({"n": []}, ""),
    ({"n": None}, "d"),
    ({"tags": "x"}, "ac"),
    ({"tags": ["y", "z"]}, "bc"),
    ({"n": 1, "tags": "x"}, "a"),
    ({"doc_id": "one"}, "ab"),
    ({"doc_id": ["one", "two"]}, "abc"),
    ({"doc_id": None}, "d"),
    ({"doc_id": [None, "two"]}, "cd"),
    ({"doc_id": "one", "n": 1, "tags": "y"}, "b"),
    ({"missing": 1}, ""),
    ({"long": "x" * 5000}, "a"),
    ({"long": "x" * 5001}, ""),
    ({"'\"\0$.": "ü"}, "d"),
    ({"yes": True}, "b"),
]


@pytest.mark.parametrize(("wanted", "expected"), FILTERS, ids=[str(f)[:30] for f, _ in FILTERS])
async def test_a_filter_lets_through(archive, wanted, expected):
    await archive.insert_many(
        [
            Passage("word a", "a", (1, 1), "one", {"n": 1, "tags": ["x"], "long": "x" * 5000}),
            Passage("word b", "b", (1, 2), "one", {"n": 1, "tags": ["y", "y"], "yes": True}),
            Passage("word c", "c", (1, 3), "two", {"n": "1", "tags": ["x", "z", {"n": 1}]}),
            Passage("word d", "d", (1, 4), None, {"n": None, "'\"\0$.": "ü"}),
        ]
    )
    await archive.delete("gone")
    names = list(expected)
    assert [p.id async for page in archive.all(filter=wanted) for p in page] == names
    assert await archive.size(wanted) == len(names)
    assert await archive.size(wanted, text="word") == len(names)
    for query in (((1, 0), None), (None, "word"), ((1, 0), "word")):
        hits = await archive.query(*query, filter=wanted)
        assert sorted(hit.passage.id for hit in hits) == names, query


async def test_a_filter_by_what_is_no_plain_value_is_refused(archive):
    await archive.insert(Passage("a"))
    with pytest.raises(Unstorable, match="plain values"):
        await archive.size({"a": {"b": 1}})


async def test_the_best_are_found_behind_many_that_a_filter_keeps_out(archive):
    await archive.insert_many(
        Passage(f"word {n}", embedding=(1, n / 1000), metadata={"odd": n % 50 == 3})
        for n in range(500)
    )
    wanted = [f"word {n}" for n in range(3, 500, 50)]
    assert await found(archive, (1, 0), filter={"odd": True}, top_k=20) == wanted
    assert sorted(await found(archive, text="word", filter={"odd": True}, top_k=20)) == sorted(
        wanted
    )
    assert await found(archive, (1, 0), filter={"odd": False}, top_k=1) == ["word 0"]


async def test_passages_with_and_without_a_vector_are_told_apart(archive):
    await archive.insert_many(
        [Passage("a"), Passage("b", embedding=(1, 2)), Passage("c", metadata={"x": 1})]
    )
    assert await texts_of(archive, embedded=False) == ["a", "c"]
    assert await texts_of(archive, embedded=True) == ["b"]
    assert await texts_of(archive, embedded=False, filter={"x": 1}) == ["c"]
    assert await archive.size(embedded=False) == 2
    assert await archive.size({"x": 1}, embedded=True) == 0
    assert await archive.size(text="a b", embedded=True) == 1


@pytest.mark.parametrize("page_size", [1, 3, 7, 100])
async def test_pages_are_in_the_order_of_insertion(archive, page_size):
    await archive.insert_many(Passage(f"{n}", f"{-n % 11}-{n}") for n in range(21))
    pages = [page async for page in archive.all(page_size)]
    assert [passage.text for page in pages for passage in page] == [f"{n}" for n in range(21)]
    assert all(len(page) == page_size for page in pages[:-1])
    last = pages[0][-1].id
    texts = await texts_of(archive, page_size=page_size, after=last)
    assert texts == [f"{n}" for n in range(min(page_size, 21), 21)]


async def test_paging_is_stable_while_passages_come_and_go(archive):
    await archive.insert_many(Passage(f"{n}", f"{n}") for n in range(40))
    seen = []
    async for page in archive.all(4):
        seen += [passage.id for passage in page]
        number = int(page[-1].id) if page[-1].id.isdigit() else 40
        # What is behind us goes, the last one seen too; what is in front loses one.
        await archive.delete(page[0].id, page[-1].id, f"{number + 2}")
        if number < 20:
            await archive.insert(Passage(f"new {number}", f"new {number}"))
    assert len(seen) == len(set(seen))
    kept = [passage.id async for page in archive.all() for passage in page]
    assert set(kept) <= set(seen)
    assert [name for name in seen if name.startswith("new")] == seen[-len(seen) :][
        len([name for name in seen if not name.startswith("new")]) :
    ]


async def test_paging_on_behind_a_passage_that_is_gone_is_said(archive):
    await archive.insert_many([Passage("a", "a"), Passage("b", "b")])
    await archive.delete("a")
    with pytest.raises(Unstorable, match="no passage 'a' in 'agent/ann'"):
        await texts_of(archive, after="a")


async def test_numbers_that_can_not_be_are_refused(archive):
    with pytest.raises(Unstorable, match="top_k"):
        await archive.query(text="a", top_k=-1)
    with pytest.raises(Unstorable, match="page_size"):
        await texts_of(archive, page_size=0)
    with pytest.raises(Unstorable, match="a vector, a text, or both"):
        await archive.query()


async def test_deleted_passages_are_gone_everywhere(archive):
    await archive.insert_many(
        Passage(f"word {n}", f"{n}", (1, n), f"doc{n % 3}", {"n": n}) for n in range(9)
    )
    await archive.query((1, 0))
    assert await archive.delete("1", "4", "7", "4", "none") == 3
    assert await archive.delete("1") == 0
    assert await archive.size() == 6
    assert await archive.get("4") is None
    assert await archive.sources() == (Source("doc0", 3), Source("doc2", 3))
    assert await archive.size({"n": 4}) == await archive.size({"doc_id": "doc1"}) == 0
    for query in (((1, 4), None), (None, "word"), ((1, 4), "4 word")):
        assert {hit.passage.id for hit in await archive.query(*query)} == set("023568")
    await archive.insert(Passage("word 4", "4", (1, 4)))
    assert (await archive.query((1, 4)))[0].passage.id == "4"
    assert (await texts_of(archive))[-1] == "word 4"


async def test_collections_keep_apart(store):
    one, two = await store.open("agent/ann"), await store.open("agent/bob")
    await one.insert_many([Passage("same word", "id", (1, 0), "d", {"k": 1}), Passage("ann's")])
    await two.insert(Passage("same word", "id", (0, 1, 0), "d", {"k": 1}))
    assert await one.size() == 2
    assert await two.size(text="word") == 1
    assert (await one.get("id")).embedding == (1, 0)
    assert (await two.get("id")).embedding == (0, 1, 0)
    assert await two.delete("id") == 1
    assert await one.size({"k": 1}) == 1
    assert await found(one, (1, 0), "word") == ["same word"]
    assert await store.drop("agent/bob") == 0
    assert await store.collections() == ["agent/ann"]
    assert await one.size() == 2


async def test_a_collection_that_was_dropped_can_be_made_anew(store):
    archive = await store.open("a")
    await archive.insert_many(Passage(f"old {n}", embedding=(1, n)) for n in range(5))
    await archive.query((1, 0))
    assert await store.drop("a") == 5
    assert await archive.query((1, 0), "old") == ()
    # Of another dimension, and by the same handle.
    await archive.insert(Passage("new", embedding=(1, 0, 0)))
    assert await found(archive, (1, 0, 0), "new") == ["new"]
    assert await archive.size(text="old") == 0


async def test_stats_count(store):
    archive = await store.open("a", metric="dot")
    await archive.insert_many(
        [Passage("x", embedding=(1, 2), doc_id="d"), Passage("y"), Passage("z", doc_id="d")]
    )
    await (await store.open("b")).insert(Passage("w"))
    stats = await archive.stats()
    assert (stats.collection, stats.passages, stats.vectors) == ("a", 3, 1)
    assert (stats.dimension, stats.metric) == (2, "dot")
    every = await store.stats()
    assert (every.collections, every.passages, every.vectors, every.schema) == (2, 4, 1, 1)
    assert (await archive.health()).ok
    assert await archive.sources() == (Source("d", 2),)


async def test_names_of_collections_are_listed_by_prefix(store):
    for name in ("source/b", "agent/ann", "source/a", "source", "sourced"):
        await (await store.open(name)).insert(Passage("x"))
    assert await store.collections("source/") == ["source/a", "source/b"]
    assert await store.collections("x") == []
    assert len(await store.collections()) == 5


async def test_times_keep_their_moment(archive):
    zone = timezone(timedelta(hours=5, minutes=30))
    await archive.insert(Passage("a", "a", created_at=DAY.astimezone(zone)))
    await archive.insert(Passage("old", "old", created_at=datetime(1815, 6, 18, tzinfo=UTC)))
    assert (await archive.get("a")).created_at == DAY
    assert (await archive.get("old")).created_at.year == 1815
    before = datetime.now(UTC)
    await archive.insert(Passage("b", "b"))
    assert abs((await archive.get("b")).created_at - before) < timedelta(minutes=1)


async def test_writers_at_the_same_time_lose_nothing(store):
    archives = [await store.open("a") for _ in range(8)]

    async def write(number, archive):
        for step in range(20):
            await archive.insert_many(
                Passage(f"word {number} {step} {part}", embedding=(number, step, part))
                for part in range(2)
            )
            await archive.insert(Passage("shared"))
            assert await archive.size() >= 2 * (step + 1)
            await archive.query((1, 0, 0), "word")

    await asyncio.gather(*(write(number, archive) for number, archive in enumerate(archives)))
    assert await archives[0].size() == 8 * 20 * 2 + 1
    assert await archives[0].size(text="word") == 320
    assert len(await archives[0].query((1, 1, 1), top_k=1000)) == 320
    assert (await store.health()).ok


async def test_a_write_that_is_cancelled_is_done_whole_or_not_at_all(archive):
    for number in range(10):
        task = asyncio.create_task(
            archive.insert_many(Passage(f"{number} {part}") for part in range(20))
        )
        await asyncio.sleep(number / 2000)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await archive.insert(Passage("last"))
    assert await archive.size() % 20 == 1


async def test_a_backup_holds_everything_and_comes_back(store, tmp_path):
    archive = await store.open("a")
    await archive.insert_many(Passage(f"old {n}", f"{n}", (1, n)) for n in range(20))
    await archive.query((1, 0))
    path = await store.backup(tmp_path / "copy.db")
    with pytest.raises(StorageError, match="is there already"):
        await store.backup(path)
    await archive.delete(*(str(n) for n in range(0, 20, 2)))
    await archive.insert_many(Passage(f"new {n}", f"n{n}", (1, n + 0.5)) for n in range(20))
    assert (await found(archive, (1, 0), top_k=1))[0] == "new 0"
    await store.restore(path)
    assert await archive.size() == 20
    assert await found(archive, (1, 0), top_k=2) == ["old 0", "old 1"]
    assert await archive.size(text="new") == 0
    assert (await archive.query((1, 1), "old 7"))[0].passage.id == "7"
    await archive.insert(Passage("after", embedding=(0, 1)))
    assert await found(archive, (0, 1), top_k=1) == ["after"]
    assert (await store.health()).ok
    with pytest.raises(StorageError):
        await store.restore(tmp_path / "missing.db")


async def test_a_closed_store_and_a_closed_collection_say_so(store):
    one, two = await store.open("a"), await store.open("b")
    await one.close()
    await one.close()
    with pytest.raises(StorageError, match="'a' is closed"):
        await one.size()
    await two.insert(Passage("x"))
    await store.close()
    await store.close()
    with pytest.raises(StorageError, match="is closed"):
        await two.size()
    with pytest.raises(StorageError, match="is closed"):
        await store.open("c")


async def test_the_event_loop_goes_on_during_a_long_write(archive):
    turns = 0

    async def tick():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    await archive.insert_many(Passage(f"some words {n}", embedding=(n, 1)) for n in range(2000))
    ticking.cancel()
    assert turns > 100


async def test_a_store_of_one_collection_is_closed_with_it(tmp_path):
    url = f"sqlite:{tmp_path}/a.db"
    async with await open_vectors(url, collection="x", dimension=2) as archive:
        await archive.insert(Passage("a", embedding=(1, 2)))
    with pytest.raises(StorageError):
        await archive.size()
    async with await open_vectors(url, collection="x") as archive:
        assert await archive.size() == 1
    with pytest.raises(ConfigError, match="2 dimensions, and this one has 3"):
        await open_vectors(url, collection="x", dimension=3)


async def test_engines_are_chosen_by_the_url():
    assert {"sqlite", "memory"} <= set(engines())
    with pytest.raises(UnknownName, match=r"vector engine 'chroma'"):
        await open_vector_store("chroma:x")
    with pytest.raises(UnknownName, match="parameter 'size'"):
        await open_vector_store("memory:?size=1")
    with pytest.raises(ConfigError, match="busy_timeout"):
        await open_vector_store("sqlite:x.db?busy_timeout=no")
