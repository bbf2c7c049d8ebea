"""What an agent puts away it finds again: once, by words or by meaning, in true pages."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from llmgate.errors import BackendUnreachable, RequestError, UnknownName
from llmgate.memory.archival import Archival
from llmgate.memory.chunks import TOKENS, estimate
from llmgate.storage.passages import Passage
from llmgate.storage.vectors import open_vector_store
from llmgate.types import Embeddings

DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)
# What stands for a meaning: texts with one of the words are near to each other.
MEANINGS = (("dog", "puppy", "Rex"), ("car", "vehicle"), ("food", "pizza", "eat"))


class Model:
    """An embedding model with as many dimensions as it is told, and ways to fail."""

    def __init__(self, extra=1):
        self.extra = extra
        self.failure = None
        self.texts = []

    async def __call__(self, texts):
        if self.failure is not None:
            raise self.failure
        self.texts += texts
        return Embeddings(tuple(map(self.vector, texts)))

    def vector(self, text):
        meant = [float(any(word in text for word in words)) for words in MEANINGS]
        return (*meant, *[0.01] * self.extra)


@pytest.fixture
async def store(tmp_path):
    async with await open_vector_store(f"sqlite:{tmp_path}/vectors.db") as opened:
        yield opened


def archive(store, embed=None, **how):
    return Archival(store.open, "ann", embed=embed, **how)


def texts(page):
    return [one.text for one in page.found]


async def put(store, source, *passages):
    await (await store.open(f"source/{source}")).insert_many(passages)


async def test_an_empty_archive_answers_empty(store):
    for archival in (archive(store), archive(store, Model())):
        page = await archival.search("anything")
        assert (page.found, page.total, page.last, page.notes) == ((), 0, -1, ())
        assert await archival.size() == 0
        assert await archival.first() == ()
        assert await archival.embed_missing() == 0
    assert await store.collections() == []


async def test_without_a_model_words_are_found(store):
    archival = archive(store)
    name = await archival.insert("Ann has a dog called Rex.", at=DAY)
    await archival.insert("Ann drives a car.")
    page = await archival.search("What is the dog's name?")
    assert texts(page) == ["Ann has a dog called Rex."]
    assert (page.total, page.last, page.notes) == (1, 0, ())
    [one] = page.found
    assert (one.at, one.id, one.source) == (DAY, name, None)
    assert archival.take_notes() == ()


async def test_with_a_model_meanings_are_found(store):
    archival = archive(store, Model())
    await archival.insert("Ann has a dog.")
    await archival.insert("Ann drives a car.")
    await archival.insert("Ann likes pizza.")
    assert texts(await archival.search("puppy"))[0] == "Ann has a dog."
    assert texts(await archival.search("vehicle"))[0] == "Ann drives a car."
    assert texts(await archival.search("pizza"))[0] == "Ann likes pizza."
    assert (await archival.search("vehicle")).total == 3


async def test_a_new_memory_is_found_by_a_query_that_was_made_before(store):
    archival = archive(store, Model())
    await archival.insert("Ann drives a car.")
    assert texts(await archival.search("dog")) == ["Ann drives a car."]
    await archival.insert("Ann has a dog.")
    assert texts(await archival.search("dog"))[0] == "Ann has a dog."


async def test_a_call_that_is_done_again_stores_once(store):
    for model in (None, Model()):
        archival = archive(store, model)
        long = "A sentence of a long text. " * 200
        for call, text in (("1:a", "Ann has a dog."), ("1:b", long), ("1:c", "Ann has a dog.")):
            first = await archival.insert(text, call=call)
            size = await archival.size()
            assert await archival.insert(text, call=call) == first
            assert await archive(store, model).insert(text, call=call) == first
            assert await archival.size() == size
    found = await archive(store).search("dog")
    # Two calls are two memories, also of the same text.
    assert texts(found) == ["Ann has a dog."] * 2


async def test_without_a_call_the_same_text_is_stored_once(store):
    archival = archive(store)
    assert await archival.insert("a") == await archival.insert("a")
    assert await archival.insert("a") != await archival.insert("b")
    assert await archival.size() == 2


async def test_calls_of_two_agents_are_two(store):
    one, two = Archival(store.open, "ann"), Archival(store.open, "bob")
    assert await one.insert("same", call="1") != await two.insert("same", call="1")
    assert await one.size() == await two.size() == 1
    assert await store.collections() == ["agent/ann", "agent/bob"]


async def test_a_long_text_is_cut_and_every_part_is_found(store):
    archival = archive(store, Model())
    parts = [f"Chapter {n} is about topic{n}. " + "Words of no weight. " * 80 for n in range(9)]
    name = await archival.insert("\n\n".join(parts), call="1", at=DAY)
    assert await archival.size() >= 9
    own = await store.open("agent/ann")
    passages = [one async for page in own.all() for one in page]
    assert passages[0].id == name
    assert {one.doc_id for one in passages} == {name}
    assert {one.created_at for one in passages} == {DAY}
    assert all(estimate(one.text) <= TOKENS for one in passages)
    assert [one.metadata["part"] for one in passages] == list(range(1, len(passages) + 1))
    for number in range(9):
        assert f"topic{number}." in texts(await archival.search(f"topic{number}"))[0]


@pytest.mark.parametrize("with_model", [False, True])
async def test_pages_are_true(store, with_model):
    archival = archive(store, Model() if with_model else None)
    for number in range(23):
        await archival.insert(f"dog number {number}")
    first = await archival.search("dog")
    assert (first.total, first.last, first.page, first.size) == (23, 4, 0, 5)
    pages = [await archival.search("dog", page) for page in range(6)]
    assert [len(page.found) for page in pages] == [5, 5, 5, 5, 3, 0]
    assert {page.total for page in pages} == {23}
    assert len({one.id for page in pages for one in page.found}) == 23
    assert len((await archival.search("dog", 0, 100)).found) == 23
    assert (await archival.search("dog", 10**9)).found == ()


@pytest.mark.parametrize(("page", "size"), [(-1, 5), (0, 0), (0, -3)])
async def test_pages_that_can_not_be_are_refused(store, page, size):
    with pytest.raises(RequestError):
        await archive(store).search("a", page, size)


@pytest.mark.parametrize("text", ["", "  \n", "\u2003"])
async def test_nothing_is_not_put_away_and_finds_nothing(store, text):
    archival = archive(store, Model())
    with pytest.raises(RequestError, match="nothing in the text"):
        await archival.insert(text)
    await archival.insert("a dog")
    assert (await archival.search(text)).total == 0


@pytest.mark.parametrize(
    "text", ["a\0b", "half \ud83d of a pair", "\ud83d\ude00 whole", "🌍" * 5000]
)
async def test_any_text_that_a_model_writes_can_be_kept(store, text):
    archival = archive(store)
    name = await archival.insert(text, call="\0/..\ud800" if "half" in text else "c")
    assert (await (await store.open("agent/ann")).get(name)) is not None
    await archival.search(text)


async def test_sources_are_searched_while_they_are_attached(store):
    await put(store, "handbook", Passage("The dog rules.", doc_id="rules.txt", created_at=DAY))
    await put(store, "garage", Passage("The car rules."))
    archival = archive(store, sources=["handbook"])
    await archival.insert("Ann has a dog.")
    page = await archival.search("dog")
    assert sorted(texts(page)) == ["Ann has a dog.", "The dog rules."]
    assert {one.text: one.source for one in page.found} == {
        "Ann has a dog.": None,
        "The dog rules.": "handbook",
    }
    assert page.total == await archival.size() == 2
    await archival.attach("garage")
    await archival.attach("garage")
    assert archival.sources == ("handbook", "garage")
    assert (await archival.search("rules")).total == 2
    await archival.detach("handbook")
    assert texts(await archival.search("dog")) == ["Ann has a dog."]
    assert archival.sources == ("garage",)
    with pytest.raises(UnknownName, match="garage"):
        await archival.detach("handbook")
    with pytest.raises(RequestError, match="no source 'nowhere'"):
        await archival.attach("nowhere")
    assert await store.collections() == ["agent/ann", "source/garage", "source/handbook"]


async def test_what_fits_best_is_first_whichever_collection_it_is_in(store):
    model = Model()
    await put(
        store,
        "book",
        *(Passage(f"page {n}", embedding=model.vector("nothing")) for n in range(20)),
        Passage("All about a puppy.", embedding=model.vector("dog")),
    )
    archival = archive(store, model, sources=["book"])
    for number in range(20):
        await archival.insert(f"an old car {number}")
    page = await archival.search("dog")
    assert texts(page)[0] == "All about a puppy."
    assert page.total == 41
    await archival.insert("Rex is a dog.")
    assert set(texts(await archival.search("dog"))[:2]) == {"All about a puppy.", "Rex is a dog."}
    pages = [await archival.search("dog", number) for number in range(9)]
    assert len({one.id for page in pages for one in page.found}) == 42


async def test_a_source_of_another_model_is_searched_by_words_and_that_is_said(store):
    await put(store, "book", Passage("A dog in a book.", embedding=(1.0, 2.0)))
    archival = archive(store, Model(), sources=["book"])
    await archival.insert("Ann has a puppy.")
    page = await archival.search("dog")
    assert sorted(texts(page)) == ["A dog in a book.", "Ann has a puppy."]
    [note] = page.notes
    assert note.code == "unembedded"
    assert "source/book" in note.message
    assert "2 dimensions" in note.message


async def test_a_model_that_fails_loses_nothing_and_is_made_up_for(store):
    model, now = Model(), [0.0]
    archival = archive(store, model, clock=lambda: now[0])
    await archival.insert("Ann drives a car.")
    model.failure = BackendUnreachable("the server is down.")
    await archival.insert("Ann has a dog.", call="1")
    [note] = archival.take_notes()
    assert note.code == "unembedded"
    assert "the server is down" in note.message
    assert archival.take_notes() == ()
    # By words it is found at once.
    page = await archival.search("dog")
    assert texts(page) == ["Ann has a dog."]
    assert "by words alone" in page.notes[0].message
    assert (await archival.search("puppy")).total == 0
    assert archival.take_notes() == page.notes
    model.failure = None
    # It is not asked again at once.
    assert (await archival.search("puppy")).notes
    now[0] += 60
    page = await archival.search("puppy")
    assert texts(page)[0] == "Ann has a dog."
    assert page.notes == ()
    assert (await (await store.open("agent/ann")).stats()).vectors == 2


async def test_what_was_stored_without_a_model_gets_its_vectors_later(store):
    plain = archive(store)
    for number in range(100):
        await plain.insert(f"memory {number}")
    await plain.insert("Rex is mine")
    model = Model()
    archival = archive(store, model)
    assert await archival.embed_missing(10) == 10
    own = await store.open("agent/ann")
    assert (await own.stats()).vectors == 10
    before = await archival.first(200)
    # Each search does some more.
    await archival.search("puppy")
    assert 10 < (await own.stats()).vectors < 101
    assert await archival.embed_missing() > 0
    assert (await own.stats()).vectors == 101
    assert await archival.embed_missing() == 0
    assert texts(await archival.search("puppy"))[0] == "Rex is mine"
    assert await archival.first(200) == before
    asked = len(model.texts)
    await archival.search("puppy")
    assert len(model.texts) == asked + 1


async def test_a_model_of_another_dimension_is_said_and_nothing_is_lost(store):
    await archive(store, Model()).insert("Ann drives a car.")
    archival = archive(store, Model(extra=5))
    await archival.insert("Ann has a dog.")
    [note] = archival.take_notes()
    assert "4 dimensions" in note.message
    assert "this one has 8" in note.message
    page = await archival.search("dog")
    assert texts(page) == ["Ann has a dog."]
    assert "by words alone" in page.notes[0].message
    assert await archival.embed_missing() == 0
    assert await archival.size() == 2


@pytest.mark.parametrize(
    "answer",
    [Embeddings(()), Embeddings(((),)), Embeddings(((float("nan"),),)), None],
    ids=["none", "empty", "nan", "no answer"],
)
async def test_a_model_that_answers_nonsense_loses_nothing(store, answer):
    async def nonsense(texts):
        return answer

    archival = archive(store, nonsense)
    await archival.insert("Ann has a dog.")
    [note] = archival.take_notes()
    assert "stored without a vector" in note.message
    assert texts(await archive(store).search("dog")) == ["Ann has a dog."]
    assert texts(await archival.search("dog")) == ["Ann has a dog."]


async def test_inserts_at_the_same_time_are_all_kept(store):
    archival = archive(store, Model())
    await asyncio.gather(
        *(archival.insert(f"dog {n % 30}", call=f"{n % 30}") for n in range(90)),
        *(archival.search("dog") for _ in range(10)),
    )
    assert await archival.size() == 30


async def test_the_first_memories_can_be_looked_at(store):
    archival = archive(store)
    for number in range(15):
        await archival.insert(f"memory {number}", at=DAY)
    assert [one.text for one in await archival.first(3)] == [f"memory {n}" for n in range(3)]
    assert len(await archival.first()) == 10
    assert (await archival.first(1))[0].at == DAY
    assert await archival.first(0) == ()


async def test_a_closed_archive_can_be_used_again(store):
    archival = archive(store)
    await archival.insert("a dog")
    await archival.aclose()
    assert (await archival.search("dog")).total == 1
