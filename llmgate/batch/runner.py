"""Runs a batch: workers that take a line each, ask until there is an end, and write it down."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from llmgate.batch.buckets import Limits
from llmgate.batch.estimate import Estimator
from llmgate.batch.journal import Journal
from llmgate.batch.requests import Job, Malformed, Requests
from llmgate.batch.results import TOO_LARGE, write
from llmgate.batch.target import Answer, Failure, Target

_LONGEST_BACKOFF = 60.0
# So many results in a row that say that nobody gets through, and none that says otherwise.
_GIVE_UP = 20


class Plan(msgspec.Struct, frozen=True):
    """How a batch is run.

    Each request gets `max_attempts`; `concurrency` run at a time. After a rate limit that does
    not say how long, nothing is sent for `cool_down` seconds. The first retry of anything else
    comes after about `backoff` seconds, each further one after twice that.
    """

    max_attempts: int = 5
    concurrency: int = 16
    cool_down: float = 15.0
    backoff: float = 1.0


class Progress:
    """How far a run has come; `answered` and `failed` count this run alone."""

    def __init__(self) -> None:
        self.answered = 0
        self.failed = 0
        self.running = 0
        self.retries = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.codes: Counter[str] = Counter()


class Runner:
    """Answers all pending requests of `source` by `target`, within `limits`, into `journal`."""

    def __init__(
        self,
        source: Requests,
        target: Target,
        journal: Journal,
        limits: Limits,
        plan: Plan,
        *,
        dice: random.Random | None = None,
    ) -> None:
        self.source = source
        self.journal = journal
        self.limits = limits
        self.progress = Progress()
        # Why the run ended early on its own account, if it did.
        self.gave_up: str | None = None
        self._target = target
        self._plan = plan
        self._dice = dice or random.Random()
        self._estimator = Estimator()
        self._slots = asyncio.Semaphore(plan.concurrency)
        self._stopping = False
        self._workers: set[asyncio.Task[None]] = set()
        # Those whose work would be lost with them: a request is on its way, or its result is.
        self._committed: set[asyncio.Task[Any]] = set()
        self._barred = 0

    async def run(self) -> None:
        """Answer everything that has no result yet, or as much as `stop` and `abort` allow.

        What is finished is on the disk when this returns or is cancelled. Raises `LlmgateError`
        when results can't be written or requests can't be read.
        """
        pending = self.source.pending(self.journal.done)
        # Twice as many as may run: those that wait for a retry hold up none of the others, and
        # no more requests than these are ever in memory.
        for _ in range(2 * self._plan.concurrency):
            self._workers.add(asyncio.create_task(self._work(pending)))
        try:
            done, _ = await asyncio.wait(self._workers, return_when=asyncio.FIRST_EXCEPTION)
            errors = [task.exception() for task in done if not task.cancelled()]
        finally:
            self.abort()
            await asyncio.gather(*self._workers, return_exceptions=True)
            await self.journal.flush()
        for error in errors:
            if error is not None:
                raise error

    def stop(self) -> None:
        """Send nothing more; what is on its way comes to its end."""
        self._stopping = True
        for task in self._workers - self._committed:
            task.cancel()

    def abort(self) -> None:
        """Send nothing more and drop what is on its way: it counts as not done."""
        self._stopping = True
        for task in self._workers:
            task.cancel()

    async def _work(self, pending: Iterator[Job | Malformed]) -> None:
        task = asyncio.current_task()
        assert task is not None
        while not self._stopping and (job := next(pending, None)) is not None:
            failures: list[Failure] = []
            end: Answer | Failure | None
            if isinstance(job, Malformed):
                end = Failure(job.code, job.message)
                failures.append(end)
            else:
                end = await self._settle(job, failures, task)
            if end is not None:
                self._committed.add(task)
                await self._record(job, end, failures)
            self._committed.discard(task)

    async def _settle(
        self, job: Job, failures: list[Failure], task: asyncio.Task[Any]
    ) -> Answer | Failure | None:
        """Ask until there is an answer or no hope for one; None if the run is stopped before."""
        estimate = self._estimator.of(job)
        if not self.limits.fits(estimate.tokens):
            failures.append(
                Failure(
                    TOO_LARGE,
                    f"The request may take about {estimate.tokens} tokens, {estimate.reply} of "
                    f"them for its answer: more than the limit of {self.limits.tokens} a minute. "
                    "Raise --max-tokens-per-minute, or lower its max_tokens.",
                )
            )
            return failures[-1]
        while True:
            async with self._slots:
                taken = await self.limits.take(estimate.tokens)
                self._committed.add(task)
                self.progress.running += 1
                try:
                    end = await self._target.ask(job)
                finally:
                    self.progress.running -= 1
            if isinstance(end, Answer):
                if end.prompt is not None:
                    self._estimator.learn(estimate, end.prompt, end.completion)
                    self.limits.correct(taken, end.prompt + end.completion)
                return end
            failures.append(end)
            if end.slow_down:
                wait = self._plan.cool_down if end.retry_after is None else end.retry_after
                self.limits.cool_down(wait)
            if not end.retryable or len(failures) >= self._plan.max_attempts:
                return end
            if self._stopping:
                return None
            self._committed.discard(task)
            self.progress.retries += 1
            await self.limits.clock.sleep(self._pause(len(failures), end))

    def _pause(self, attempts: int, failure: Failure) -> float:
        """How long to wait before the next attempt: longer each time, and never all at once."""
        backoff = min(self._plan.backoff * 2.0 ** (attempts - 1), _LONGEST_BACKOFF)
        jittered = backoff * self._dice.uniform(0.5, 1.0)
        return jittered + (failure.retry_after or 0.0)

    async def _record(
        self, job: Job | Malformed, end: Answer | Failure, failures: list[Failure]
    ) -> None:
        await self.journal.append(write(job, end, tuple(failures)))
        if isinstance(end, Answer):
            self.progress.answered += 1
            self.progress.prompt_tokens += end.prompt or 0
            self.progress.completion_tokens += end.completion
        else:
            self.progress.failed += 1
            self.progress.codes[end.code] += 1
        self._watch(job, end)

    def _watch(self, job: Job | Malformed, end: Answer | Failure) -> None:
        """Give up where nobody gets through: a wrong key would spoil every result of the file."""
        if isinstance(end, Failure) and end.barred:
            self._barred += 1
            if self._barred >= _GIVE_UP and self.gave_up is None:
                self.gave_up = end.message
                self.stop()
        elif isinstance(job, Job):
            self._barred = 0
