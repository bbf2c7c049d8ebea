"""The runner: retries, cool-downs, limits, what is refused, stopping and going on."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter

import pytest
from batch_doubles import (
    ScriptedTarget,
    VirtualClock,
    chat_line,
    failing,
    read_lines,
    stamp,
    write_lines,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmgate.batch import Journal, Limits, Plan, Requests, Runner

TRANSIENT = failing(503, retryable=True)


class Batch:
    """A requests file and its results, in a folder."""

    def __init__(self, folder, *lines):
        self.requests = write_lines(folder / "r.jsonl", *lines)
        self.results = folder / "out.jsonl"

    async def run(self, target, *, stop_at=None, abort_at=None, requests=None, tokens=None, **plan):
        """One run; at those times it is stopped."""
        clock = target.clock
        with Journal.open(self.results) as journal:
            source = Requests.survey(self.requests, journal.done)
            limits = Limits(requests, tokens, clock)
            runner = Runner(source, target, journal, limits, Plan(**plan), dice=random.Random(1))

            async def later(at, act):
                await clock.sleep(at)
                act()

            ends = [
                asyncio.create_task(later(at, act))
                for at, act in ((stop_at, runner.stop), (abort_at, runner.abort))
                if at is not None
            ]
            await clock.run(runner.run())
            for task in ends:
                task.cancel()
            return runner

    def lines(self):
        return {stamp(line)["index"]: line for line in read_lines(self.results)}


@pytest.fixture(autouse=True)
def _writing_takes_no_time(monkeypatch):
    """Virtual time must not pass while a thread writes."""

    async def at_once(function, *arguments):
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", at_once)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def hundred(tmp_path):
    return Batch(tmp_path, *(chat_line(f"request {i}") for i in range(100)))


async def test_every_request_gets_its_own_answer(hundred, clock):
    target = ScriptedTarget(clock)
    await hundred.run(target)
    lines = read_lines(hundred.results)
    assert sorted(stamp(line)["index"] for line in lines) == list(range(100))
    for request, response, _, mark in lines:
        assert request == response["echo"] == chat_line(f"request {mark['index']}")


async def test_no_more_run_at_a_time_than_allowed(hundred, clock):
    target = ScriptedTarget(clock)
    await hundred.run(target, concurrency=7)
    assert target.most == 7


async def test_what_may_pass_is_retried_ever_later(tmp_path, clock):
    batch = Batch(tmp_path, chat_line("x"))
    target = ScriptedTarget(clock, {0: [TRANSIENT] * 4})
    await batch.run(target)
    assert stamp(batch.lines()[0])["attempts"] == 5
    times = target.times(0)
    pauses = [b - a - 0.1 for a, b in itertools.pairwise(times)]
    for pause, backoff in zip(pauses, (1, 2, 4, 8), strict=True):
        assert backoff / 2 <= pause <= backoff + 0.01


async def test_after_the_last_attempt_the_errors_are_the_result(tmp_path, clock):
    batch = Batch(tmp_path, chat_line("x", metadata={"row": 9}))
    target = ScriptedTarget(clock, {0: [TRANSIENT] * 9})
    runner = await batch.run(target, max_attempts=3)
    request, errors, metadata, mark = batch.lines()[0]
    assert (request, errors, metadata) == (chat_line("x"), ["status 503"] * 3, {"row": 9})
    assert (mark["ok"], mark["attempts"], mark["status"]) == (False, 3, 503)
    assert runner.progress.codes == Counter({"http_503": 1})


async def test_what_will_not_pass_is_asked_once(tmp_path, clock):
    batch = Batch(tmp_path, chat_line("x"), chat_line("y"))
    target = ScriptedTarget(clock, {0: [failing(400)]})
    await batch.run(target)
    assert len(target.times(0)) == 1
    assert [stamp(line)["ok"] for _, line in sorted(batch.lines().items())] == [False, True]


async def test_a_rate_limit_holds_all_requests_back(hundred, clock):
    limited = failing(429, retryable=True, slow_down=True)
    target = ScriptedTarget(clock, {3: [limited]})
    await hundred.run(target, concurrency=4)
    refused = target.times(3)[0] + target.seconds
    quiet = [at for _, at in target.asked if refused < at < refused + 15]
    assert quiet == []
    assert len(hundred.lines()) == 100


async def test_the_servers_own_time_to_wait_is_honoured(hundred, clock):
    limited = failing(429, retryable=True, slow_down=True, retry_after=42.0)
    target = ScriptedTarget(clock, {3: [limited]})
    await hundred.run(target, concurrency=4)
    refused = target.times(3)[0] + target.seconds
    assert [at for _, at in target.asked if refused < at < refused + 42] == []
    busy = failing(503, retryable=True, retry_after=7.0)
    other = ScriptedTarget(clock, {0: [busy]})
    batch = Batch(hundred.results.parent / "..", chat_line("x"))
    batch.results = hundred.results.with_name("other.jsonl")
    await batch.run(other)
    first, second = other.times(0)
    assert second - first >= 7


async def test_a_request_that_waits_for_its_retry_holds_up_no_other(tmp_path, clock):
    batch = Batch(tmp_path, *(chat_line(str(i)) for i in range(6)))
    target = ScriptedTarget(clock, {0: [TRANSIENT] * 3})
    await batch.run(target, concurrency=1)
    assert target.times(0)[1] > target.times(1)[0]
    assert stamp(read_lines(batch.results)[-1])["index"] == 0


@pytest.mark.parametrize("limit", [7, 30])
async def test_requests_stay_within_their_limit(hundred, clock, limit):
    target = ScriptedTarget(clock, seconds=0.3)
    await hundred.run(target, requests=limit)
    times = [at for _, at in target.asked]
    assert max(sum(start <= at < start + 60 for at in times) for start in times) == limit


async def test_tokens_stay_within_their_limit(tmp_path, clock):
    lines = [chat_line("x" * (50 * i), max_tokens=50) for i in range(40)]
    batch = Batch(tmp_path, *lines)
    target = ScriptedTarget(clock, tokens=(100, 50))
    await batch.run(target, tokens=1000, concurrency=1)
    used = [at for _, at in target.asked]
    assert len(batch.lines()) == 40
    # Each takes 150 in truth, whatever was estimated before: six in a minute, or one more
    # while the first estimates are still too low.
    assert max(sum(start <= at < start + 60 for at in used) for start in used) <= 7


async def test_a_request_above_the_limit_is_refused_at_once(tmp_path, clock):
    batch = Batch(tmp_path, chat_line("x", max_tokens=5000), chat_line("y", max_tokens=50))
    target = ScriptedTarget(clock)
    await batch.run(target, tokens=1000)
    assert target.times(0) == []
    _, errors, _, mark = batch.lines()[0]
    assert (mark["code"], mark["attempts"]) == ("request_exceeds_limit", 0)
    assert "5000" in errors[0]
    assert "limit of 1000" in errors[0]
    assert stamp(batch.lines()[1])["ok"]


async def test_broken_lines_do_not_stop_the_others(tmp_path, clock):
    batch = Batch(tmp_path, chat_line("a"), "{broken", "[]", chat_line("b"))
    await batch.run(ScriptedTarget(clock))
    lines = batch.lines()
    assert [stamp(lines[i])["ok"] for i in range(4)] == [True, False, False, True]
    assert lines[1][0] == "{broken"
    assert lines[1][1][0].startswith("Line 2 ")


async def test_stopping_lets_finish_what_is_under_way(hundred, clock):
    target = ScriptedTarget(clock, seconds=1.0)
    await hundred.run(target, concurrency=4, stop_at=3.5)
    assert len(hundred.lines()) == len(target.asked) == 16
    again = ScriptedTarget(clock)
    await hundred.run(again)
    assert len(again.asked) == 84
    assert len(read_lines(hundred.results)) == 100


async def test_stopping_does_not_wait_for_limits_or_retries(hundred, clock):
    limited = failing(429, retryable=True, slow_down=True, retry_after=3600.0)
    target = ScriptedTarget(clock, {0: [limited], 5: [TRANSIENT]}, seconds=1.0)
    begun = clock.now()
    await hundred.run(target, requests=8, stop_at=2.0)
    assert clock.now() < begun + 60
    assert 0 not in hundred.lines()


async def test_what_fails_after_a_stop_is_not_retried_and_not_done(tmp_path, clock):
    batch = Batch(tmp_path, chat_line("x"))
    target = ScriptedTarget(clock, {0: [TRANSIENT]}, seconds=1.0)
    await batch.run(target, stop_at=0.5)
    assert len(target.asked) == 1
    assert batch.lines() == {}


async def test_an_answer_that_is_being_written_survives_an_abort(tmp_path, clock, monkeypatch):
    async def slowly(function, *arguments):
        for _ in range(500):
            await asyncio.sleep(0)
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", slowly)
    batch = Batch(tmp_path, chat_line("x"), chat_line("y"))
    target = ScriptedTarget(clock, seconds=1.0)
    await batch.run(target, concurrency=1, abort_at=1.5)
    assert list(batch.lines()) == [0]


async def test_aborting_drops_what_is_under_way_and_keeps_the_rest(hundred, clock):
    target = ScriptedTarget(clock, seconds=1.0)
    await hundred.run(target, concurrency=4, abort_at=3.5)
    assert len(target.asked) == 16
    assert sorted(hundred.lines()) == list(range(12))
    await hundred.run(ScriptedTarget(clock))
    assert Counter(stamp(line)["index"] for line in read_lines(hundred.results)) == Counter(
        range(100)
    )


async def test_a_run_where_nobody_gets_through_is_given_up(hundred, clock):
    refused = failing(401, barred=True)
    target = ScriptedTarget(clock, {i: [refused] for i in range(100)})
    runner = await hundred.run(target, concurrency=4)
    assert runner.gave_up == "status 401"
    assert 20 <= len(hundred.lines()) < 30


async def test_single_refusals_do_not_end_a_run(hundred, clock):
    refused = failing(401, barred=True)
    target = ScriptedTarget(clock, {i: [refused] for i in range(100) if i % 10})
    runner = await hundred.run(target, concurrency=1)
    assert runner.gave_up is None
    assert len(hundred.lines()) == 100


@given(st.lists(st.floats(0.1, 9), max_size=5), st.randoms())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_often_it_is_ended_every_request_is_answered_once(tmp_path_factory, ends, dice):
    batch = Batch(tmp_path_factory.mktemp("batch"), *(chat_line(str(i)) for i in range(30)))
    answered = Counter()

    async def scenario():
        for end in [*ends, None]:
            clock = VirtualClock()
            script = {i: [TRANSIENT] for i in range(30) if dice.random() < 0.2}
            target = ScriptedTarget(clock, script, seconds=dice.uniform(0.1, 2))
            how = {} if end is None else {dice.choice(["stop_at", "abort_at"]): end}
            before = set(batch.lines()) if batch.results.exists() else set()
            await batch.run(target, concurrency=3, **how)
            assert before.isdisjoint(index for index, _ in target.asked)

    asyncio.run(scenario())
    answered.update(stamp(line)["index"] for line in read_lines(batch.results))
    assert answered == Counter(range(30))
