"""Asking again where a server failed and nothing of its answer was passed on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from llmgate.errors import BackendError, BackendTimeout
from llmgate.gateway.call import Call
from llmgate.gateway.queue import QueueFull
from llmgate.gateway.replicas import Replica, Replicas, Turn

T = TypeVar("T")

# The first wait is at most so long, each further one at most twice as long as the one before.
_FIRST = 0.5
_LONGEST = 8.0
# A server that wants to be left alone for longer than that is not waited for.
_PATIENCE = 30.0


async def retried(
    call: Call,
    replicas: Replicas,
    retries: int,
    work: Callable[[Turn], Awaitable[T]],
) -> T:
    """The result of `work` at one of the replicas, after at most `retries` failures.

    The next replica is asked at once, the same one again only after a while. One that took too
    long is not asked again: it has enough to do. `work` ends its turn itself where it returns;
    what it raises has ended it. Raises the last failure.
    """
    tried: list[Replica] = []
    while True:
        replica = replicas.choose(call.conversation, tried)
        if not await replica.places.enter(call.party):
            continue  # it went down while this request waited for it
        turn = Turn(replica, replicas, call.conversation, call.clock)
        call.replica = replica.name
        try:
            return await work(turn)
        except BackendError as error:
            turn.end(error)
            tried.append(replica)
            wait = _wait(call, error, len(tried), others=replicas.others(tried))
            if wait is None or len(tried) > retries:
                raise
        except asyncio.CancelledError:
            turn.end(_too_slow(call, turn))
            raise
        except BaseException as error:
            turn.end(error)
            raise
        call.retries += 1
        if wait:
            await call.clock.sleep(wait)


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures: any time up to a limit that doubles each time.

    Any time, so that clients that failed together do not come back together ("full jitter").
    """
    return random.uniform(0, min(_LONGEST, _FIRST * 2 ** (failures - 1)))


def _wait(call: Call, error: BackendError, failures: int, *, others: bool) -> float | None:
    """Seconds until it is to be asked again, None if that is no use."""
    if not error.retryable or isinstance(error, QueueFull):
        return None
    if others:
        return 0.0
    if isinstance(error, BackendTimeout):
        return None
    wait = max(getattr(error, "retry_after", 0.0), backoff(failures))
    left = call.left()
    return None if wait > _PATIENCE or (left is not None and wait >= left) else wait


def _too_slow(call: Call, turn: Turn) -> BackendTimeout | None:
    """The failure of a replica that had most of a request's time and has not begun to answer."""
    if call.deadline is None or call.clock.now() < call.deadline:
        return None
    if turn.began - call.began > call.deadline - turn.began:
        return None
    return BackendTimeout("It did not begin to answer before the request's time was over.")
