"""The old API of text-generation-webui: its own traps, over the made-up server that has them."""

from __future__ import annotations

import asyncio

import pytest
from asking import CAPITAL, GREEDY, answer, text
from wire_servers.base import Asked, Reply, document
from wire_servers.textgen_legacy import TextgenLegacyServer

from llmgate.errors import BackendError, BackendUnreachable, ContextOverflow, Unsupported
from llmgate.types import Prompt, Sampling, Usage

PARIS = "The capital of France is Paris."
HI = Prompt("hi", sampling=Sampling(max_tokens=10))


def replying(value: object, status: int = 200):
    """A fault: this in place of the reply."""

    def fault(asked: Asked, reply: Reply) -> Reply:
        return document(value, status)

    return fault


async def test_its_own_field_names_are_sent():
    server = TextgenLegacyServer()
    async with server.opened(extra={"ban_eos_token": True}) as backend:
        sampling = Sampling(7, 0.5, 0.9, 40, None, 1.1, None, None, -1)
        await answer(
            backend, Prompt("<s>hi", ("x", ""), 'root ::= "a"', sampling, preserved=("<t>",))
        )
    assert server.body == {
        "prompt": "<s>hi",
        "truncation_length": 2048,
        "max_new_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "repetition_penalty": 1.1,
        "seed": 2**31 - 2,
        "stopping_strings": ["x"],
        "grammar_string": 'root ::= "a"',
        "skip_special_tokens": False,
        "add_bos_token": False,
        "ban_eos_token": True,
    }


async def test_no_temperature_is_no_sampling():
    server = TextgenLegacyServer()
    async with server.opened() as backend:
        assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS
    chosen = {name: server.body[name] for name in ("do_sample", "temperature", "top_k")}
    assert chosen == {"do_sample": False, "temperature": 1.0, "top_k": 1}


async def test_what_it_has_no_field_for_is_noted():
    async with TextgenLegacyServer().opened() as backend:
        sampling = Sampling(5, min_p=0.1, presence_penalty=0.1, frequency_penalty=0.1)
        got = await answer(backend, Prompt("hi", sampling=sampling))
    assert [note.code for note in got.notes] == ["ignored_parameter"] * 3
    assert "min_p" in got.notes[0].message


@pytest.mark.parametrize(
    ("most", "finish"), [(3, "length"), (8, "length"), (9, "length"), (10, "stop")]
)
async def test_an_answer_that_has_all_it_might_have_was_cut(most, finish):
    async with TextgenLegacyServer().opened() as backend:
        sampling = Sampling(max_tokens=most, temperature=0.0)
        got = await answer(backend, Prompt(CAPITAL, sampling=sampling))
    assert PARIS.startswith(got.message.content)
    assert (got.finish, got.usage) == (finish, Usage())


async def test_an_answer_of_short_tokens_is_counted_too():
    server = TextgenLegacyServer()
    server.fault = replying({"results": [{"text": "a b c d e"}]})
    async with server.opened() as backend:
        for most, finish in [(5, "length"), (6, "stop"), (9, "stop")]:
            got = await answer(backend, Prompt("hi", sampling=Sampling(max_tokens=most)))
            assert got.finish == finish


async def test_a_short_answer_is_not_counted():
    server = TextgenLegacyServer()
    async with server.opened() as backend:
        sampling = Sampling(max_tokens=100, temperature=0.0)
        assert (await answer(backend, Prompt(CAPITAL, sampling=sampling))).finish == "stop"
    assert "/api/v1/token-count" not in server.paths()


async def test_a_stop_string_ends_the_answer_whatever_the_server_does_with_it():
    server = TextgenLegacyServer()
    server.fault = replying({"results": [{"text": "a b\nUSER: c"}]})
    async with server.opened() as backend:
        got = await answer(backend, Prompt("hi", ("\nUSER",), sampling=Sampling(max_tokens=5)))
    assert (got.message.content, got.finish) == ("a b", "stop")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"results": [{"text": ""}]}, "before it began"),
        ({"results": [{}]}, "ended in the middle"),
        ({"results": []}, "ended in the middle"),
        ({"results": "none"}, "ended in the middle"),
        ({}, "ended in the middle"),
        ([], "no JSON object"),
        ({"error": "out of memory"}, "out of memory"),
    ],
)
async def test_what_is_no_answer_is_an_error(value, problem):
    server = TextgenLegacyServer()
    server.fault = replying(value)
    async with server.opened() as backend:
        with pytest.raises(BackendError, match=problem) as caught:
            await answer(backend, HI)
    assert server.url in str(caught.value)


async def test_half_a_document_is_an_error():
    def cut(asked: Asked, reply: Reply) -> Reply:
        reply.frames, reply.end, reply.eof = [b'{"results": [{"text": "The cap'], "close", True
        return reply

    server = TextgenLegacyServer()
    server.fault = cut
    async with server.opened() as backend:
        with pytest.raises(BackendError):
            await answer(backend, HI)


async def test_a_long_answer_takes_nothing_from_the_prompt():
    server = TextgenLegacyServer()
    async with server.opened() as backend:
        prompt = "garden " * 900
        await answer(backend, Prompt(prompt, sampling=Sampling(max_tokens=4000)))
        assert server.cut == 0
        assert server.body["max_new_tokens"] < 2048


async def test_a_prompt_that_leaves_no_room_is_refused_before_it_is_sent():
    server = TextgenLegacyServer()
    async with server.opened(context=512) as backend:
        asked = server.paths().count(server.answers[0])
        with pytest.raises(ContextOverflow, match="holds 512"):
            await answer(backend, Prompt("garden " * 600))
        assert server.paths().count(server.answers[0]) == asked


async def test_a_server_without_a_model_is_not_well():
    server = TextgenLegacyServer()
    async with server.opened() as backend:
        assert await backend.models() == ("tiny",)
        assert await backend.health() is None
        server.name = "None"
        assert await backend.models() == ()
        with pytest.raises(BackendUnreachable, match="no model loaded"):
            await backend.health()


async def test_it_makes_no_vectors():
    async with TextgenLegacyServer().opened() as backend:
        with pytest.raises(Unsupported, match="embeddings"):
            await backend.embed(["one"])


async def test_a_client_that_leaves_closes_the_connection():
    came = asyncio.Event()

    def wait(asked: Asked, reply: Reply) -> Reply:
        came.set()
        reply.end = "silence"
        reply.headers["content-length"] = "1000"
        return reply

    server = TextgenLegacyServer()
    async with server.opened() as backend:
        server.fault = wait
        asking = asyncio.create_task(answer(backend, HI))
        async with asyncio.timeout(5):
            await came.wait()
            asking.cancel()
            await server.left.wait()
