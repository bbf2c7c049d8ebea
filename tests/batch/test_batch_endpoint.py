"""What a server's answers mean: answers, failures that may pass, failures that will not."""

from __future__ import annotations

import json

import httpx
import pytest
from batch_doubles import chat_line

from llmgate.batch import Answer, Endpoint, Failure, Job
from llmgate.batch.remote import retry_after
from llmgate.errors import ConfigError

ANSWER = {"id": "x", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
JOB = Job(0, "0" * 16, "plain", "/v1/chat/completions", chat_line("Hi", model="m"))


async def ask(response, job=JOB, url="http://one.example/v1", **options):
    """One attempt against a server that answers so; and what it was sent."""
    seen = []

    def handle(request):
        seen.append(request)
        if isinstance(response, Exception):
            raise response
        return response

    endpoint = Endpoint(
        url, timeout=5.0, concurrency=2, transport=httpx.MockTransport(handle), **options
    )
    async with endpoint:
        return await endpoint.ask(job), seen


async def test_an_answer_comes_with_its_usage():
    reply = httpx.Response(200, json=ANSWER, headers={"x-request-id": "req_1"})
    end, (request,) = await ask(reply, api_key="secret", model="other")
    assert end == Answer(ANSWER, 200, "req_1", 7, 3)
    assert request.headers["authorization"] == "Bearer secret"
    assert json.loads(request.content) == chat_line("Hi", model="m")


async def test_a_line_without_a_model_gets_the_one_that_was_named():
    job = Job(0, "0" * 16, "plain", "/v1/chat/completions", chat_line("Hi"))
    _, (request,) = await ask(httpx.Response(200, json=ANSWER), job, model="other")
    assert json.loads(request.content)["model"] == "other"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://h:1", "http://h:1/v1/chat/completions"),
        ("h:1/", "http://h:1/v1/chat/completions"),
        ("http://h/v1/", "http://h/v1/chat/completions"),
        ("http://h/v1/chat/completions", "http://h/v1/chat/completions"),
        ("https://h/api/v1", "https://h/api/v1/chat/completions"),
        ("https://h/v1beta/openai", "https://h/v1beta/openai/chat/completions"),
    ],
)
async def test_the_address_is_that_of_the_api(url, address):
    _, (request,) = await ask(httpx.Response(200, json=ANSWER), url=url)
    assert str(request.url) == address


@pytest.mark.parametrize("url", ["ftp://h", "http://", "http://h/v1?api-version=1", "http://h:x"])
async def test_what_is_no_address_is_refused(url):
    with pytest.raises(ConfigError, match="--url"):
        await ask(httpx.Response(200), url=url)


@pytest.mark.parametrize(
    ("response", "code", "status"),
    [
        (httpx.ConnectError("refused"), "unreachable", None),
        (httpx.ReadError("reset"), "connection_error", None),
        (httpx.RemoteProtocolError("half"), "connection_error", None),
        (httpx.ReadTimeout("slow"), "timeout", None),
        (httpx.Response(200, content=b""), "invalid_answer", None),
        (httpx.Response(200, content=b"{}"), "invalid_answer", None),
        (httpx.Response(200, content=b'{"half": '), "invalid_answer", None),
        (httpx.Response(200, content=b"\xff\xfe"), "invalid_answer", None),
        (httpx.Response(200, text='{"a": ' + "[" * 400 + "]" * 400 + "}"), "invalid_answer", None),
        (httpx.Response(200, text="<html>Welcome</html>"), "invalid_answer", None),
        (httpx.Response(200, json={"error": {"message": "out of memory"}}), "http_502", 502),
        (httpx.Response(200, json={"error": {"message": "no", "code": 503}}), "http_503", 503),
        (httpx.Response(500, text='{"error":' * 900 + "1" + "}" * 900), "http_500", 500),
        (httpx.Response(408), "http_408", 408),
        (httpx.Response(500, text="oops"), "http_500", 500),
        (httpx.Response(503, json={"error": {"message": "l", "code": "loading"}}), "loading", 503),
        (httpx.Response(529, json={"error": {"type": "overloaded"}}), "overloaded", 529),
    ],
)
async def test_what_may_pass(response, code, status):
    end, _ = await ask(response)
    assert isinstance(end, Failure)
    assert (end.code, end.status, end.retryable, end.slow_down) == (code, status, True, False)
    assert "http://one.example/v1" in end.message


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422, 301])
async def test_what_will_not_pass(status):
    body = {"error": {"message": "never", "code": "bad"}}
    end, _ = await ask(httpx.Response(status, json=body, headers={"location": "http://x"}))
    assert (end.code, end.status, end.body, end.retryable) == ("bad", status, body, False)
    assert end.barred == (status in (401, 403))


@pytest.mark.parametrize(
    ("response", "wait"),
    [
        (httpx.Response(429, text="slow"), None),
        (httpx.Response(429, headers={"retry-after": "7"}), 7.0),
        (httpx.Response(429, headers={"retry-after-ms": "250", "retry-after": "7"}), 0.25),
        (httpx.Response(200, json={"error": {"message": "x", "code": "rate_limit_hit"}}), None),
    ],
)
async def test_a_rate_limit_slows_all_down(response, wait):
    end, _ = await ask(response)
    assert (end.status, end.retryable, end.slow_down, end.retry_after) == (429, True, True, wait)


async def test_a_spent_quota_is_no_rate_limit():
    body = {"error": {"message": "pay", "code": "insufficient_quota"}}
    end, _ = await ask(httpx.Response(429, json=body))
    assert (end.retryable, end.slow_down, end.barred) == (False, False, True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 0.0),
        ("1e9", 86400.0),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("", None),
    ],
)
def test_both_forms_of_retry_after(value, seconds):
    assert retry_after(httpx.Headers({"retry-after": value}), now=100.0) == seconds


@pytest.mark.parametrize(
    "usage", [None, 3, {}, {"prompt_tokens": "7"}, {"prompt_tokens": -1}, {"prompt_tokens": 1.5}]
)
async def test_usage_that_says_nothing_is_not_believed(usage):
    end, _ = await ask(httpx.Response(200, json={**ANSWER, "usage": usage}))
    assert (end.prompt, end.completion) == (None, 0)
