"""What every backend promises, held by each of them. See `llmgate.backends.base`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from asking import CAPITAL, GREEDY, answer, chatml, endless, noise, text
from engines import needs_engine, needs_server

from llmgate.backends import open_backend
from llmgate.backends.base import Backend
from llmgate.backends.scripted import ScriptedBackend
from llmgate.config import ModelSettings
from llmgate.errors import ContextOverflow, GrammarError, Unsupported
from llmgate.types import Completion, Prompt, Sampling

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENGINES = [
    pytest.param("embedded", marks=needs_engine),
    pytest.param("llamacpp", marks=needs_server),
]
PARIS = "The capital of France is Paris."


def _scripted(prompt: Prompt) -> list[str]:
    """What the shipped model would say to the prompts of these tests."""
    return ["tic tac "] * 500 if prompt.grammar else ["The capital", " of France is", " Paris."]


@asynccontextmanager
async def _opened(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    if kind == "embedded":
        backend = open_backend("tiny", ModelSettings(threads=1))
    elif kind == "llamacpp":
        url = request.getfixturevalue("llama_server")
        backend = open_backend("tiny", ModelSettings(backend="llamacpp", url=url))
    else:
        backend = ScriptedBackend(_scripted)
    await backend.start()
    yield backend
    await backend.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[*ENGINES, "scripted"])
async def backend(request):
    async with _opened(request.param, request) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def engine(request):
    """What has a model, as opposed to a script."""
    async with _opened(request.param, request) as opened:
        yield opened


async def test_text_streams_in_pieces_and_folds(backend):
    deltas = [delta async for delta in backend.complete(Prompt(CAPITAL, sampling=GREEDY))]
    assert len([delta for delta in deltas if delta.text]) > 2
    assert Completion.fold(deltas).message.content == PARIS


async def test_only_the_last_delta_carries_finish_and_usage(backend):
    *others, last = [delta async for delta in backend.complete(Prompt(CAPITAL, sampling=GREEDY))]
    assert last.finish == "stop"
    assert last.usage is not None
    assert last.usage.prompt == await backend.count(CAPITAL)
    assert last.usage.completion >= len(others) > 0
    assert all(delta.finish is None and delta.usage is None for delta in others)


async def test_a_stop_string_ends_the_answer_and_is_removed(backend):
    prompt = Prompt(CAPITAL, stop=("nowhere", "ris.", "ance is Pa"), sampling=GREEDY)
    got = await answer(backend, prompt)
    assert (got.message.content, got.finish) == ("The capital of Fr", "stop")


async def test_max_tokens_ends_the_answer_with_length(backend):
    prompt = Prompt(CAPITAL, sampling=Sampling(temperature=0.0, max_tokens=3))
    got = await answer(backend, prompt)
    assert got.finish == "length"
    assert got.usage.completion == 3
    assert got.message.content
    assert PARIS.startswith(got.message.content)


async def test_after_a_closed_answer_the_next_one_is_right(backend):
    for _ in range(3):
        deltas = backend.complete(endless())
        assert (await anext(deltas)).text
        await deltas.aclose()
        assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS


async def test_health_has_nothing_to_say(backend):
    assert await backend.health() is None


async def test_the_context_is_known_after_start(engine):
    assert engine.caps.context == 2048
    assert engine.caps.grammar
    assert engine.caps.tokenize


async def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(engine):
    with pytest.raises(ContextOverflow, match=r"2048") as caught:
        await answer(engine, Prompt("garden " * 3000))
    assert caught.value.status == 400
    assert [n for n in re.findall(r"\d+", str(caught.value)) if int(n) >= 3000]


async def test_the_end_of_the_context_is_length(engine):
    got = await answer(engine, endless(max_tokens=None))
    assert got.finish == "length"
    assert got.usage.prompt + got.usage.completion in (2047, 2048, 2049)


async def test_a_grammar_holds(engine):
    grammar = 'root ::= "{\\"city\\": \\"" [a-z]{3,8} "\\"}"'
    for seed in range(10):
        prompt = Prompt(CAPITAL, grammar=grammar, sampling=Sampling(temperature=1.5, seed=seed))
        got = await answer(engine, prompt)
        assert re.fullmatch(r'\{"city": "[a-z]{3,8}"\}', got.message.content), got
        assert got.finish == "stop"


async def test_a_lazy_grammar_holds_from_its_trigger_on_or_is_refused(engine):
    prompt = Prompt(
        CAPITAL,
        grammar='root ::= "France is " [0-9]{2}',
        triggers=("France is",),
        sampling=GREEDY,
    )
    if engine.caps.triggers:
        assert re.fullmatch(r"The capital of France is \d\d", await text(engine, prompt))
    else:
        with pytest.raises(Unsupported):
            await text(engine, prompt)


async def test_the_models_template_is_known_after_start(engine):
    template = engine.caps.template
    assert template is not None
    assert "<|im_start|>" in template.text
    assert template.eos == "</s>"


async def test_the_same_seed_gives_the_same_text(engine):
    first = await text(engine, noise(7))
    await text(engine, Prompt(CAPITAL, sampling=GREEDY))
    assert await text(engine, noise(7)) == first
    assert await text(engine, noise(7)) == first
    assert await text(engine, noise(8)) != first


async def test_no_seed_gives_another_text_each_time(engine):
    assert len({await text(engine, noise()) for _ in range(3)}) == 3


@pytest.mark.parametrize("seed", [-1, 0, 2**32 - 1, 2**40])
async def test_any_integer_is_a_seed_that_counts(engine, seed):
    assert await text(engine, noise(seed)) == await text(engine, noise(seed))


async def test_all_of_sampling_is_taken(engine):
    sampling = Sampling(
        max_tokens=20,
        temperature=0.7,
        top_p=0.9,
        top_k=20,
        min_p=0.1,
        repeat_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=0.2,
        seed=1,
    )
    assert (await answer(engine, Prompt(CAPITAL, sampling=sampling))).finish in ("stop", "length")


async def test_a_repeated_prompt_comes_from_the_cache(engine):
    prompt = Prompt(chatml("Tell me about the garden and the river."), sampling=GREEDY)
    first = await answer(engine, prompt)
    again = await answer(engine, prompt)
    assert again.message == first.message
    assert again.usage.cached is not None
    assert again.usage.prompt - 4 <= again.usage.cached < again.usage.prompt


async def test_control_tokens_count_as_one(engine):
    assert await engine.count("<|im_start|>") == 1
    assert await engine.count("") == 0
    assert await engine.count("The capital of France") < len("The capital of France")


@pytest.mark.parametrize(
    "grammar", ['root ::= "a', "root ::= nothing", 'root ::= root "a"'], ids=str.__str__
)
async def test_a_bad_grammar_is_the_clients_fault(engine, grammar):
    with pytest.raises(GrammarError):
        await answer(engine, Prompt(CAPITAL, grammar=grammar))
    assert await text(engine, Prompt(CAPITAL, sampling=GREEDY)) == PARIS


async def test_text_beyond_ascii_survives(engine):
    prompt = Prompt(
        "Zoë 😀 \u2028 漢字: ", grammar='root ::= "Zoë 😀 \u2028 漢字"', sampling=GREEDY
    )
    assert await text(engine, prompt) == "Zoë 😀 \u2028 漢字"
