"""Requests answered by the gateway in this process."""

from __future__ import annotations

import asyncio

import pytest
from batch_doubles import chat_line

from llmgate.backends.scripted import ScriptedBackend
from llmgate.batch import Answer, Failure, Job, Local
from llmgate.errors import BackendBusy, BackendError, BackendUnreachable, MissingPackage
from llmgate.gateway import Gateway, Route
from llmgate.types import Caps, Embeddings, Usage
from llmgate.wrappers import open_wrapper


def job(body, path="/v1/chat/completions"):
    return Job(0, "0" * 16, "plain", path, body)


async def ask(answer, body=None, path="/v1/chat/completions", timeout=5.0):
    backend = ScriptedBackend([answer], caps=Caps())
    async with Gateway({"tiny": Route(backend, open_wrapper("chatml", {}, None))}) as gateway:
        return await Local(gateway, timeout=timeout).ask(job(body or chat_line("Hi"), path))


async def test_an_answer_is_that_of_the_endpoint():
    end = await ask("Hello there.")
    assert isinstance(end, Answer)
    assert end.body["object"] == "chat.completion"
    assert end.body["model"] == "tiny"
    assert end.body["choices"][0]["message"]["content"] == "Hello there."
    assert end.completion == end.body["usage"]["completion_tokens"] == 2


async def test_calls_come_as_calls():
    tool = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}
    body = chat_line("Hi", tools=[tool], tool_choice="required")
    end = await ask('{"function": "now", "params": {}}', body)
    (call,) = end.body["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "now", "arguments": "{}"}


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        (chat_line("Hi", model="other"), "model_not_found", 404),
        (chat_line("Hi", temperature="hot"), "invalid_request", 400),
        ({"model": "tiny"}, "invalid_request", 400),
    ],
)
async def test_what_can_not_be_answered_is_not_retried(body, code, status):
    end = await ask("Hello.", body)
    assert isinstance(end, Failure)
    assert (end.code, end.status, end.retryable, end.barred) == (code, status, False, False)
    assert end.body["error"]["code"] == code


async def test_other_routes_need_a_server():
    end = await ask("Hello.", {"prompt": "a"}, "/v1/completions")
    assert (end.code, end.retryable) == ("unsupported", False)
    assert "--url" in end.message


async def test_embeddings_come_as_from_the_endpoint():
    class Embedding(ScriptedBackend):
        async def embed(self, texts):
            return Embeddings(tuple((float(len(text)), 1.0) for text in texts), Usage(7))

    backend = Embedding(caps=Caps(embed=True))
    async with Gateway({"tiny": Route(backend, open_wrapper("chatml", {}, None))}) as gateway:
        asked = job({"input": ["a", "bb"]}, "/v1/embeddings")
        end = await Local(gateway, timeout=5.0).ask(asked)
    assert isinstance(end, Answer)
    assert [list(entry["embedding"]) for entry in end.body["data"]] == [[1.0, 1.0], [2.0, 1.0]]
    assert (end.prompt, end.completion) == (7, 0)


@pytest.mark.parametrize(
    ("error", "facts"),
    [
        (BackendError("broken"), (True, False, None, False)),
        (BackendBusy("full", retry_after=3.0), (True, True, 3.0, False)),
        (BackendUnreachable("gone"), (True, False, None, True)),
        (MissingPackage("It", "embedded"), (False, False, None, True)),
    ],
)
async def test_failures_of_the_model(error, facts):
    end = await ask(error)
    assert (end.retryable, end.slow_down, end.retry_after, end.barred) == facts
    assert end.code == error.code


async def test_a_fault_of_our_own_is_a_result_too(caplog):
    end = await ask(ZeroDivisionError("oops"))
    assert (end.code, end.status, end.retryable) == ("internal_error", 500, False)
    assert "line 1" in caplog.text


async def test_an_attempt_takes_no_longer_than_allowed():
    class Slow(ScriptedBackend):
        async def complete(self, prompt):
            await asyncio.Event().wait()
            yield

    gateway = Gateway({"slow": Route(Slow(), open_wrapper("chatml", {}, None))})
    end = await Local(gateway, timeout=0.05).ask(job(chat_line("Hi")))
    assert (end.code, end.retryable) == ("backend_timeout", True)
