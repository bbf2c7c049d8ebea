"""What every backend promises, held by each of them. See `llmgate.backends.base`.

Real are the embedded engine, a llama-server by its own route and by `/v1/completions`, and the
server of llama-cpp-python. The servers of the others are made up, each from its documents
(`wire_servers`), and have the same to say as the shipped model.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import pytest
import pytest_asyncio
from asking import CAPITAL, GREEDY, answer, chatml, endless, noise, text
from engines import needs_engine, needs_server
from llama_cpp_python import needs_llama_cpp_python
from wire_servers import SERVERS, WireServer

from llmgate.backends import open_backend
from llmgate.backends.base import Backend
from llmgate.backends.scripted import ScriptedBackend
from llmgate.config import ModelSettings
from llmgate.errors import ContextOverflow, GrammarError, Unsupported
from llmgate.types import Caps, Completion, Prompt, Sampling

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENGINES = [
    pytest.param("embedded", marks=needs_engine),
    pytest.param("llamacpp", marks=needs_server),
]
# They are asked over formats that are made up, too: what those can't tell, they don't either.
COMPATIBLE = {
    "real llama-cpp-python": ("llama-cpp-python", "llama_cpp_python_server"),
    "real openai-completions": ("openai-completions", "llama_server"),
}
REAL = [
    pytest.param("real llama-cpp-python", marks=needs_llama_cpp_python),
    pytest.param("real openai-completions", marks=needs_server),
]
WIRES = sorted(name for name, server in SERVERS.items() if not server.chats)
PARIS = "The capital of France is Paris."
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "pattern": "^[a-z]{3,8}$"}},
    "required": ["city"],
    "additionalProperties": False,
}


def _scripted(prompt: Prompt) -> list[str]:
    """What the shipped model would say to the prompts of these tests."""
    return ["tic tac "] * 500 if prompt.grammar else ["The capital", " of France is", " Paris."]


@asynccontextmanager
async def _opened(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    if kind in SERVERS:
        async with SERVERS[kind]().opened() as backend:
            yield backend
        return
    if kind in COMPATIBLE:
        name, server = COMPATIBLE[kind]
        url = request.getfixturevalue(server)
        backend = open_backend(kind, ModelSettings(backend=name, url=url, context=2048))
    elif kind == "embedded":
        backend = open_backend("tiny", ModelSettings(threads=1))
    elif kind == "llamacpp":
        url = request.getfixturevalue("llama_server")
        backend = open_backend("tiny", ModelSettings(backend="llamacpp", url=url))
    else:
        backend = ScriptedBackend(_scripted)
    await backend.start()
    yield backend
    await backend.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(request):
    """Opens a backend at its first use, for all tests."""
    async with AsyncExitStack() as stack:
        backends: dict[str, Backend] = {}

        async def of_kind(kind: str) -> Backend:
            if kind not in backends:
                backends[kind] = await stack.enter_async_context(_opened(kind, request))
            return backends[kind]

        yield of_kind


@pytest_asyncio.fixture(loop_scope="module", params=[*ENGINES, *REAL, "scripted", *WIRES])
async def backend(request, opened):
    return await opened(request.param)


@pytest_asyncio.fixture(loop_scope="module", params=[*ENGINES, *REAL, *WIRES])
async def model(request, opened):
    """What reads its prompts, as opposed to a script."""
    return await opened(request.param)


@pytest_asyncio.fixture(loop_scope="module", params=ENGINES)
async def engine(request, opened):
    """What has a model, as opposed to a server made up from documents."""
    return await opened(request.param)


def kind_of(backend: Backend) -> type[WireServer] | None:
    """The server behind it, if that is a made-up one."""
    settings = getattr(backend, "settings", ModelSettings())
    return next((kind for kind in SERVERS.values() if kind.backend == settings.backend), None)


def tells(backend: Backend, what: str) -> bool:
    """Whether its wire format lets it know that: `streams`, `tells_usage`, `tells_finish`."""
    kind = kind_of(backend)
    return kind is None or getattr(kind, what)


def held(prompt: Prompt, caps: Caps) -> Prompt:
    """The prompt with its grammar only where there are grammars, with a schema elsewhere."""
    if prompt.grammar is None or caps.grammar:
        return prompt
    schema = {"type": "string"} if caps.schema else None
    return msgspec.structs.replace(prompt, grammar=None, schema=schema)


def unending(caps: Caps, most: int | None = None) -> Prompt:
    """A prompt whose answer goes on and on, by a grammar where there are grammars."""
    prompt = endless(max_tokens=most)
    return prompt if caps.grammar else msgspec.structs.replace(prompt, grammar=None)


def seeded(backend: Backend) -> None:
    """Skip where the answers to these tests' prompts depend on no seed."""
    if not tells(backend, "seeds") or not (backend.caps.grammar or backend.caps.schema):
        pytest.skip("it takes no seed, or no constraint that leaves a choice to its made-up model")


async def test_text_streams_in_pieces_and_folds(backend):
    deltas = [delta async for delta in backend.complete(Prompt(CAPITAL, sampling=GREEDY))]
    assert len([delta for delta in deltas if delta.text]) > 2 or not tells(backend, "streams")
    assert Completion.fold(deltas).message.content == PARIS


async def test_only_the_last_delta_carries_finish_and_usage(backend):
    *others, last = [delta async for delta in backend.complete(Prompt(CAPITAL, sampling=GREEDY))]
    assert last.finish == "stop"
    assert last.usage is not None
    if tells(backend, "tells_usage"):
        assert last.usage.completion >= len(others) > 0
        if backend.caps.tokenize or kind_of(backend) is None:
            assert last.usage.prompt == await backend.count(CAPITAL)
    assert all(delta.finish is None and delta.usage is None for delta in others)


async def test_a_stop_string_ends_the_answer_and_is_removed(backend):
    prompt = Prompt(CAPITAL, stop=("nowhere", "ris.", "ance is Pa"), sampling=GREEDY)
    got = await answer(backend, prompt)
    assert (got.message.content, got.finish) == ("The capital of Fr", "stop")


async def test_max_tokens_ends_the_answer_with_length(backend):
    prompt = Prompt(CAPITAL, sampling=Sampling(temperature=0.0, max_tokens=3))
    got = await answer(backend, prompt)
    assert got.finish == "length"
    assert got.usage.completion == 3 or not tells(backend, "tells_usage")
    assert got.message.content
    assert PARIS.startswith(got.message.content)


async def test_after_a_closed_answer_the_next_one_is_right(backend):
    # What does not stream, writes for as long as it may.
    most = None if tells(backend, "streams") else 50
    for _ in range(3):
        deltas = backend.complete(unending(backend.caps, most))
        assert (await anext(deltas)).text
        await deltas.aclose()
        assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS


async def test_health_has_nothing_to_say(backend):
    assert await backend.health() is None


async def test_the_context_is_known_after_start(model):
    assert model.caps.context == 2048
    assert model.caps.truncates <= (kind_of(model) is not None)


async def test_an_engine_takes_grammars_and_counts(engine):
    assert engine.caps.grammar
    assert engine.caps.tokenize


async def test_a_prompt_beyond_the_context_is_refused(model):
    with pytest.raises(ContextOverflow):
        await answer(model, Prompt("garden " * 3000))


async def test_a_prompt_beyond_an_engines_context_is_refused_with_both_numbers(engine):
    with pytest.raises(ContextOverflow, match=r"2048") as caught:
        await answer(engine, Prompt("garden " * 3000))
    assert caught.value.status == 400
    assert [n for n in re.findall(r"\d+", str(caught.value)) if int(n) >= 3000]


async def test_the_end_of_the_context_is_length(model):
    if model.name == "real openai-completions":
        pytest.skip("without a grammar the shipped model finds an end")
    got = await answer(model, unending(model.caps))
    assert got.finish == "length" or not tells(model, "tells_finish")
    # The made-up servers may keep some of it free.
    if kind_of(model) is None:
        assert got.usage.prompt + got.usage.completion in (2047, 2048, 2049)


async def test_a_grammar_holds(model):
    if not model.caps.grammar:
        pytest.skip("it takes no grammars")
    grammar = 'root ::= "{\\"city\\": \\"" [a-z]{3,8} "\\"}"'
    for seed in range(10):
        prompt = Prompt(CAPITAL, grammar=grammar, sampling=Sampling(temperature=1.5, seed=seed))
        got = await answer(model, prompt)
        assert re.fullmatch(r'\{"city": "[a-z]{3,8}"\}', got.message.content), got
        assert got.finish == "stop"


async def test_a_schema_holds(model):
    if not model.caps.schema:
        pytest.skip("it takes no schemas")
    for seed in range(10):
        prompt = Prompt(CAPITAL, schema=CITY, sampling=Sampling(temperature=1.5, seed=seed))
        got = await answer(model, prompt)
        assert re.fullmatch(r"[a-z]{3,8}", json.loads(got.message.content)["city"]), got
        assert got.finish == "stop"


async def test_a_lazy_grammar_holds_from_its_trigger_on_or_is_refused(model):
    prompt = Prompt(
        CAPITAL,
        grammar='root ::= "France is " [0-9]{2}',
        triggers=("France is",),
        sampling=GREEDY,
    )
    if model.caps.triggers:
        assert re.fullmatch(r"The capital of France is \d\d", await text(model, prompt))
    else:
        with pytest.raises(Unsupported):
            await text(model, prompt)


async def test_the_models_template_is_known_after_start(engine):
    template = engine.caps.template
    assert template is not None
    assert "<|im_start|>" in template.text
    assert template.eos == "</s>"


async def test_the_same_seed_gives_the_same_text(model):
    seeded(model)
    first = await text(model, held(noise(7), model.caps))
    await text(model, Prompt(CAPITAL, sampling=GREEDY))
    assert await text(model, held(noise(7), model.caps)) == first
    assert await text(model, held(noise(7), model.caps)) == first
    assert await text(model, held(noise(8), model.caps)) != first


async def test_no_seed_gives_another_text_each_time(model):
    seeded(model)
    assert len({await text(model, held(noise(), model.caps)) for _ in range(3)}) == 3


@pytest.mark.parametrize("seed", [-1, 0, 2**32 - 1, 2**40])
async def test_any_integer_is_a_seed_that_counts(model, seed):
    seeded(model)
    assert await text(model, held(noise(seed), model.caps)) == await text(
        model, held(noise(seed), model.caps)
    )


async def test_all_of_sampling_is_taken(model):
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
    assert (await answer(model, Prompt(CAPITAL, sampling=sampling))).finish in ("stop", "length")


async def test_a_repeated_prompt_comes_from_the_cache(engine):
    prompt = Prompt(chatml("Tell me about the garden and the river."), sampling=GREEDY)
    first = await answer(engine, prompt)
    again = await answer(engine, prompt)
    assert again.message == first.message
    assert again.usage.cached is not None
    assert again.usage.prompt - 4 <= again.usage.cached < again.usage.prompt


async def test_control_tokens_count_as_one(model):
    if not model.caps.tokenize:
        pytest.skip("it counts no tokens")
    assert await model.count("<|im_start|>") == 1
    assert await model.count("") == 0
    assert await model.count("The capital of France") < len("The capital of France")


@pytest.mark.parametrize(
    "grammar", ['root ::= "a', "root ::= nothing", 'root ::= root "a"'], ids=str.__str__
)
async def test_a_bad_grammar_is_the_clients_fault(model, grammar):
    with pytest.raises(GrammarError):
        await answer(model, Prompt(CAPITAL, grammar=grammar))
    assert await text(model, Prompt(CAPITAL, sampling=GREEDY)) == PARIS


async def test_text_beyond_ascii_survives(model):
    word = "Zoë 😀 \u2028 漢字"
    if model.caps.grammar:
        prompt = Prompt(f"{word}: ", grammar=f'root ::= "{word}"', sampling=GREEDY)
        assert await text(model, prompt) == word
    elif model.caps.schema:
        prompt = Prompt(f"{word}: ", schema={"const": word}, sampling=GREEDY)
        assert json.loads(await text(model, prompt)) == word
