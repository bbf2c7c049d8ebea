"""Who answers the requests: one attempt at one request, and what its failure means."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

import msgspec

from llmgate.batch.requests import Job
from llmgate.errors import (
    BackendTimeout,
    BackendUnreachable,
    ConfigError,
    LlmgateError,
    Unsupported,
)
from llmgate.gateway import Gateway
from llmgate.wire import chat, embeddings
from llmgate.wire.chat_answers import ChatWriter, error_body

logger = logging.getLogger("llmgate.batch")


class Answer(msgspec.Struct, frozen=True):
    """The body of an answer, with the tokens that it says it took (None: it does not say)."""

    body: Any
    status: int = 200
    request_id: str | None = None
    prompt: int | None = None
    completion: int = 0


class Failure(msgspec.Struct, frozen=True):
    """An attempt that gave no answer. `status` and `body` are None where nothing came at all.

    `retryable`: it may go better next time. `slow_down` asks all requests to wait, for
    `retry_after` seconds where the server says so. `barred`: no other request would fare better.
    """

    code: str
    message: str
    status: int | None = None
    body: Any = None
    request_id: str | None = None
    retryable: bool = False
    slow_down: bool = False
    retry_after: float | None = None
    barred: bool = False


class Target(Protocol):
    """Something that answers requests. A failure is a value: it raises nothing."""

    async def ask(self, job: Job) -> Answer | Failure:
        """One attempt."""
        ...


class Local:
    """The gateway in this process."""

    def __init__(self, gateway: Gateway, *, timeout: float) -> None:
        self._gateway = gateway
        self._timeout = timeout

    async def ask(self, job: Job) -> Answer | Failure:
        """One attempt."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._answer(job)
        except TimeoutError:
            return self._failed(BackendTimeout(f"No answer within {self._timeout:g} seconds."))
        except LlmgateError as error:
            return self._failed(error)
        except Exception:
            logger.exception("the request in line %d failed inside llmgate", job.index + 1)
            return self._failed(LlmgateError("Something failed inside llmgate; its log says what."))

    async def _answer(self, job: Job) -> Answer:
        # A line that names no model means the one that `llmgate chat` opens with.
        body = msgspec.json.encode({"model": next(iter(self._gateway.routes)), **job.body})
        match "/v1" + job.path.removeprefix("/v1").rstrip("/"):
            case "/v1/chat/completions":
                asked = chat.decode(body)
                completion = await self._gateway.complete(asked.request)
                usage, written = completion.usage, ChatWriter(asked).whole(completion)
            case "/v1/embeddings":
                wanted = embeddings.decode(body)
                made = await self._gateway.embed(wanted.model, wanted.texts)
                usage, written = made.usage, embeddings.answer(wanted, made)
            case path:
                raise Unsupported(
                    f"{path} can't be answered in process.",
                    hint="Give the address of a server that has it with --url.",
                )
        return Answer(written, prompt=usage.prompt, completion=usage.completion)

    @staticmethod
    def _failed(error: LlmgateError) -> Failure:
        busy = error.status == 429
        return Failure(
            error.code or "internal_error",
            str(error),
            error.status,
            error_body(error),
            retryable=error.retryable or busy,
            slow_down=busy,
            retry_after=getattr(error, "retry_after", None),
            barred=isinstance(error, (BackendUnreachable, ConfigError)),
        )
