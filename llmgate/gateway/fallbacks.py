"""Other models in place of one that fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from llmgate.errors import BackendError, ContextOverflow, LlmgateError, OutputError
from llmgate.gateway.models import Model
from llmgate.types import Note

T = TypeVar("T")


async def first_of(
    models: Sequence[Model], ask: Callable[[Model], Awaitable[T]]
) -> tuple[T, Model, Note | None]:
    """The result of the first model that has one, and a note if it is not the first model.

    Models that are known to be down come last. A request that the first model refuses is asked
    of no other one, except that one which is too long goes to models with a larger context.
    Raises what the first model raised.
    """
    wanted = models[0]
    if len(models) == 1:
        return await ask(wanted), wanted, None
    failures: dict[str, LlmgateError] = {}
    too_small = -1
    for model in sorted(models, key=lambda model: not model.up):
        if too_small >= 0 and (model.context or 0) <= too_small:
            continue
        why = failures.get(wanted.name, wanted.reason)
        try:
            result = await ask(model)
        except ContextOverflow as error:
            failures[model.name] = error
            too_small = max(too_small, model.context or 0)
        except (BackendError, OutputError) as error:
            failures[model.name] = error
        except LlmgateError as error:
            if model is wanted:
                raise
            failures[model.name] = error
        else:
            if model is wanted:
                return result, model, None
            said = f"{model.name!r} answered in place of {wanted.name!r}"
            return result, model, Note("fallback", f"{said}: {why}" if why else said)
    raise failures.get(wanted.name) or next(iter(failures.values()))
