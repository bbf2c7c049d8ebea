"""Asking again: when, where, after how long, and when not."""

from __future__ import annotations

import asyncio

import pytest
from scripted_models import FakeClock, ask, codes, gateway_of, model_of, scripted, streamed

from llmgate.errors import (
    BackendBusy,
    BackendError,
    BackendRejected,
    BackendTimeout,
    BackendUnreachable,
    ContextOverflow,
)
from llmgate.gateway import Gateway
from llmgate.gateway.retries import backoff
from llmgate.types import Delta

GONE = BackendUnreachable("gone")


def gateway_over(*backends, clock=None, **policy):
    clock = clock or FakeClock(flows=True)
    return gateway_of(model_of("m", *backends, clock=clock, **policy), clock=clock), clock


@pytest.mark.parametrize("how", [Gateway.complete, streamed])
async def test_a_failure_before_the_first_piece_is_tried_again(how):
    backend = scripted(GONE, BackendError("odd"), "there")
    gateway, clock = gateway_over(backend, retries=2)
    completion = await how(gateway, ask())
    assert completion.message.content == "there"
    assert completion.notes == ()
    assert len([s for s in clock.slept if s < 8]) == 2
    await gateway.aclose()


async def test_after_so_many_retries_the_last_failure_is_raised():
    backend = scripted(GONE, GONE, BackendError("last"), "never")
    gateway, _ = gateway_over(backend, retries=2)
    with pytest.raises(BackendError, match="last"):
        await gateway.complete(ask())
    assert len(backend.prompts) == 3
    await gateway.aclose()


async def test_a_stream_that_has_begun_is_never_tried_again():
    backend = scripted(["half ", GONE], "never")
    gateway, _ = gateway_over(backend, retries=2)
    deltas = gateway.stream(ask())
    assert (await anext(deltas)).text == "half "
    with pytest.raises(BackendUnreachable):
        await anext(deltas)
    assert len(backend.prompts) == 1
    await gateway.aclose()


async def test_a_whole_answer_is_tried_again_even_after_half_of_it():
    backend = scripted(["half ", GONE], "all of it")
    gateway, _ = gateway_over(backend, retries=1)
    completion = await gateway.complete(ask())
    assert completion.message.content == "all of it"
    await gateway.aclose()


async def test_another_replica_is_tried_at_once():
    first, second = scripted(GONE), scripted("there", "there")
    gateway, clock = gateway_over(first, second, retries=1, balance="weighted")
    assert (await gateway.complete(ask())).message.content == "there"
    assert [seconds for seconds in clock.slept if seconds < 8] == []
    await gateway.aclose()


@pytest.mark.parametrize("error", [ContextOverflow("long"), BackendRejected("401")])
async def test_what_would_fail_again_is_not_tried_again(error):
    backend = scripted(error, "never")
    gateway, _ = gateway_over(backend, retries=5)
    with pytest.raises(type(error)):
        await gateway.complete(ask())
    assert len(backend.prompts) == 1


async def test_a_server_that_took_too_long_is_not_asked_again_but_another_one_is():
    backend = scripted(BackendTimeout("slow"), "never")
    gateway, _ = gateway_over(backend, retries=5)
    with pytest.raises(BackendTimeout):
        await gateway.complete(ask())
    await gateway.aclose()

    first, second = scripted(BackendTimeout("slow")), scripted("there")
    gateway, _ = gateway_over(first, second, retries=5, balance="weighted")
    assert (await gateway.complete(ask())).message.content == "there"
    await gateway.aclose()


async def test_retry_after_is_waited_for_unless_it_is_too_long():
    gateway, clock = gateway_over(
        scripted(BackendBusy("later", retry_after=12), "there"), retries=1
    )
    await gateway.complete(ask())
    assert clock.slept == [12]

    gateway, clock = gateway_over(scripted(BackendBusy("later", retry_after=60), "x"), retries=1)
    with pytest.raises(BackendBusy) as caught:
        await gateway.complete(ask())
    assert caught.value.retry_after == 60
    assert clock.slept == []


def test_each_wait_may_be_twice_as_long_as_the_one_before():
    for failures, limit in ((1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (50, 8.0)):
        waits = [backoff(failures) for _ in range(200)]
        assert 0 <= min(waits) < limit / 4
        assert limit * 3 / 4 < max(waits) <= limit


async def test_no_retry_is_waited_for_beyond_the_deadline():
    backend = scripted(BackendBusy("later", retry_after=12), "never")
    gateway, clock = gateway_over(backend, retries=3, total=10.0)
    with pytest.raises(BackendBusy):
        await gateway.complete(ask())
    assert clock.slept == []


@pytest.mark.parametrize("how", [Gateway.complete, streamed])
async def test_the_deadline_covers_waiting_for_the_first_piece(how):
    backend = scripted([asyncio.Event(), "never"])
    gateway, _ = gateway_over(backend, clock=FakeClock(), retries=3, total=0.02)
    with pytest.raises(BackendTimeout, match=r"not complete in time.*timeouts\.total"):
        await how(gateway, ask())
    assert backend.cancelled == 1
    assert len(backend.prompts) == 1


async def test_the_deadline_covers_the_queue():
    clock = FakeClock()
    backend = scripted(["a", asyncio.Event()], ["b", asyncio.Event()])
    model = model_of("m", backend, clock=clock, total=0.02, replica={"concurrency": 1})
    gateway = gateway_of(model, clock=clock)
    results = await asyncio.gather(
        gateway.complete(ask()), gateway.complete(ask()), return_exceptions=True
    )
    assert [type(result) for result in results] == [BackendTimeout, BackendTimeout]
    assert model.replicas.all[0].places.present == 0
    await gateway.aclose()


async def test_the_deadline_covers_an_answer_that_has_begun():
    backend = scripted(["one ", "two ", asyncio.Event()])
    gateway, _ = gateway_over(backend, clock=FakeClock(), total=0.02)
    deltas = gateway.stream(ask())
    assert (await anext(deltas)).text + (await anext(deltas)).text == "one two "
    with pytest.raises(BackendTimeout):
        await anext(deltas)
    assert backend.cancelled == 1
    await gateway.aclose()


async def test_a_replica_that_hangs_until_the_deadline_is_left_alone():
    class Late(FakeClock):
        """A clock on which the deadline has passed once somebody was cancelled."""

        def now(self):
            return self.time + (100 if hanging.cancelled else 0)

    hanging = scripted([asyncio.Event()])
    clock = Late()
    model = model_of("m", hanging, scripted("ok", "ok"), clock=clock, total=0.02)
    gateway = gateway_of(model, clock=clock)
    model.replicas.served("c", model.replicas.all[0])
    with pytest.raises(BackendTimeout):
        await gateway.complete(ask(conversation="c"))
    assert [replica.health.up for replica in model.replicas.all] == [False, True]
    await gateway.aclose()


async def test_an_answer_without_an_end_is_tried_again_and_never_taken():
    backend = scripted()
    answers = [[Delta("half")], [Delta("half")]]

    async def complete(prompt):
        for delta in answers.pop():
            yield delta

    backend.complete = complete
    gateway, _ = gateway_over(backend, retries=1)
    with pytest.raises(BackendError):
        await gateway.complete(ask())
    assert answers == []
    await gateway.aclose()


async def test_refused_answers_and_failures_are_mended_one_by_one():
    backend = scripted("five", GONE, "5")
    gateway, _ = gateway_over(backend, retries=1)
    completion = await gateway.complete(ask(grammar='root ::= "5"'))
    assert completion.message.content == "5"
    assert codes(completion) == ["retried", "unconstrained"]
    assert len(backend.prompts) == 3
    await gateway.aclose()
