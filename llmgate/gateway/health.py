"""Whether a replica is up: failures cool it down, looking at it brings it back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from llmgate.errors import BackendBusy, BackendError, BackendRejected, LlmgateError
from llmgate.gateway.clock import Clock

logger = logging.getLogger("llmgate.gateway")


class Health:
    """The health of one replica. `look` asks it whether it can answer, and raises if not.

    After a failure it is left alone for `cooldown` seconds, or for as long as it asked for itself
    if that is more, and is looked at every `every` seconds until it answers. What it says about a
    request (a 4xx) is no failure of its own.
    """

    def __init__(
        self,
        name: str,
        look: Callable[[], Awaitable[None]],
        *,
        cooldown: float = 30.0,
        every: float = 15.0,
        clock: Clock,
    ) -> None:
        self.failed_at = 0.0
        self.reason: LlmgateError | None = None
        self._name = name
        self._look = look
        self._cooldown = cooldown
        self._every = every
        self._clock = clock
        self._until = 0.0
        self._asked_for = 0.0
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def up(self) -> bool:
        """Whether requests should go there."""
        return self._until == 0.0 or self._clock.now() >= self._until

    def failed(self, error: LlmgateError) -> None:
        """Take note of what a request, or starting, ended with."""
        if not _own_failure(error):
            return
        now = self._clock.now()
        # A server that says when to come again knows better than any setting.
        wait: float = getattr(error, "retry_after", 0.0)
        self._asked_for = max(self._asked_for, now + wait)
        self.failed_at, self.reason = now, error
        if isinstance(error, BackendBusy):
            self._until = max(self._until, self._asked_for)
            return
        self._until = max(self._until, self._asked_for, now + self._cooldown)
        if self._watch is None and not self._closed:
            logger.warning("%s is down: %s", self._name, error)
            self._watch = asyncio.create_task(self._watching())

    def worked(self) -> None:
        """Take note of an answer. It may have been asked for before the server wanted a rest."""
        if self._until:
            self._rest()
        if self._watch is not None:
            self._watch.cancel()
            self._came_back()

    async def aclose(self) -> None:
        """Stop looking, for good."""
        self._closed = True
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None

    async def _watching(self) -> None:
        while True:
            await self._clock.sleep(self._every)
            try:
                await self._look()
            except LlmgateError as error:
                if _own_failure(error) and not isinstance(error, BackendBusy):
                    self.reason = error
                    self._until = max(self._until, self._clock.now() + self._cooldown)
                    continue
            break
        self._rest()
        self._came_back()

    def _rest(self) -> None:
        """It is up, as soon as the time is over that it asked for."""
        if self._asked_for > self._clock.now():
            self._until = self._asked_for
        else:
            self._until = self._asked_for = 0.0
            self.reason = None

    def _came_back(self) -> None:
        self._watch = None
        logger.warning("%s answers again", self._name)


def _own_failure(error: LlmgateError) -> bool:
    """Whether it says something about the server: one that refuses a request is up."""
    return isinstance(error, BackendError) and not isinstance(error, BackendRejected)
