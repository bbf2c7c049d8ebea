"""Ollama's own traps, over the made-up server that has them."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from asking import CAPITAL, GREEDY, answer, text
from wire_servers.base import Asked, Reply, document, line
from wire_servers.model import Answer, Model
from wire_servers.ollama import OllamaServer

from llmgate.backends import ollama_json
from llmgate.errors import (
    BackendBusy,
    BackendError,
    BackendRejected,
    ContextOverflow,
    RequestError,
)
from llmgate.types import Delta, Prompt, Sampling, Usage

PARIS = "The capital of France is Paris."
HI = Prompt("hi", sampling=Sampling(max_tokens=10))
LAST = {"response": "", "done": True, "done_reason": "stop", "eval_count": 1}


def saying(*lines: object):
    """A fault: these lines in place of the answer."""

    def fault(asked: Asked, reply: Reply) -> Reply:
        reply.frames = [line(one) for one in lines]
        return reply

    return fault


def refusing(status: int, error: object):
    """A fault: this error in place of the answer."""
    return lambda asked, reply: document({"error": error}, status)


async def test_its_own_field_names_are_sent():
    server = OllamaServer()
    extra = {"keep_alive": "1h", "options": {"num_gpu": 1}}
    async with server.opened(context=1024, extra=extra) as backend:
        sampling = Sampling(7, 0.5, 0.9, 40, 0.05, 1.1, 0.1, 0.2, -1)
        await answer(backend, Prompt("hi", ("x", ""), None, sampling, schema={"type": "string"}))
    assert server.body == {
        "model": "tiny",
        "prompt": "hi",
        "raw": True,
        "stream": True,
        "think": False,
        "truncate": False,
        "shift": False,
        "format": {"type": "string"},
        "keep_alive": "1h",
        "options": {
            "num_ctx": 1024,
            "num_predict": 7,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 40,
            "min_p": 0.05,
            "repeat_penalty": 1.1,
            "presence_penalty": 0.1,
            "frequency_penalty": 0.2,
            "seed": 2**31 - 2,
            "stop": ["x"],
            "num_gpu": 1,
        },
    }


async def test_only_what_was_chosen_is_sent():
    server = OllamaServer()
    async with server.opened() as backend:
        await answer(backend, Prompt("hi"))
    assert server.body["options"] == {}
    assert "format" not in server.body


async def test_a_schema_that_allows_anything_is_one_that_it_knows():
    server = OllamaServer()
    async with server.opened() as backend:
        await answer(backend, Prompt("hi", schema=True))
    assert server.body["format"] == {}


async def test_an_answer_has_its_usage():
    async with OllamaServer().opened() as backend:
        got = await answer(backend, Prompt(CAPITAL, sampling=GREEDY))
    assert (got.usage.completion, got.usage.cached) == (9, None)
    assert got.usage.prompt == Model().count(CAPITAL)


@pytest.mark.parametrize(
    ("last", "finish", "usage"),
    [
        ({}, "stop", Usage(0, 1)),
        ({"done_reason": "length"}, "length", Usage(0, 1)),
        ({"prompt_eval_count": 4}, "stop", Usage(4, 1)),
        ({"eval_count": None}, "stop", Usage()),
    ],
)
async def test_every_ending_is_understood(last, finish, usage):
    server = OllamaServer()
    server.fault = saying({"response": "a", "done": False}, {**LAST, **last})
    async with server.opened() as backend:
        got = await answer(backend, HI)
    assert (got.message.content, got.finish, got.usage) == ("a", finish, usage)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([{"response": "a", "done": False}], "ended in the middle of an answer"),
        ([], "ended in the middle of an answer"),
        ([{**LAST, "eval_count": 0}], "before it began"),
        ([{"response": "a", "done": False}, {"error": "it broke"}], "it broke"),
        ([{"error": json.dumps({"error": {"code": 500, "message": "it broke"}})}], "it broke"),
    ],
)
async def test_what_is_no_answer_is_an_error(lines, problem):
    server = OllamaServer()
    server.fault = saying(*lines)
    async with server.opened() as backend:
        with pytest.raises(BackendError, match=problem) as caught:
            await answer(backend, HI)
    assert server.url in str(caught.value)


@pytest.mark.parametrize("piece", ["ha", " \n"])
async def test_giving_up_on_repetition_is_said(piece):
    class Stuck(Model):
        def answer(self, *args, **kwargs):
            return Answer([piece] * 100, (), 100)

    async with OllamaServer(Stuck()).opened(constraint="none") as backend:
        with pytest.raises(BackendError, match="the same piece more than 30 times"):
            await answer(backend, Prompt("hi"))


async def test_a_prompt_beyond_the_context_is_refused_by_the_server_itself():
    server = OllamaServer()
    async with server.opened() as backend:
        assert not backend.caps.truncates
        with pytest.raises(ContextOverflow, match="available context size"):
            await answer(backend, Prompt("garden " * 3000))
    server = OllamaServer()
    server.fault = refusing(400, "the input length exceeds the context length")
    async with server.opened() as backend:
        with pytest.raises(ContextOverflow):
            await answer(backend, HI)


@pytest.mark.parametrize(
    ("version", "truncates"),
    [
        ("0.33.0", False),
        ("0.13.0-rc1", False),
        ("1.0", False),
        ("0.12.6", True),
        ("0.7.0", True),
        ("0.0.0", True),
        ("main", True),
        (None, True),
    ],
)
def test_older_versions_cut_whatever_they_are_told(version, truncates):
    assert ollama_json.truncates(version) is truncates


async def test_a_version_that_cuts_without_a_known_context_is_warned_of(caplog):
    server = OllamaServer()
    server.version, server.loaded = "0.7.0", False
    with caplog.at_level(logging.WARNING):
        async with server.opened() as backend:
            assert backend.caps.truncates
            assert backend.caps.context is None
    assert "set `context`" in caplog.text


@pytest.mark.parametrize(
    ("parameters", "loaded", "context"),
    [
        ('num_ctx                        4096\nstop    "x"', False, 4096),
        ("num_ctx                        4096", True, 2048),
        ("temperature 0.1", False, None),
        (None, True, 2048),
    ],
)
async def test_the_context_is_what_the_model_is_loaded_with(parameters, loaded, context):
    server = OllamaServer()
    server.parameters, server.loaded = parameters, loaded
    async with server.opened() as backend:
        assert backend.caps.context == context


async def test_the_settings_say_the_context():
    server = OllamaServer()
    async with server.opened(context=512) as backend:
        assert backend.caps.context == 512
        with pytest.raises(ContextOverflow):
            await answer(backend, Prompt("garden " * 600))
    assert server.body["options"]["num_ctx"] == 512


async def test_a_model_is_not_loaded_to_be_probed_and_is_asked_once_it_is():
    server = OllamaServer()
    server.loaded = False
    async with server.opened() as backend:
        assert "/api/generate" not in server.paths()
        assert backend.caps.context is None
        for _ in range(3):
            assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS
        assert backend.caps.context == 2048
        assert server.paths().count("/api/ps") == 2


async def test_a_server_that_never_says_what_is_loaded_is_asked_once_more():
    class Silent(OllamaServer):
        def routes(self):
            return {**super().routes(), ("GET", "/api/ps"): lambda asked: document({"models": []})}

    server = Silent()
    async with server.opened() as backend:
        for _ in range(4):
            await answer(backend, HI)
        assert backend.caps.context is None
    assert server.paths().count("/api/ps") == 2


async def test_the_name_there_is_that_of_the_settings():
    server = OllamaServer()
    server.name = "llama3.2:1b"
    async with server.opened(model="llama3.2:1b") as backend:
        assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS
        assert await backend.models() == ("llama3.2:1b",)
    assert server.body["model"] == "llama3.2:1b"


async def test_a_model_that_is_not_there_can_be_pulled():
    server = OllamaServer()
    async with server.opened(model="nowhere") as backend:
        for ask in (lambda: answer(backend, HI), backend.health, backend.load):
            with pytest.raises(BackendRejected, match=r"not found.*ollama pull nowhere"):
                await ask()


async def test_a_full_queue_is_busy():
    server = OllamaServer()
    server.busy = True
    async with server.opened() as backend:
        with pytest.raises(BackendBusy, match="maximum pending requests"):
            await answer(backend, HI)


async def test_think_is_left_out_where_it_is_refused():
    def refuse(asked: Asked, reply: Reply) -> Reply:
        if "think" in asked.json:
            return server.error(400, '"tiny" does not support thinking')
        return reply

    server = OllamaServer()
    server.fault = refuse
    async with server.opened() as backend:
        asked = len(server.requests)
        got = await answer(backend, Prompt(CAPITAL, sampling=GREEDY))
        assert (got.message.content, got.notes) == (PARIS, ())
        await answer(backend, Prompt(CAPITAL, sampling=GREEDY))
        assert len(server.requests) <= asked + 3


async def test_thinking_that_was_asked_for_in_vain_is_noted():
    server = OllamaServer()
    async with server.opened(extra={"think": True}, constraint="none") as backend:
        got = await answer(backend, Prompt(CAPITAL, sampling=GREEDY))
    assert got.message.content == PARIS
    assert [note.code for note in got.notes] == ["ignored_parameter"]


async def test_thoughts_are_no_text():
    server = OllamaServer()
    server.fault = saying({"thinking": "hm", "done": False}, {"response": "a", "done": False}, LAST)
    async with server.opened() as backend:
        got = await answer(backend, HI)
    assert (got.message.content, got.message.reasoning) == ("a", "hm")


async def test_a_grammar_is_noted_as_not_held_to():
    async with OllamaServer().opened() as backend:
        got = await answer(backend, Prompt(CAPITAL, grammar='root ::= "a"', sampling=GREEDY))
    assert [note.code for note in got.notes] == ["constraint"]


@pytest.mark.parametrize("status", [400, 500])
async def test_a_schema_that_it_refuses_is_left_out_and_noted(status):
    def refuse(asked: Asked, reply: Reply) -> Reply:
        if "format" in asked.json:
            return server.error(status, "failed to parse grammar: expecting name at %")
        return reply

    server = OllamaServer()
    async with server.opened() as backend:
        server.fault = refuse
        got = await answer(backend, Prompt(CAPITAL, schema={"type": "string"}, sampling=GREEDY))
    assert got.message.content == PARIS
    assert [note.code for note in got.notes] == ["constraint"]


async def test_a_server_that_ignores_schemas_is_found_out(caplog):
    class Careless(OllamaServer):
        def reply(self, asked):
            asked.body = asked.body.replace(b'"format"', b'"ignored"')
            return super().reply(asked)

    with caplog.at_level(logging.WARNING):
        async with Careless().opened() as backend:
            assert not backend.caps.schema
    assert "does not hold to JSON Schemas" in caplog.text


async def test_a_model_with_a_format_of_its_own_is_held_to_none():
    server = OllamaServer()
    server.info["general.architecture"] = "gptoss"
    async with server.opened() as backend:
        assert not backend.caps.schema


@pytest.mark.parametrize(
    ("info", "adds"),
    [
        ({"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.model": "gpt2"}, True),
        ({"tokenizer.ggml.add_bos_token": False, "tokenizer.ggml.model": "llama"}, False),
        ({"tokenizer.ggml.model": "llama"}, True),
        ({"tokenizer.ggml.model": "gpt2"}, False),
        ({"general.architecture": "gemma4", "tokenizer.ggml.add_bos_token": False}, True),
        ({"general.architecture": "lfm2moe"}, True),
        ({}, False),
    ],
)
def test_the_models_file_says_whether_a_bos_is_added(info, adds):
    assert ollama_json.adds_bos(info) is adds


@pytest.mark.parametrize("bos", ["<s>", "<|begin_of_text|>"])
async def test_the_bos_is_there_once(bos):
    server = OllamaServer()
    server.bos = bos
    server.info["tokenizer.ggml.add_bos_token"] = True
    async with server.opened() as backend:
        await answer(backend, Prompt(f"{bos}hi {bos}"))
        assert server.seen == f"{bos}hi {bos}"
    server = OllamaServer()
    async with server.opened() as backend:
        await answer(backend, Prompt(f"{bos}hi"))
        assert server.seen == f"{bos}hi"


async def test_a_jinja_template_is_taken_where_there_is_one():
    server = OllamaServer()
    server.info["tokenizer.chat_template"] = "{{ messages }}"
    async with server.opened() as backend:
        assert backend.caps.template.text == "{{ messages }}"


@pytest.mark.parametrize("prompt", ["", "<s>"])
async def test_an_empty_prompt_is_refused_and_not_sent(prompt):
    server = OllamaServer()
    server.info["tokenizer.ggml.add_bos_token"] = True
    async with server.opened() as backend:
        asked = len(server.requests)
        with pytest.raises(RequestError, match="empty prompt"):
            await answer(backend, Prompt(prompt))
        assert len(server.requests) == asked


async def test_a_model_can_be_loaded_and_unloaded():
    server = OllamaServer()
    server.loaded = False
    async with server.opened(context=1024, extra={"keep_alive": "1h"}) as backend:
        await backend.load()
        assert server.loaded
        assert server.body["options"] == {"num_ctx": 1024}
        assert server.body["keep_alive"] == "1h"
        await backend.unload()
        assert not server.loaded


async def test_texts_become_vectors_and_none_is_cut():
    server = OllamaServer()
    async with server.opened(context=512, extra={"keep_alive": "1h"}) as backend:
        got = await backend.embed(["one two", "three"])
        assert got.vectors == ((0.6, 0.8), (0.6, 0.8))
        assert got.usage.prompt == 4
        assert server.requests[-1].json == {
            "model": "tiny",
            "input": ["one two", "three"],
            "truncate": False,
            "keep_alive": "1h",
            "options": {"num_ctx": 512},
        }
        with pytest.raises(ContextOverflow):
            await backend.embed(["garden " * 3000])
    async with OllamaServer().opened(model="nowhere") as backend:
        with pytest.raises(BackendRejected, match="ollama pull nowhere"):
            await backend.embed(["one"])


async def test_a_client_that_leaves_ends_the_answer():
    server = OllamaServer()
    async with server.opened() as backend:
        deltas = backend.complete(Prompt("tic tac "))
        await anext(deltas)
        await deltas.aclose()
        async with asyncio.timeout(5):
            await server.left.wait()


def test_pieces_that_differ_in_space_are_the_same_piece():
    reader = ollama_json.AnswerReader()
    for piece in ["a", " a", "a\n", "b", "  ", "\n"]:
        assert reader.take({"response": piece, "done": False}) == [Delta(piece)]
    assert reader.repeated == 1
