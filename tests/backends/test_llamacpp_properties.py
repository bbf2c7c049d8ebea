"""What is found out about a llama-server and its model, and what follows from it."""

from __future__ import annotations

import asyncio
import json
import logging

import httpx
import pytest
from asking import answer, text
from made_up import LAST, URL, Server, backend_of, error_of, events, stream

from llmgate import grammar
from llmgate.backends import http
from llmgate.backends.llamacpp import LlamaCppBackend
from llmgate.config import ModelSettings
from llmgate.errors import BackendUnreachable, Unsupported
from llmgate.types import ChatTemplate, Prompt


@pytest.mark.parametrize(
    ("tokens", "sent"), [([1], "[INST] hi"), ([], "<s>[INST] hi"), ([2], "<s>[INST] hi")]
)
async def test_a_bos_that_the_server_adds_is_not_sent_as_well(tokens, sent):
    server = Server(lambda request: stream(events({"content": "a"}, LAST)))
    server.bos = tokens
    backend = backend_of(server)
    await answer(backend, Prompt("<s>[INST] hi"))
    assert server.body["prompt"] == sent
    await backend.aclose()


async def test_only_one_bos_of_several_is_the_servers():
    server = Server(lambda request: stream(events({"content": "a"}, LAST)))
    server.bos = [1]
    backend = backend_of(server)
    await answer(backend, Prompt("<s><s>hi"))
    assert server.body["prompt"] == "<s>hi"
    await backend.aclose()


async def test_the_template_is_told_by_the_server():
    server = Server(lambda request: stream(events({"content": "a"}, LAST)))
    backend = backend_of(server)
    await answer(backend, Prompt("hi"))
    assert backend.caps.template is None
    await backend.aclose()
    server.props |= {"chat_template": "{{ x }}", "eos_token": "</s>"}
    backend = backend_of(server)
    await answer(backend, Prompt("hi"))
    assert backend.caps.template == ChatTemplate("{{ x }}", bos="<s>", eos="</s>")
    await backend.aclose()
    server.props |= {"chat_template_tool_use": "{{ tools }}", "bos_token": None, "eos_token": 5}
    backend = backend_of(server)
    await answer(backend, Prompt("hi"))
    assert backend.caps.template == ChatTemplate("{{ x }}", tools="{{ tools }}")
    await backend.aclose()


async def test_preserved_tokens_are_sent_and_lazy_grammars_refused():
    server = Server(lambda request: stream(events({"content": "a"}, LAST)))
    backend = backend_of(server)
    await answer(backend, Prompt("hi", preserved=("<think>", "")))
    assert server.body["preserved_tokens"] == ["<think>"]
    assert not backend.caps.triggers
    with pytest.raises(Unsupported, match=r"'mine'.*lazy"):
        await answer(backend, Prompt("hi", grammar='root ::= "a"', triggers=("a",)))
    await backend.aclose()


def pieces(*texts: str, last: int | None = None, **more: object) -> httpx.Response:
    """An answer of one event per token; `last` is the count of tokens in its last event."""
    pieces = [{"content": text, "tokens_predicted": n} for n, text in enumerate(texts, 1)]
    end = {**LAST, "tokens_predicted": len(texts) if last is None else last, **more}
    return stream(events(*pieces, end))


@pytest.mark.parametrize(
    ("response", "content"),
    [
        # The token that ended the answer, shown since it is preserved.
        (pieces("a", "<end>"), "a"),
        (pieces("a<end>"), "a"),
        (pieces("<end>", "<end>"), "<end>"),
        # It is followed by another one, seen or not.
        (pieces("a", "<end>", ""), "a<end>"),
        (pieces("a", "<end>", last=3), "a<end>"),
        (pieces("a", "<end>", "b", ""), "a<end>b"),
        # Something else ended the answer.
        (pieces("a", "<end>", stop_type="limit"), "a<end>"),
        (pieces("a", "<end>", stop_type="word"), "a<end>"),
    ],
)
async def test_the_token_that_ended_an_answer_is_not_part_of_it(response, content):
    backend = backend_of(Server(lambda request: response))
    got = await answer(backend, Prompt("hi", preserved=("d>", "<end>", "")))
    assert got.message.content == content
    await backend.aclose()


async def test_a_server_that_holds_to_grammars_is_left_alone(caplog):
    server = Server(lambda request: stream(events({**LAST, "content": "llmg"})))
    backend = backend_of(server)
    for _ in range(3):
        await backend.start()
    assert backend.caps.grammar
    assert not caplog.records
    assert [request.url.path for request in server.requests].count("/completion") == 1
    assert server.body["cache_prompt"] is False
    grammar.check(server.body["grammar"])
    assert server.body["n_predict"] < 10
    await backend.aclose()


@pytest.mark.parametrize("content", ["The word is", "", "llmgate-probe!", None])
async def test_a_server_that_only_claims_to_hold_to_grammars_is_found_out(content, caplog):
    server = Server(lambda request: stream(events({**LAST, "content": content})))
    backend = backend_of(server)
    await backend.start()
    assert not backend.caps.grammar
    assert backend.caps.context == 4096
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert URL in record.getMessage()
    assert "does not hold to grammars" in record.getMessage()
    await backend.aclose()


async def test_a_server_that_is_too_busy_to_be_tried_is_believed(monkeypatch, caplog):
    monkeypatch.setattr(http, "_PROBE_SECONDS", 0.05)
    caplog.set_level(logging.INFO)

    async def busy(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/completion":
            await asyncio.Event().wait()
        return httpx.Response(200, json={})

    settings = ModelSettings(backend="llamacpp", url=URL)
    backend = LlamaCppBackend("mine", settings, transport=httpx.MockTransport(busy))
    await backend.start()
    assert backend.caps.grammar
    assert "did not answer in time" in caplog.text
    await backend.aclose()


async def test_a_server_that_is_still_loading_is_tried_with_the_first_request():
    loading, completions = True, []

    def respond(request: httpx.Request) -> httpx.Response:
        if loading:
            return error_of(503, "unavailable_error", "Loading model")
        if request.url.path == "/completion":
            completions.append(json.loads(request.content))
            if "grammar" in completions[-1]:
                return stream(events({**LAST, "content": "Once"}))
            return stream(events({"content": "a"}, LAST))
        return httpx.Response(200, json={"chat_template": "{{ x }}"})

    settings = ModelSettings(backend="llamacpp", url=URL)
    backend = LlamaCppBackend("mine", settings, transport=httpx.MockTransport(respond))
    await backend.start()
    with pytest.raises(BackendUnreachable, match="Loading model"):
        await answer(backend, Prompt("hi"))
    assert backend.caps.grammar
    loading = False
    for _ in range(2):
        assert await text(backend, Prompt("hi")) == "a"
    assert not backend.caps.grammar
    assert backend.caps.template == ChatTemplate("{{ x }}")
    assert len(completions) == 3
    await backend.aclose()
