"""One request on its way through the pipeline, and what there is to tell of it afterwards."""

from __future__ import annotations

import msgspec

from llmgate.errors import LlmgateError
from llmgate.gateway.clock import Clock
from llmgate.gateway.generation import Observer
from llmgate.gateway.limits import Client
from llmgate.types import Finish, Request, Usage

# What nginx logs for a client that left before it was answered.
_CLIENT_LEFT = 499


class Call(msgspec.Struct):
    """What the steps know of a request and note down about it.

    `model` is the name that the client used, `conversation` what its turns have in common.
    `whole`: nothing is passed on before the end. `correct`: an answer that can't be used is asked
    for again. `deadline` is by the gateway's clock.
    """

    model: str
    clock: Clock
    began: float
    conversation: str = ""
    client: Client | None = None
    observer: Observer | None = None
    whole: bool = False
    correct: bool = True
    deadline: float | None = None
    estimate: int = 0
    usage: Usage = Usage(cached=0)
    answered_by: str | None = None
    replica: str | None = None
    first_at: float | None = None
    finish: Finish | None = None
    retries: int = 0
    fallback: bool = False
    from_cache: bool = False
    status: int = 200
    error: str | None = None

    @property
    def party(self) -> str:
        """Who waits in line: requests of one party wait for each other, not others for them."""
        return self.client.name if self.client is not None else self.conversation

    def left(self) -> float | None:
        """Seconds until the deadline."""
        return None if self.deadline is None else self.deadline - self.clock.now()

    def begun(self) -> None:
        """The first piece of the answer is there."""
        if self.first_at is None:
            self.first_at = self.clock.now()

    def used(self, usage: Usage) -> None:
        """Add what one generation took."""
        self.usage = self.usage.plus(usage)

    def failed(self, error: BaseException) -> None:
        """Note down what it ended with, unless it had come to its end."""
        if isinstance(error, LlmgateError):
            self.status, self.error = error.status, error.code
        elif not isinstance(error, Exception):
            if self.finish is None:
                self.status = _CLIENT_LEFT
        else:
            self.status = 500


def conversation_of(request: Request) -> str:
    """What the turns of a conversation have in common: its name, else how it begins.

    Those that begin alike are not told apart: the beginning is what a prefix cache holds.
    """
    if request.conversation:
        return request.conversation
    system = user = None
    for message in request.messages:
        if message.role == "user":
            user = message.content
            break
        if message.role == "system" and system is None:
            system = message.content
    return f"{hash((system, user)) & 0xFFFFFFFFFFFFFFFF:016x}"
