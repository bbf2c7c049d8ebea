"""What the servers with an OpenAI-style /v1/completions are sent, and what their traps come to."""

from __future__ import annotations

import asyncio
import json

import pytest
from asking import CAPITAL, GREEDY, answer, text
from wire_servers import SERVERS
from wire_servers.base import EVENTS, Reply, event

from llmgate.backends import open_backend
from llmgate.backends.completions import constraint_of
from llmgate.backends.completions_rows import VLLM
from llmgate.config import ModelSettings, Timeouts
from llmgate.errors import (
    BackendError,
    BackendRejected,
    BackendTimeout,
    BackendUnreachable,
    ContentFiltered,
    ContextOverflow,
    GrammarError,
)
from llmgate.types import Prompt, Sampling, Usage

ROWS = ["llama-cpp-python", "lmstudio", "openai-completions", "sglang", "textgen", "vllm"]
PROMPT = "garden " * 600
LETTERS = "root ::= [a-c]{2,4}"
ALL = Sampling(
    max_tokens=20,
    temperature=0.7,
    top_p=0.9,
    top_k=20,
    min_p=0.1,
    repeat_penalty=1.1,
    presence_penalty=0.2,
    frequency_penalty=0.3,
    seed=-1,
)
COMMON = {
    "prompt": "hi",
    "stream": True,
    "stop": ["end"],
    "max_tokens": 20,
    "temperature": 0.7,
    "top_p": 0.9,
    "presence_penalty": 0.2,
    "frequency_penalty": 0.3,
    "seed": 2**31 - 2,
}
USAGE = {"stream_options": {"include_usage": True}}
TRANSFORMERS = {"top_k": 20, "min_p": 0.1, "repetition_penalty": 1.1, "skip_special_tokens": False}
SENT = {
    "openai-completions": {**USAGE, "model": "tiny"},
    "lmstudio": {**USAGE, "model": "tiny", "top_k": 20, "repeat_penalty": 1.1},
    "llama-cpp-python": {"top_k": 20, "min_p": 0.1, "repeat_penalty": 1.1},
    "textgen": {**USAGE, **TRANSFORMERS, "truncation_length": 2048},
    "sglang": {**USAGE, **TRANSFORMERS, "model": "tiny"},
    "vllm": {
        **USAGE,
        **TRANSFORMERS,
        "model": "tiny",
        "add_special_tokens": False,
        "spaces_between_special_tokens": False,
    },
}
HELD = {
    "llama-cpp-python": {"grammar": LETTERS},
    "textgen": {"grammar_string": LETTERS},
    "vllm": {"structured_outputs": {"grammar": LETTERS + "\n"}},
    "sglang": {"ebnf": LETTERS + "\n"},
}


def choice(said: str, finish: str | None = None, **more: object) -> bytes:
    """One event of an answer."""
    return event({"choices": [{"index": 0, "text": said, "finish_reason": finish, **more}]})


async def told(kind: str, *frames: bytes, prompt: Prompt | None = None, **reply):
    """The answer to a prompt that the server answers with these frames."""
    server = SERVERS[kind]()
    async with server.opened(constraint="none") as backend:
        server.fault = lambda asked, sent: Reply(list(frames), type=EVENTS, chunked=True, **reply)
        return await answer(backend, prompt or Prompt("hi"))


@pytest.mark.parametrize("kind", ROWS)
async def test_every_choice_is_sent_by_the_servers_names_and_nothing_else(kind):
    server = SERVERS[kind]()
    async with server.opened(extra={"own": 1}) as backend:
        got = await answer(backend, Prompt("hi", stop=("end", ""), sampling=ALL))
    assert server.body == {**COMMON, **SENT[kind], "own": 1}
    missing = {"top_k", "min_p", "repeat_penalty"} if kind == "openai-completions" else set()
    missing = {"min_p"} if kind == "lmstudio" else missing
    assert {note.message.split()[-2] for note in got.notes} == missing
    assert {note.code for note in got.notes} <= {"ignored_parameter"}


@pytest.mark.parametrize("kind", ROWS)
async def test_a_grammar_goes_into_the_servers_own_field(kind):
    server = SERVERS[kind]()
    async with server.opened() as backend:
        got = await answer(backend, Prompt("hi", grammar=LETTERS, sampling=GREEDY))
    if kind in HELD:
        assert HELD[kind].items() <= server.body.items()
        assert not got.notes
    else:
        assert "grammar" not in server.body
        assert [note.code for note in got.notes] == ["unconstrained"]


@pytest.mark.parametrize(
    ("kind", "version", "sent"),
    [
        ("vllm", "0.26.1", {"structured_outputs": {"json": {"const": 1}}}),
        ("vllm", "0.11.2", {"guided_json": {"const": 1}}),
        ("sglang", "", {"json_schema": '{"const":1}'}),
    ],
)
async def test_a_schema_is_sent_where_the_settings_want_it(kind, version, sent):
    server = SERVERS[kind]()
    if version:
        server.version = version
    async with server.opened(constraint="schema") as backend:
        assert (backend.caps.grammar, backend.caps.schema) == (False, True)
        assert json.loads(await text(backend, Prompt("hi", schema={"const": 1}))) == 1
    assert sent.items() <= server.body.items()


@pytest.mark.parametrize(
    ("version", "field"),
    [
        ("0.11.2", "guided_grammar"),
        ("0.6.3.post1", "guided_grammar"),
        ("0.12.0rc1", "structured_outputs"),
        ("1.0", "structured_outputs"),
        ("", "structured_outputs"),
        ("dev", "structured_outputs"),
    ],
)
def test_vllms_version_says_how_it_is_constrained(version, field):
    way = constraint_of(VLLM, version).grammar
    assert way is not None
    assert way[0] == field


async def test_a_vllm_that_overlooks_the_field_is_found_out(caplog):
    server = SERVERS["vllm"]()
    server.constraint = lambda body: {}
    async with server.opened() as backend:
        assert not backend.caps.grammar
        assert not backend.caps.schema
        got = await answer(backend, Prompt("hi", grammar=LETTERS))
    assert [note.code for note in got.notes] == ["unconstrained"]
    assert "does not hold to grammars" in caplog.text


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("begun", [True, False])
async def test_a_bos_comes_exactly_once(kind, begun):
    server = SERVERS[kind]()
    server.bos = "<s>"
    async with server.opened() as backend:
        await answer(backend, Prompt("<s>hi" if begun else "hi", sampling=GREEDY))
        if kind not in ("lmstudio", "openai-completions"):
            assert server.seen == "<s>hi"
        if backend.caps.tokenize:
            assert await backend.count("hi there") == server.model.count("hi there")


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
async def test_a_server_without_a_bos_gets_the_prompt_as_it_is(kind):
    server = SERVERS[kind]()
    async with server.opened() as backend:
        await answer(backend, Prompt("<s>hi", sampling=GREEDY))
    assert server.seen == "<s>hi"


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("vllm", None),
        ("llama-cpp-python", None),
        ("sglang", 2048 - 1201 - 2),
        ("textgen", 2048 - 1201 - 2),
        # Nobody counts there: two bytes are taken for a token, and something is always left.
        ("lmstudio", 256),
        ("openai-completions", 256),
    ],
)
async def test_an_answer_may_be_as_long_as_the_context_leaves(kind, sent):
    server = SERVERS[kind]()
    async with server.opened() as backend:
        await answer(backend, Prompt(PROMPT, sampling=GREEDY))
        assert server.body["max_tokens"] == sent
        await answer(backend, Prompt("hi", sampling=GREEDY))
        short = None if sent is None else 2048 - 3 if sent > 256 else 2048 - 1
        assert server.body["max_tokens"] == short


@pytest.mark.parametrize("kind", ["vllm", "sglang", "textgen", "llama-cpp-python"])
async def test_more_than_the_context_leaves_is_not_asked_for(kind):
    server = SERVERS[kind]()
    async with server.opened() as backend:
        await answer(backend, Prompt("hi", sampling=Sampling(max_tokens=5000, temperature=0.0)))
    assert server.body["max_tokens"] == 2048 - 3


async def test_where_the_context_is_unknown_the_length_is_the_rows():
    server = SERVERS["textgen"]()
    async with server.opened(context=None) as backend:
        assert backend.caps.context is None
        await answer(backend, Prompt("hi", sampling=GREEDY))
    assert server.body["max_tokens"] == 2048
    assert "truncation_length" not in server.body


async def test_a_long_prompt_that_lm_studio_answers_with_nothing_is_too_long():
    async with SERVERS["lmstudio"]().opened() as backend:
        with pytest.raises(ContextOverflow, match="2048"):
            await answer(backend, Prompt("garden " * 2500))


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
async def test_a_prompt_that_is_too_long_is_counted_or_refused(kind):
    async with SERVERS[kind]().opened() as backend:
        for most in (None, 10):
            with pytest.raises(ContextOverflow, match="2048"):
                await answer(backend, Prompt("garden " * 2500, sampling=Sampling(max_tokens=most)))


async def test_only_so_many_stop_strings_are_sent_as_are_taken_and_all_hold():
    stops = ("one", "two", "three", "four", "France")
    server = SERVERS["openai-completions"]()
    async with server.opened() as backend:
        got = await answer(backend, Prompt(CAPITAL, stop=stops, sampling=GREEDY))
    assert server.body["stop"] == list(stops[:4])
    assert (got.message.content, got.finish) == ("The capital of ", "stop")


# How answers end.


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize(
    "frames",
    [
        [choice("a"), event("[DONE]")],
        [choice("a"), choice("", "abort"), event("[DONE]")],
        [choice("a"), event({"error": {"message": "lost", "code": 500}}), event("[DONE]")],
        [choice("a"), event({"object": "error", "message": "lost", "code": 500})],
        [choice("a"), event({"error": "lost"})],
        [choice("a")],
        [event("[DONE]")],
        [],
    ],
    ids=["done alone", "abort", "error then done", "flat error", "text", "cut", "only done", "no"],
)
async def test_an_answer_without_a_finish_has_failed(kind, frames):
    with pytest.raises(BackendError):
        await told(kind, *frames)


@pytest.mark.parametrize("kind", ROWS)
async def test_an_empty_answer_is_one_only_where_an_empty_one_can_be_told(kind):
    frames = [choice("", "stop"), event("[DONE]")]
    if kind == "llama-cpp-python":
        assert (await told(kind, *frames)).message.content == ""
    else:
        with pytest.raises(BackendError, match="before it began"):
            await told(kind, *frames)


@pytest.mark.parametrize(
    ("kind", "frames"),
    [
        ("vllm", [choice("", "stop", stop_reason="end"), event("[DONE]")]),
        ("vllm", [choice("", "stop"), event({"choices": [], "usage": {"completion_tokens": 1}})]),
        ("sglang", [choice("", "stop", matched_stop="end"), event("[DONE]")]),
        ("sglang", [choice("", "stop", matched_stop=2), event("[DONE]")]),
    ],
)
async def test_a_stop_that_is_named_makes_an_empty_answer_whole(kind, frames):
    got = await told(kind, *frames)
    assert (got.message.content, got.finish) == ("", "stop")


async def test_textgens_count_of_an_empty_answer_is_none():
    usage = event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})
    with pytest.raises(BackendError, match="before it began"):
        await told("textgen", choice("", "stop"), usage, event("[DONE]"))


async def test_cached_tokens_are_told_where_they_are():
    details = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": None}
    usage = event({"choices": [], "usage": details})
    assert (await told("vllm", choice("a", "stop"), usage)).usage == Usage(9, 2, None)
    details["prompt_tokens_details"] = {"cached_tokens": 4}
    usage = event({"choices": [], "usage": details})
    got = await told("vllm", choice("a"), choice("", "length"), usage, event("[DONE]"))
    assert (got.usage, got.finish) == (Usage(9, 2, 4), "length")


async def test_an_answer_that_is_filtered_is_not_passed_off_as_whole():
    with pytest.raises(ContentFiltered, match="content_filter"):
        await told("openai-completions", choice("a"), choice("", "content_filter"))


async def test_what_follows_the_end_is_not_passed_on():
    got = await told("vllm", choice("a", "stop"), choice("leaked"), event("[DONE]"))
    assert got.message.content == "a"


@pytest.mark.parametrize("kind", ROWS)
async def test_silence_is_a_timeout(kind):
    server = SERVERS[kind]()
    timeouts = Timeouts(first_token=0.2, between_tokens=0.2)
    async with server.opened(constraint="none", timeouts=timeouts) as backend:
        server.fault = lambda asked, sent: Reply(
            [choice("a")], type=EVENTS, chunked=True, end="silence"
        )
        with pytest.raises(BackendTimeout):
            await answer(backend, Prompt("hi", sampling=Sampling(max_tokens=5)))


# What the server is asked beside that.


async def test_a_textgen_without_a_model_is_not_well():
    server = SERVERS["textgen"]()
    async with server.opened() as backend:
        await backend.health()
        server.loaded = False
        with pytest.raises(BackendUnreachable, match="no model loaded"):
            await backend.health()
        with pytest.raises(BackendError, match="before it began"):
            await answer(backend, Prompt("hi"))


async def test_lm_studio_is_asked_for_the_model_that_is_loaded():
    server = SERVERS["lmstudio"]()
    async with server.opened() as backend:
        assert backend.caps.context == 2048
        await answer(backend, Prompt("hi", sampling=GREEDY))
        assert server.body["model"] == "tiny"
    async with server.opened(model="other") as backend:
        assert backend.caps.context is None
        with pytest.raises(BackendRejected, match="not found"):
            await answer(backend, Prompt("hi"))


async def test_a_newer_lm_studio_tells_the_context_of_each_instance():
    server = SERVERS["lmstudio"]()
    loaded = {"id": "tiny", "config": {"context_length": 1024}}
    entries = [
        {"type": "embedding", "key": "embedder", "loaded_instances": [loaded]},
        {"type": "llm", "key": "other", "loaded_instances": []},
        {"type": "llm", "key": "tiny", "loaded_instances": [loaded], "max_context_length": 9999},
    ]
    server.listed = entries
    async with server.opened() as backend:
        assert backend.caps.context == 1024
        await answer(backend, Prompt("hi", sampling=GREEDY))
    assert server.body["model"] == "tiny"


async def test_the_server_of_llama_cpp_python_is_asked_one_thing_at_a_time():
    server = SERVERS["llama-cpp-python"]()
    async with server.opened() as backend:
        first = backend.complete(Prompt(CAPITAL, sampling=GREEDY))
        await anext(first)
        others = [asyncio.create_task(backend.count("hi")), asyncio.create_task(backend.models())]
        await backend.health()
        asked = len(server.requests)
        await asyncio.sleep(0.05)
        assert len(server.requests) == asked
        rest = [delta async for delta in first]
        assert rest[-1].finish == "stop"
        assert await asyncio.gather(*others) == [1, ("tiny",)]


async def test_a_model_that_is_not_there_says_so():
    async with SERVERS["vllm"]().opened(model="gone") as backend:
        with pytest.raises(BackendRejected, match="does not exist"):
            await answer(backend, Prompt("hi"))


async def test_embeddings_are_asked_of_the_model_that_is_there():
    server = SERVERS["vllm"]()
    async with server.opened() as backend:
        assert (await backend.embed(["hi"])).vectors == ((0.6, 0.8),)
    assert server.requests[-1].json == {"model": "tiny", "input": ["hi"]}


@pytest.mark.parametrize("name", ["oobabooga", "text-generation-webui", "llama-server"])
async def test_other_names_of_a_server_are_understood(name):
    backend = open_backend("mine", ModelSettings(backend=name, url="http://127.0.0.1:9"))
    assert backend.kind in ("text-generation-webui", "llama-server")
    await backend.aclose()


@pytest.mark.parametrize("kind", ROWS)
async def test_a_bad_grammar_is_never_sent(kind):
    server = SERVERS[kind]()
    async with server.opened() as backend:
        server.requests.clear()
        with pytest.raises(GrammarError):
            await answer(backend, Prompt("hi", grammar="root ::= nothing"))
    assert "/v1/completions" not in server.paths()


@pytest.mark.parametrize("kind", ROWS)
async def test_a_server_that_is_down_says_what_should_be_there(kind):
    backend = open_backend("mine", ModelSettings(backend=kind, url="http://127.0.0.1:9"))
    await backend.start()
    with pytest.raises(BackendUnreachable, match=r"Is .* running there"):
        await answer(backend, Prompt("hi"))
    await backend.aclose()
