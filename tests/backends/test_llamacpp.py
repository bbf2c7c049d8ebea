"""llama-server's faults, one by one: a real one that dies, and made-up answers."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

import httpx
import pytest
from asking import answer, endless, text
from engines import needs_server, running_server
from made_up import LAST, URL, Server, backend_of, error_of, events, stream

from llmgate.backends import open_backend
from llmgate.backends.llamacpp import LlamaCppBackend
from llmgate.config import ModelSettings, Timeouts
from llmgate.errors import (
    BackendBusy,
    BackendError,
    BackendRejected,
    BackendTimeout,
    BackendUnreachable,
    ConfigError,
    ContextOverflow,
    GrammarError,
    RefusedRequest,
    RequestError,
)
from llmgate.types import Prompt, Sampling, Usage


async def asked(response: httpx.Response, **settings):
    """The answer to one completion that the server answers so."""
    backend = backend_of(Server(lambda request: response), **settings)
    try:
        return await answer(backend, Prompt("hi"))
    finally:
        await backend.aclose()


async def test_a_whole_answer_has_its_usage():
    got = await asked(stream(events({"content": "Hel"}, {"content": "lo\u2028"}, LAST)))
    assert got.message.content == "Hello\u2028"
    assert (got.finish, got.usage) == ("stop", Usage(10, 3, 6))


@pytest.mark.parametrize(
    ("last", "finish", "usage"),
    [
        ({"stop_type": "limit"}, "length", Usage(10, 3, 6)),
        ({"stop_type": "word"}, "stop", Usage(10, 3, 6)),
        ({"stop_type": None, "stopped_limit": True}, "length", Usage(10, 3, 6)),
        ({"stop_type": None, "stopped_eos": True, "timings": None}, "stop", Usage(10, 3, None)),
        ({"tokens_predicted": 0}, "stop", Usage(10, 0, 6)),
        ({"tokens_predicted": None, "tokens_evaluated": None}, "stop", Usage(10, 3, 6)),
    ],
)
async def test_every_ending_is_understood(last, finish, usage):
    got = await asked(stream(events({"content": "a"}, {**LAST, **last})))
    assert (got.finish, got.usage) == (finish, usage)


async def test_a_prompt_that_the_server_cut_is_noted():
    got = await asked(stream(events({"content": "a"}, {**LAST, "truncated": True})))
    assert [note.code for note in got.notes] == ["truncated"]


async def test_what_follows_the_end_is_not_passed_on():
    got = await asked(stream(events({"content": "a"}, LAST, {"content": "leaked"}, "[DONE]")))
    assert got.message.content == "a"


async def test_only_what_was_chosen_is_sent():
    server = Server(lambda request: stream(events({"content": "a"}, LAST)))
    backend = backend_of(server, api_key="secret")
    await answer(backend, Prompt("hi"))
    assert server.body == {"prompt": "hi", "stream": True, "cache_prompt": True}
    assert server.requests[-1].headers["authorization"] == "Bearer secret"
    assert "x-conversation-id" not in server.requests[-1].headers
    sampling = Sampling(1, 0.5, 0.9, 40, 0.05, 1.1, 0.1, 0.2, -1)
    await answer(backend, Prompt("hi", ("x", ""), 'root ::= "a"', sampling))
    assert server.body == {
        "prompt": "hi",
        "stream": True,
        "cache_prompt": True,
        "n_predict": 1,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "repeat_penalty": 1.1,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "seed": 2**32 - 2,
        "stop": ["x"],
        "grammar": 'root ::= "a"',
    }
    assert [request.url.path for request in server.requests].count("/props") == 1
    assert backend.caps.context == 4096
    await backend.aclose()


CUT = [
    pytest.param(stream(b""), id="nothing"),
    pytest.param(stream(events({"content": "a"})), id="no end"),
    pytest.param(stream(events({"content": "a"}, "[DONE]")), id="only DONE"),
    pytest.param(stream(events({"content": "a"}) + b'data: {"content": "b'), id="half JSON"),
    pytest.param(stream(events({"content": "a"}) + b'data: {"content": "b"}'), id="no newline"),
]


@pytest.mark.parametrize("response", CUT)
async def test_a_stream_without_its_end_has_failed(response):
    with pytest.raises(BackendError, match="ended in the middle of an answer"):
        await asked(response)


FOREIGN = [
    (httpx.Response(200, html="<html>Welcome</html>"), "text/html.*Welcome"),
    (httpx.Response(200, json={"choices": []}), "application/json"),
    (httpx.Response(200, content=b"\xff\xfe garbage"), "garbage"),
    (stream(events("not json")), "no JSON object: 'not json'"),
    (stream(events([1])), "no JSON object"),
    (stream(events({**LAST, "stop_type": "none", "tokens_predicted": 0})), "before it began"),
]


@pytest.mark.parametrize(("response", "problem"), FOREIGN)
async def test_what_is_not_an_answer_is_anerror_of(response, problem):
    with pytest.raises(BackendError, match=problem) as caught:
        await asked(response)
    assert URL in str(caught.value)


ENVELOPES = [
    {"error": {"code": 500, "message": "it broke", "type": "server_error"}},
    {"error": "it broke"},
    {"error": json.dumps({"message": "it broke"})},
    {"error": json.dumps({"error": {"message": "it broke"}})},
    {"object": "error", "message": "it broke", "code": 500},
    {"detail": "it broke"},
    {"detail": {"error": {"message": "it broke"}}},
    {"detail": [{"loc": ["body"], "msg": "it broke", "type": "x"}]},
]


@pytest.mark.parametrize("envelope", ENVELOPES, ids=json.dumps)
async def test_an_error_is_read_whatever_its_envelope(envelope):
    for response in (
        httpx.Response(500, json=envelope),
        httpx.Response(200, json=envelope),
        stream(events(envelope)),
        stream(events({"content": "a"}, envelope)),
        stream(b"event: error\ndata: " + json.dumps(envelope).encode() + b"\n\n"),
        stream(b"error: " + json.dumps(envelope).encode() + b"\n"),
        httpx.Response(500, content=b"it broke"),
    ):
        with pytest.raises(BackendError, match="it broke") as caught:
            await asked(response)
        assert type(caught.value) is BackendError


STATUSES = [
    (error_of(503, "unavailable_error", "Loading model"), BackendUnreachable, "Loading model"),
    (error_of(400, "invalid_request_error", "bad 'stop'"), RefusedRequest, "bad 'stop'"),
    (error_of(401, "authentication_error", "Invalid API Key"), BackendRejected, "api_key"),
    (error_of(404, "not_found_error", "File Not Found"), BackendRejected, "`url`"),
    (error_of(501, "not_supported_error", "no"), BackendRejected, "no"),
    (httpx.Response(502, html="<h1>Bad gateway</h1>"), BackendError, "Bad gateway"),
    (httpx.Response(307, headers={"location": "http://new/"}), BackendRejected, "http://new/"),
    (
        error_of(400, "exceed_context_size_error", "too long", n_prompt_tokens=5000, n_ctx=4096),
        ContextOverflow,
        "too long",
    ),
    (
        error_of(400, "invalid_request_error", "the request exceeds the available context size."),
        ContextOverflow,
        "available context size",
    ),
]


@pytest.mark.parametrize(("response", "error", "problem"), STATUSES)
async def test_every_status_has_itserror_of(response, error, problem):
    with pytest.raises(error, match=problem) as caught:
        await asked(response)
    assert type(caught.value) is error
    assert URL in str(caught.value)


async def test_a_busy_server_says_when_to_come_back():
    with pytest.raises(BackendBusy) as caught:
        await asked(httpx.Response(429, headers={"retry-after": "7"}, json={"error": "slow down"}))
    assert caught.value.retry_after == 7


async def test_an_overflow_inside_the_stream_is_one_too():
    error = {"code": 400, "type": "exceed_context_size_error", "message": "too long"}
    with pytest.raises(ContextOverflow):
        await asked(stream(events({"error": error})))


@pytest.mark.parametrize(
    ("fault", "error", "problem"),
    [
        (httpx.ConnectError("connection refused"), BackendUnreachable, "llama-server running"),
        (httpx.ReadError("reset"), BackendUnreachable, "reset"),
        (httpx.RemoteProtocolError("disconnected"), BackendUnreachable, "disconnected"),
        (httpx.ConnectTimeout("slow"), BackendTimeout, "accept a connection"),
        (httpx.ReadTimeout("slow"), BackendTimeout, "did not answer in time"),
    ],
)
async def test_no_answer_at_all_names_the_server(fault, error, problem):
    def fail(request: httpx.Request) -> httpx.Response:
        raise fault

    backend = backend_of(Server(fail))
    with pytest.raises(error, match=problem) as caught:
        await answer(backend, Prompt("hi"))
    assert URL in str(caught.value)
    await backend.aclose()


class Stream(httpx.AsyncByteStream):
    """Pieces of a body, then a fault, or silence."""

    def __init__(self, *pieces: bytes, fault: Exception | None = None) -> None:
        self.pieces = pieces
        self.fault = fault
        self.closed = False

    async def __aiter__(self):
        for piece in self.pieces:
            yield piece
        if self.fault:
            raise self.fault
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (httpx.ReadError("reset"), BackendError),
        (httpx.RemoteProtocolError("incomplete chunked read"), BackendError),
        (httpx.ReadTimeout("slow"), BackendTimeout),
    ],
)
async def test_a_connection_that_breaks_off_has_failed(fault, error):
    body = Stream(events({"content": "a"}), fault=fault)
    with pytest.raises(error) as caught:
        await asked(stream(body))
    assert type(caught.value) is error
    assert body.closed


@pytest.mark.parametrize(
    "pieces",
    [(), (b": ping\n\n",), (events({"content": "a"}),), (events({"content": "a"}), b":\n")],
)
async def test_silence_is_a_timeout(pieces):
    body = Stream(*pieces)
    with pytest.raises(BackendTimeout, match="timeouts"):
        await asked(stream(body), timeouts=Timeouts(first_token=0.05, between_tokens=0.05))
    assert body.closed


async def test_closing_the_answer_closes_the_response():
    body = Stream(events({"content": "a"}))
    backend = backend_of(Server(lambda request: stream(body)))
    deltas = backend.complete(Prompt("hi"))
    assert (await anext(deltas)).text == "a"
    await deltas.aclose()
    assert body.closed
    await backend.aclose()


async def test_a_server_that_keeps_the_finished_stream_open_does_not_hold_us():
    body = Stream(events({"content": "a"}, LAST))
    assert (await asked(stream(body))).message.content == "a"
    assert body.closed


async def test_start_bears_a_server_that_is_down():
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    settings = ModelSettings(backend="llamacpp", url=URL)
    backend = LlamaCppBackend("mine", settings, transport=httpx.MockTransport(refuse))
    await backend.start()
    for ask in (backend.health, lambda: backend.count("hi"), lambda: answer(backend, Prompt("hi"))):
        with pytest.raises(BackendUnreachable, match="connection refused"):
            await ask()
    await backend.aclose()


async def test_a_server_that_hides_its_properties_still_answers():
    def answer_or_hide(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/completion":
            return stream(events({"content": "a"}, LAST))
        return httpx.Response(403, json={"error": {"message": "no"}})

    settings = ModelSettings(backend="llamacpp", url=URL)
    backend = LlamaCppBackend("mine", settings, transport=httpx.MockTransport(answer_or_hide))
    assert await text(backend, Prompt("hi")) == "a"
    assert backend.caps.context is None
    await backend.aclose()


async def test_health_tells_loading_from_well():
    loading = True

    def health(request: httpx.Request) -> httpx.Response:
        if loading:
            return error_of(503, "unavailable_error", "Loading model")
        return httpx.Response(200, json={"status": "ok"})

    backend = backend_of(Server(health))
    with pytest.raises(BackendUnreachable, match="Loading model"):
        await backend.health()
    loading = False
    await backend.health()
    await backend.aclose()


async def test_a_bad_grammar_or_text_is_never_sent():
    server = Server(lambda request: stream(events(LAST)))
    backend = backend_of(server)
    with pytest.raises(GrammarError):
        await answer(backend, Prompt("hi", grammar="root ::= nothing"))
    with pytest.raises(RequestError, match="Unicode"):
        await answer(backend, Prompt("\ud83d"))
    assert "/completion" not in [request.url.path for request in server.requests]
    await backend.aclose()


@pytest.mark.parametrize(
    "url",
    ["server:8080", " http://server:8080/ ", "http://server:8080/v1", "http://server:8080/v1/"],
)
async def test_an_address_is_mended(url):
    server = Server(lambda request: stream(events({"content": "a"}, LAST)))
    backend = backend_of(server, url=url)
    await answer(backend, Prompt("hi"))
    assert str(server.requests[-1].url) == "http://server:8080/completion"
    await backend.aclose()


@pytest.mark.parametrize("url", [None, "", "  ", "ftp://server", "http://", "http://server:port"])
def test_an_address_that_cannot_be_mended_is_refused(url):
    with pytest.raises(ConfigError, match="url"):
        open_backend("mine", ModelSettings(backend="llamacpp", url=url))


@needs_server
async def test_a_server_killed_in_the_middle_of_an_answer():
    with running_server() as (url, process):
        backend = open_backend("mine", ModelSettings(backend="llamacpp", url=url))
        async with aclosing(backend.complete(endless())) as deltas:
            await anext(deltas)
            process.kill()
            process.wait()
            with pytest.raises(BackendError, match="ended in the middle of an answer"):
                async for _ in deltas:
                    pass
        with pytest.raises(BackendUnreachable, match="Is llama-server running there"):
            await answer(backend, Prompt("hi"))
        await backend.aclose()


async def test_after_closing_it_says_that_it_is_closed():
    backend = backend_of(Server(lambda request: stream(events({"content": "a"}, LAST))))
    await answer(backend, Prompt("hi"))
    await backend.aclose()
    for ask in (backend.health, lambda: backend.count("hi"), lambda: answer(backend, Prompt("hi"))):
        with pytest.raises(BackendUnreachable, match="is closed"):
            await ask()


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines"])
def test_a_key_that_no_header_can_carry_is_refused(key):
    with pytest.raises(ConfigError, match="api_key"):
        open_backend("mine", ModelSettings(backend="llamacpp", url=URL, api_key=key))
