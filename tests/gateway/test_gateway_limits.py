"""What the keys of clients allow: models, requests and tokens in a minute."""

from __future__ import annotations

import asyncio

import pytest
from scripted_models import FakeClock, ask, gateway_of, model_of, scripted

from llmgate.config import KeySettings
from llmgate.errors import BackendUnreachable, Forbidden, RateLimited, UnknownModel
from llmgate.gateway.limits import Bucket, Clients, expected_tokens
from llmgate.types import Sampling

SHORT = Sampling(max_tokens=10)


def client_of(clock, **settings):
    return Clients({"ann": KeySettings("secret", **settings)}, clock).of(b"secret")


def gateway_over(*answers, clock=None, **policy):
    clock = clock or FakeClock()
    return gateway_of(model_of("m", scripted(*answers), clock=clock, **policy), clock=clock), clock


def test_a_key_is_known_by_all_of_it():
    clients = Clients({"a": KeySettings("key-a"), "b": KeySettings("key-b ")})
    assert clients.of(b"key-a").name == "a"
    assert clients.of(b"key-b").name == "b"
    for wrong in (b"", b"key", b"key-aa", b"KEY-A", b"\xff"):
        assert clients.of(wrong) is None
    assert not Clients({})


def test_a_bucket_is_full_at_first_and_refills_all_the_time():
    clock = FakeClock()
    bucket = Bucket(60, clock)
    bucket.take(60)
    assert bucket.wait(1) == pytest.approx(1)
    clock.time += 0.5
    assert bucket.wait(1) == pytest.approx(0.5)
    clock.time += 1000
    assert bucket.level == 60
    bucket.take(90)
    assert bucket.wait(1) == pytest.approx(31)
    assert bucket.wait(1000) == pytest.approx(90)


async def test_so_many_requests_and_then_a_429_that_says_when():
    gateway, clock = gateway_over(*["ok"] * 9)
    client = client_of(clock, requests=2)
    for _ in range(2):
        await gateway.complete(ask(), client=client)
    with pytest.raises(RateLimited, match="'ann' has used up its 2 requests in a minute") as caught:
        await gateway.complete(ask(), client=client)
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
    assert caught.value.retry_after == pytest.approx(30)
    clock.time += 30
    await gateway.complete(ask(), client=client)
    with pytest.raises(RateLimited):
        await gateway.complete(ask(), client=client)
    clock.time += 600
    assert client.headers()["x-ratelimit-remaining-requests"] == "2"


async def test_tokens_are_charged_as_expected_first_and_as_counted_in_the_end():
    gate = asyncio.Event()
    gateway, clock = gateway_over([gate, "one two"], BackendUnreachable("gone"))
    client = client_of(clock, tokens=1000)

    def left():
        return int(client.headers()["x-ratelimit-remaining-tokens"])

    request = ask(sampling=Sampling(max_tokens=400))
    task = asyncio.create_task(gateway.complete(request, client=client))
    await asyncio.sleep(0)
    assert left() == 1000 - expected_tokens(request)
    gate.set()
    usage = (await task).usage
    assert left() == 1000 - usage.prompt - usage.completion
    before = left()
    with pytest.raises(BackendUnreachable):
        await gateway.complete(request, client=client)
    assert left() == before
    await gateway.aclose()


async def test_a_request_for_more_than_a_minute_of_tokens_waits_for_a_full_bucket():
    gateway, clock = gateway_over(*["ok"] * 9)
    client = client_of(clock, tokens=20)
    big = ask(sampling=Sampling(max_tokens=4000))
    await gateway.complete(big, client=client)
    with pytest.raises(RateLimited, match="20 tokens"):
        await gateway.complete(big, client=client)
    clock.time += 60
    await gateway.complete(big, client=client)


async def test_who_leaves_in_the_middle_has_used_what_was_expected():
    gateway, clock = gateway_over(["a ", asyncio.Event()])
    client = client_of(clock, tokens=1000)
    request = ask(sampling=SHORT)
    deltas = gateway.stream(request, client=client)
    await anext(deltas)
    await deltas.aclose()
    left = int(client.headers()["x-ratelimit-remaining-tokens"])
    assert left == 1000 - expected_tokens(request)


async def test_an_answer_from_the_cache_takes_no_tokens():
    gateway, clock = gateway_over("one", cache=60)
    await gateway.complete(ask())
    client = client_of(clock, tokens=1000)
    await gateway.complete(ask(), client=client)
    assert client.headers()["x-ratelimit-remaining-tokens"] == "1000"


async def test_a_refused_request_is_charged_nothing():
    gateway, clock = gateway_over("ok")
    client = client_of(clock, requests=5, tokens=15)
    await gateway.complete(ask(sampling=SHORT), client=client)
    before = client.headers()
    with pytest.raises(RateLimited):
        await gateway.complete(ask(sampling=SHORT), client=client)
    assert client.headers() == before


async def test_a_key_may_use_only_its_models():
    clock = FakeClock()
    gateway = gateway_of(
        model_of("small", scripted("ok", "ok"), clock=clock, aliases=("gpt-4",)),
        model_of("large", scripted("never"), clock=clock),
        clock=clock,
    )
    client = client_of(clock, models=("sm*",), requests=5)
    await gateway.complete(ask("small"), client=client)
    await gateway.complete(ask("gpt-4"), client=client)
    with pytest.raises(Forbidden, match="'ann' may not use the model 'large'") as caught:
        await gateway.complete(ask("large"), client=client)
    assert caught.value.status == 403
    with pytest.raises(UnknownModel) as missing:
        await gateway.complete(ask("larg"), client=client)
    assert "large" not in str(missing.value)
    assert client.headers()["x-ratelimit-remaining-requests"] == "3"


def test_a_key_without_limits_has_no_headers():
    client = client_of(FakeClock())
    client.admit(10**9)
    assert client.headers() == {}
