"""Habits of the real server of llama-cpp-python, which its row knows of."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from asking import CAPITAL, GREEDY, answer, endless, text
from llama_cpp_python import needs_llama_cpp_python

from llmgate.backends import open_backend
from llmgate.config import ModelSettings
from llmgate.errors import BackendError, BackendRejected, ContextOverflow
from llmgate.types import Prompt, Sampling

pytestmark = needs_llama_cpp_python
PARIS = "The capital of France is Paris."


def backend_at(url: str, **settings):
    return open_backend("tiny", ModelSettings(backend="llama-cpp-python", url=url, **settings))


async def test_an_answer_that_another_request_interrupts_has_failed(llama_cpp_python_server):
    ours, theirs = (backend_at(llama_cpp_python_server) for _ in range(2))
    async with aclosing(ours.complete(endless())) as deltas:
        assert (await anext(deltas)).text
        assert await text(theirs, Prompt(CAPITAL, sampling=GREEDY)) == PARIS
        with pytest.raises(BackendError, match="in the middle of an answer"):
            async for _ in deltas:
                pass
    await ours.aclose()
    await theirs.aclose()


async def test_looking_at_its_health_interrupts_nothing(llama_cpp_python_server):
    backend = backend_at(llama_cpp_python_server)
    async with aclosing(backend.complete(endless(max_tokens=60))) as deltas:
        assert (await anext(deltas)).text
        for _ in range(3):
            await backend.health()
        rest = [delta async for delta in deltas]
    assert rest[-1].finish == "length"
    await backend.aclose()


async def test_a_prompt_that_is_too_long_is_refused_or_has_failed(llama_cpp_python_server):
    known = backend_at(llama_cpp_python_server, context=2048)
    with pytest.raises(ContextOverflow, match="2048"):
        await answer(known, Prompt("garden " * 3000))
    await known.aclose()
    unknown = backend_at(llama_cpp_python_server)
    with pytest.raises(BackendError):
        await answer(unknown, Prompt("garden " * 3000))
    await unknown.aclose()


async def test_an_answer_is_not_cut_at_its_sixteen_tokens(llama_cpp_python_server):
    backend = backend_at(llama_cpp_python_server)
    words = 'root ::= ("tic " | "tac "){40} "end"'
    got = await answer(backend, Prompt("tic tac ", grammar=words, sampling=Sampling(seed=1)))
    assert got.finish == "stop"
    assert got.message.content.endswith("end")
    assert got.usage.completion > 40
    await backend.aclose()


async def test_what_it_refuses_is_refused_with_its_words(llama_cpp_python_server):
    backend = backend_at(llama_cpp_python_server)
    with pytest.raises(BackendRejected, match="less than or equal to 2"):
        await answer(backend, Prompt("hi", sampling=Sampling(presence_penalty=7.0)))
    await backend.aclose()
