"""Limits per minute: never above them in any minute, and no waiting without need."""

from __future__ import annotations

import asyncio

import pytest
from batch_doubles import VirtualClock
from hypothesis import given
from hypothesis import strategies as st

from llmgate.batch.buckets import MINUTE, Bucket, Limits

LIMIT = 100
# (seconds until the next wish, what it wants, the share of it that it really uses)
wishes = st.lists(
    st.tuples(
        st.floats(0, 90, allow_nan=False) | st.floats(0, 0.2) | st.just(0.0),
        st.integers(1, LIMIT),
        st.floats(0, 1),
    ),
    max_size=60,
)


def most_in_a_minute(taken):
    """The most that lies within any minute, wherever it begins."""
    return max(
        (sum(n for at, n in taken if start <= at < start + MINUTE) for start, _ in taken),
        default=0,
    )


@given(wishes)
def test_no_minute_holds_more_than_the_limit(wishes):
    bucket, now, taken = Bucket(LIMIT), 0.0, []
    for pause, amount, _ in wishes:
        now += pause
        while wait := bucket.wait(amount, now):
            now += wait
        bucket.take(amount, now)
        taken.append((now, amount))
    assert most_in_a_minute(taken) <= LIMIT


@given(wishes)
def test_no_minute_holds_more_real_usage_than_the_limit(wishes):
    bucket, now, used = Bucket(LIMIT), 0.0, []
    for pause, amount, share in wishes:
        now += pause
        while wait := bucket.wait(amount, now):
            now += wait
        portion, real = bucket.take(amount, now), int(amount * share)
        used.append((now, real))
        now += pause / 7
        bucket.correct(portion, real - amount, now)
    assert most_in_a_minute(used) <= LIMIT


@given(wishes)
def test_usage_above_the_estimate_is_waited_for(wishes):
    bucket, now, used = Bucket(LIMIT), 0.0, []
    for pause, amount, share in wishes:
        now += pause
        while wait := bucket.wait(amount, now):
            now += wait
        in_this_minute = sum(n for at, n in used if at + MINUTE > now)
        assert in_this_minute + amount <= LIMIT
        portion = bucket.take(amount, now)
        extra = int(amount * share)
        bucket.correct(portion, extra, now)
        used += [(now, amount), (now, extra)]


@given(wishes)
def test_nothing_waits_without_need(wishes):
    bucket, now, taken = Bucket(LIMIT), 0.0, []
    for pause, amount, _ in wishes:
        now += pause
        if bucket.wait(amount, now):
            # What counts as taken at the same moment lies a twentieth of a second apart.
            recent = sum(n for at, n in taken if at + MINUTE + 0.051 > now)
            assert recent + amount > LIMIT
        while wait := bucket.wait(amount, now):
            now += wait
        bucket.take(amount, now)
        taken.append((now, amount))


def test_what_was_taken_comes_back_a_minute_later():
    bucket = Bucket(10)
    bucket.take(6, 0.0)
    bucket.take(4, 20.0)
    assert bucket.wait(1, 30.0) == 30.0
    assert bucket.wait(7, 30.0) == 50.0
    assert bucket.wait(6, 60.0) == 0.0
    assert bucket.wait(7, 60.0) == 20.0


def test_more_than_the_limit_never_comes():
    assert Bucket(10).wait(11, 0.0) == float("inf")
    assert not Limits(tokens=10).fits(11)
    assert Limits(tokens=10).fits(10)
    assert Limits().fits(10**9)


def test_what_is_given_back_too_late_changes_nothing():
    bucket = Bucket(10)
    portion = bucket.take(10, 0.0)
    bucket.take(10, 60.0)
    bucket.correct(portion, -9, 61.0)
    assert bucket.wait(1, 61.0) == 59.0


async def passing(limits, clock, amounts):
    times = []

    async def one(amount):
        taken = await limits.take(amount)
        times.append((clock.now(), amount))
        return taken

    await clock.run(asyncio.gather(*(one(amount) for amount in amounts)))
    return times


async def test_both_limits_hold_together():
    clock = VirtualClock()
    limits = Limits(requests=5, tokens=100, clock=clock)
    times = await passing(limits, clock, [10, 10, 90, 1, 1, 1, 1, 1, 1, 50, 50, 50])
    assert most_in_a_minute(times) <= 100
    assert most_in_a_minute([(at, 1) for at, _ in times]) <= 5


async def test_a_large_request_is_not_overtaken():
    clock = VirtualClock()
    limits = Limits(tokens=100, clock=clock)
    times = await passing(limits, clock, [60, 100, 1, 1])
    assert [amount for _, amount in times] == [60, 100, 1, 1]


async def test_a_cool_down_holds_everything_back():
    clock = VirtualClock()
    limits = Limits(clock=clock)
    begun = clock.now()
    limits.cool_down(15)
    limits.cool_down(3)
    assert limits.cooling == 15
    times = await passing(limits, clock, [1, 1])
    assert min(at for at, _ in times) >= begun + 15
    assert limits.cooling == 0


async def test_tokens_that_were_not_used_are_given_back():
    clock = VirtualClock()
    limits = Limits(tokens=100, clock=clock)
    begun = clock.now()
    first = await limits.take(100)
    limits.correct(first, 20)
    await clock.run(limits.take(80))
    assert clock.now() == begun
    await clock.run(limits.take(1))
    assert clock.now() == pytest.approx(begun + MINUTE, abs=0.5)
