"""Replicas that fail: left alone, looked at, back when they answer."""

from __future__ import annotations

import asyncio

import pytest
from scripted_models import FakeClock, ask, gateway_of, model_of, scripted

from llmgate.errors import (
    BackendBusy,
    BackendError,
    BackendRejected,
    BackendTimeout,
    BackendUnreachable,
    ContextOverflow,
    OutputError,
)
from llmgate.gateway.health import Health

GONE = BackendUnreachable("gone")


def health_of(backend=None, *, cooldown=30.0, every=15.0):
    clock = FakeClock()
    backend = backend or scripted()
    return Health("r", backend.health, cooldown=cooldown, every=every, clock=clock), clock, backend


@pytest.mark.parametrize(
    ("error", "up"),
    [
        (BackendError("500"), False),
        (BackendUnreachable("refused"), False),
        (BackendTimeout("slow"), False),
        (BackendRejected("401"), True),
        (ContextOverflow("long"), True),
        (OutputError("odd"), True),
    ],
)
async def test_only_what_is_the_servers_own_failure_counts(error, up):
    health, *_ = health_of()
    health.failed(error)
    assert health.up is up
    await health.aclose()


async def test_it_is_looked_at_only_while_it_is_down_and_comes_back_when_it_answers():
    health, clock, backend = health_of()
    await clock.pass_(100)
    assert backend.looked_at == 0
    backend.sick = GONE
    health.failed(GONE)
    for looks in (1, 2, 3):
        await clock.pass_(15)
        assert (backend.looked_at, health.up) == (looks, False)
    backend.sick = None
    await clock.pass_(15)
    assert health.up
    await clock.pass_(100)
    assert backend.looked_at == 4


@pytest.mark.parametrize("answer", [BackendRejected("404"), BackendBusy("429")])
async def test_a_server_that_refuses_to_be_looked_at_is_up(answer):
    health, clock, backend = health_of()
    health.failed(GONE)
    backend.sick = answer
    await clock.pass_(15)
    assert health.up
    await clock.pass_(100)
    assert backend.looked_at == 1


async def test_after_the_cooldown_requests_may_try_it_unless_looking_at_it_failed():
    health, clock, backend = health_of(cooldown=10, every=60)
    health.failed(GONE)
    await clock.pass_(9)
    assert not health.up
    await clock.pass_(1)
    assert health.up
    assert backend.looked_at == 0
    health.worked()
    await clock.pass_(100)
    assert backend.looked_at == 0


@pytest.mark.parametrize("wait", [50.0, 5.0])
async def test_a_retry_after_counts_where_it_is_longer(wait):
    error = BackendUnreachable("loading")
    error.retry_after = wait
    health, clock, backend = health_of(cooldown=20, every=15)
    health.failed(error)
    await clock.pass_(15)  # it answers, but has asked for more
    assert backend.looked_at == 1
    assert health.up is (wait < 15)
    await clock.pass_(34)
    assert health.up is (wait < 15)
    await clock.pass_(1)
    assert health.up


async def test_a_busy_server_rests_for_as_long_as_it_says_and_is_not_looked_at():
    health, clock, backend = health_of()
    health.failed(BackendBusy("later", retry_after=3))
    assert not health.up
    await clock.pass_(3)
    assert health.up
    await clock.pass_(100)
    assert backend.looked_at == 0


async def test_an_answer_that_was_under_way_does_not_end_the_rest_a_server_asked_for():
    health, clock, _ = health_of()
    health.failed(BackendBusy("later", retry_after=3))
    health.worked()
    assert not health.up
    await clock.pass_(3)
    assert health.up
    health.worked()
    assert health.reason is None


async def test_requests_go_elsewhere_until_it_is_back():
    clock = FakeClock()
    first, second = scripted(GONE, *["first"] * 9), scripted(*["second"] * 9)
    model = model_of("m", first, second, clock=clock, retries=1, balance="weighted")
    async with gateway_of(model, clock=clock) as gateway:
        answers = []
        for i in range(4):
            completion = await gateway.complete(ask(conversation=str(i)))
            answers.append(completion.message.content)
        assert answers == ["second"] * 4
        assert len(first.prompts) == 1
        await clock.pass_(15)
        for i in range(4):
            await gateway.complete(ask(conversation=f"again {i}"))
        assert len(first.prompts) == 3


async def test_once_closed_it_is_not_looked_at_again():
    health, clock, backend = health_of()
    health.failed(GONE)
    await health.aclose()
    health.failed(GONE)
    await clock.pass_(100)
    assert backend.looked_at == 0
    assert len(asyncio.all_tasks()) == 1


async def test_with_one_server_each_request_tries_it():
    clock = FakeClock()
    backend = scripted(GONE, GONE, "back")
    async with gateway_of(model_of("m", backend, clock=clock), clock=clock) as gateway:
        for _ in range(2):
            with pytest.raises(BackendUnreachable):
                await gateway.complete(ask())
        assert (await gateway.complete(ask())).message.content == "back"
        await clock.pass_(100)
        assert backend.looked_at == 0


async def test_a_failure_in_mid_stream_counts():
    clock = FakeClock()
    backend = scripted(["half ", BackendError("cut")])
    model = model_of("m", backend, clock=clock)
    async with gateway_of(model, clock=clock) as gateway:
        with pytest.raises(BackendError, match="cut"):
            async for _ in gateway.stream(ask()):
                pass
        assert not model.up
        assert model.reason.message == "cut"
