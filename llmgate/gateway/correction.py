"""An answer that can't be used is asked for once more, with what was wrong."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec

from llmgate.errors import ContextOverflow, OutputError
from llmgate.gateway.attempt import Answer
from llmgate.types import Message, Note, Request

logger = logging.getLogger("llmgate.gateway")

_UNCONSTRAINED = "the backend took a grammar and did not keep to it"


async def corrected(request: Request, ask: Callable[[Request], Awaitable[Answer]]) -> Answer:
    """The answer to `request`, whose notes say whether the first one was refused.

    Raises `OutputError` if the second one can't be used either, and what `ask` raises.
    """
    try:
        return await ask(request)
    except OutputError as error:
        report(request, error)
        refused = error
    try:
        answer = await ask(_again(request, refused))
    except ContextOverflow:
        raise refused from None  # the overflow is our own doing: the request is longer now
    except OutputError as error:
        report(request, error)
        raise
    answer.notes.append(Note("retried", f"the first answer was refused: {refused}"))
    if refused.unconstrained:
        answer.notes.append(Note("unconstrained", _UNCONSTRAINED))
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
