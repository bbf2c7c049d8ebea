"""An answer that can't be used is asked for again, with what was wrong."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec

from llmgate.errors import ContextOverflow, OutputError
from llmgate.gateway.attempt import Answer
from llmgate.types import Message, Note, Request

logger = logging.getLogger("llmgate.gateway")

_UNCONSTRAINED = "the backend took a grammar and did not keep to it"


async def corrected(
    request: Request, ask: Callable[[Request], Awaitable[Answer]], times: int
) -> Answer:
    """The answer to `request`, asked for again up to `times` times where one was refused.

    Its notes say why. Raises `OutputError` if the last one can't be used either, and what `ask`
    raises.
    """
    refused: OutputError | None = None
    notes: list[Note] = []
    while True:
        try:
            answer = await ask(request if refused is None else _again(request, refused))
        except ContextOverflow:
            if refused is None:
                raise
            raise refused from None  # the overflow is our own doing: the request is longer now
        except OutputError as error:
            report(request, error)
            if times <= 0:
                raise
            times -= 1
            notes.append(Note("retried", f"an answer was refused: {error}"))
            if error.unconstrained:
                notes.append(Note("unconstrained", _UNCONSTRAINED))
            refused = error
        else:
            answer.notes.extend(dict.fromkeys(notes))
            return answer


def report(request: Request, error: OutputError) -> None:
    """Log it where a backend does not do what it claims to do."""
    if error.unconstrained:
        logger.warning("model %s: %s", request.model, _UNCONSTRAINED)


def _again(request: Request, error: OutputError) -> Request:
    """The request again, with the answer that was refused and the reason."""
    answer = Message("assistant", error.text.strip() or "(nothing)")
    wanted = "a valid function call" if request.tools else "valid JSON"
    feedback = f"That answer can't be used: {error} Answer again, with {wanted} and nothing else."
    messages = (*request.messages, answer, Message("user", feedback))
    return msgspec.structs.replace(request, messages=messages)
