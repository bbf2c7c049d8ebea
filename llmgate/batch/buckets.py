"""Limits per minute: a bucket for requests, one for tokens, and a cool-down over both."""

from __future__ import annotations

import asyncio
from collections import deque

from llmgate.batch.clock import Clock, RealClock

MINUTE = 60.0
# What is taken within this time is remembered as one: a minute has at most 1200 portions.
_GRAIN = 0.05
# Answers give back what was estimated too high: a wait looks again after this time.
_GLANCE = 0.25


class Portion:
    """What was taken from a bucket at about the same moment."""

    __slots__ = ("amount", "at")

    def __init__(self, at: float, amount: int) -> None:
        self.at = at
        self.amount = amount


class Bucket:
    """A limit for each minute. It starts full, and what is taken flows back a minute later.

    So no minute, wherever it begins, holds more than the limit. A bucket that refills evenly
    lets through twice the limit in its first minute: all it holds, and all that flows in.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._portions: deque[Portion] = deque()

    def wait(self, amount: int, now: float) -> float:
        """The seconds until that amount can be taken, infinite for more than the limit."""
        if amount > self.limit:
            return float("inf")
        self._flow_back(now)
        missing, wait = self._used + amount - self.limit, 0.0
        for portion in self._portions:
            if missing <= 0:
                break
            missing -= portion.amount
            wait = portion.at + MINUTE - now
        return wait

    def take(self, amount: int, now: float) -> Portion:
        """Take it, whether or not it is there: `wait` says whether it is."""
        self._flow_back(now)
        last = self._portions[-1] if self._portions else None
        # Never later than the grain behind the first of them: the portion stands at its last.
        if last is not None and now // _GRAIN == last.at // _GRAIN:
            last.at = now
        else:
            last = Portion(now, 0)
            self._portions.append(last)
        last.amount += amount
        self._used += amount
        return last

    def correct(self, portion: Portion, difference: int, now: float) -> None:
        """Say that something took more than estimated, or less (a negative difference).

        More counts from now on, as it was used up to now; less is given back at once.
        """
        if difference > 0:
            self.take(difference, now)
            return
        self._flow_back(now)
        if portion.at + MINUTE > now:
            portion.amount += difference
            self._used += difference

    def _flow_back(self, now: float) -> None:
        while self._portions and self._portions[0].at + MINUTE <= now:
            self._used -= self._portions.popleft().amount


class Taken:
    """What one attempt took, to be corrected once its real usage is known."""

    __slots__ = ("estimate", "portion")

    def __init__(self, portion: Portion | None, estimate: int) -> None:
        self.portion = portion
        self.estimate = estimate


class Limits:
    """Requests and tokens per minute, None for no limit; requests get through in their order."""

    def __init__(
        self,
        requests: int | None = None,
        tokens: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or RealClock()
        self.tokens = tokens
        self._request_bucket = None if requests is None else Bucket(requests)
        self._token_bucket = None if tokens is None else Bucket(tokens)
        self._turn = asyncio.Lock()
        self._cool_until = float("-inf")
        self._next_at = float("-inf")

    def fits(self, tokens: int) -> bool:
        """Whether a request of so many tokens can ever get through."""
        return self.tokens is None or tokens <= self.tokens

    async def take(self, tokens: int) -> Taken:
        """Wait until one request of so many tokens is within all limits, and take it.

        It has to be one that `fits`. A large one is not overtaken by the small ones behind it.
        """
        async with self._turn:
            while wait := self._wait(tokens):
                self._next_at = self.clock.now() + wait
                await self.clock.sleep(min(wait, _GLANCE))
            now = self.clock.now()
            if self._request_bucket is not None:
                self._request_bucket.take(1, now)
            bucket = self._token_bucket
            return Taken(None if bucket is None else bucket.take(tokens, now), tokens)

    def correct(self, taken: Taken, tokens: int) -> None:
        """Replace the estimate of what was taken by what was really used."""
        if taken.portion is not None and self._token_bucket is not None:
            difference = tokens - taken.estimate
            self._token_bucket.correct(taken.portion, difference, self.clock.now())
            taken.estimate = tokens

    def cool_down(self, seconds: float) -> None:
        """Let nothing through for so long."""
        self._cool_until = max(self._cool_until, self.clock.now() + seconds)

    @property
    def cooling(self) -> float:
        """The seconds that are left of a cool-down."""
        return max(0.0, self._cool_until - self.clock.now())

    @property
    def holding(self) -> float:
        """The seconds until the next request gets through, if one is waiting for its turn."""
        return max(0.0, self._next_at - self.clock.now()) if self._turn.locked() else 0.0

    def _wait(self, tokens: int) -> float:
        now = self.clock.now()
        waits = [self._cool_until - now]
        if self._request_bucket is not None:
            waits.append(self._request_bucket.wait(1, now))
        if self._token_bucket is not None:
            waits.append(self._token_bucket.wait(tokens, now))
        return max(0.0, *waits)
