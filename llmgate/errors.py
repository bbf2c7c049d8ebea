"""Every error that llmgate raises on purpose.

    LlmgateError
      ConfigError                    the configuration can't be used
        UnknownName                  a name that nobody knows, with the known ones
          UnknownAgent               404
        MissingPackage               an extra is not installed
      RequestError                   400  the client's request can't be answered as it is
        Unsupported                  400  understood, but not offered
        GrammarError                 400  a GBNF text or a schema that can't be used
        ContextOverflow              400  more tokens than the model's context
        UnknownModel                 404
        NoRoute                      404
        Forbidden                    403
        Unauthorized                 401
        TooLarge                     413
        RateLimited                  429  this client has used up what it may use
        ContentFiltered              400  a provider's filter refused the messages
      BackendError                   502  the model's server failed
        BackendUnreachable           503
          NotYet                     503  it says when it will be there
        BackendTimeout               504
        BackendRejected              424  the model's server refused what it was sent
          RefusedRequest             400  and says that it is the request's fault
        BackendBusy                  429
      ShuttingDown                   503
      OutputError                    422  the model's text is unusable after repair and retry
      StorageError                   500  what is stored can't be read or written
        Unstorable                   400  a key or value that no engine can keep
        Conflict                     409  somebody else has changed it meanwhile
        StoreBusy                    503  another process holds the store
        StoreFull                    507  no space left: nothing of the write is kept
        StoreCorrupt                 500  what is there can't be understood
        NewerStore                   500  it was written by a newer llmgate
      AgentBusy                      409  another process runs the agent
      FunctionError                  422  what a function tells the model that called it

Deterministic failures answer 4xx: the official SDKs retry every 5xx and pay for it again.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class LlmgateError(Exception):
    """Base of all: `message` says what happened, `hint` what to do about it."""

    status: ClassVar[int] = 500
    code: ClassVar[str | None] = None
    type: ClassVar[str] = "server_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.param = param

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class ConfigError(LlmgateError):
    """The configuration can't be used as it is."""

    code = "bad_configuration"


class UnknownName(ConfigError):
    """A name that nobody knows; the message lists the known ones and the closest match."""

    code = "unknown_name"

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        super().__init__(f"unknown {kind} {name!r}{where}.", hint=suggestion(name, known))
        self.name = name


class UnknownAgent(UnknownName):
    """There is no agent of that name."""

    status = 404
    code = "unknown_agent"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__("agent", name, known)


class MissingPackage(ConfigError):
    """A package that an optional part needs is not installed."""

    code = "missing_package"

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs a package that is not installed.",
            hint=f"Install it with: pip install 'llmgate[{extra}]'",
        )


class RequestError(LlmgateError):
    """The client's request can't be answered as it is; `param` names the field at fault."""

    status = 400
    code = "invalid_request"
    type = "invalid_request_error"


class Unsupported(RequestError):
    """The request is understood, but asks for something that is not offered."""

    code = "unsupported"


class GrammarError(RequestError):
    """A GBNF text, or a schema that should become one, can't be used."""

    code = "invalid_grammar"


class ContextOverflow(RequestError):
    """The prompt has more tokens than the model's context."""

    code = "context_length_exceeded"


class UnknownModel(RequestError):
    """The request names a model that is not configured."""

    status = 404
    code = "model_not_found"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"The model {name!r} does not exist here.", hint=suggestion(name, known), param="model"
        )


class NoRoute(RequestError):
    """There is nothing at this path, or not for this method."""

    status = 404
    code = "not_found"


class Unauthorized(RequestError):
    """The API key is missing or wrong."""

    status = 401
    code = "invalid_api_key"
    type = "authentication_error"


class Forbidden(RequestError):
    """The request comes from where it may not come from."""

    status = 403
    code = "forbidden"
    type = "permission_error"


class TooLarge(RequestError):
    """The body is larger than the server reads."""

    status = 413
    code = "body_too_large"


class RateLimited(RequestError):
    """A client has used up what it may use in a minute; `retry_after` is in seconds."""

    status = 429
    code = "rate_limit_exceeded"
    type = "rate_limit_error"

    def __init__(self, message: str, *, retry_after: float, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class ContentFiltered(RequestError):
    """A provider's content filter refused the messages, or ended the answer."""

    code = "content_filter"


class BackendError(LlmgateError):
    """The model's server failed, or said something that can't be understood."""

    status = 502
    code = "backend_error"
    type = "backend_error"
    retryable = True


class BackendUnreachable(BackendError):
    """No connection to the model's server, or its process is gone."""

    status = 503
    code = "backend_unreachable"


class NotYet(BackendUnreachable):
    """The server can't answer for now, and says for how many seconds."""

    def __init__(self, message: str, *, retry_after: float, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class BackendTimeout(BackendError):
    """The model's server took longer than allowed."""

    status = 504
    code = "backend_timeout"


class BackendRejected(BackendError):
    """The model's server refused what it was sent, and would do so again.

    The status is one that no SDK tries again (424, a failed dependency).
    """

    status = 424
    code = "backend_rejected"
    retryable = False


class RefusedRequest(BackendRejected):
    """The server refuses what it was sent (400, 413, 422), and would do so again.

    `param` is the field at fault, if it names one.
    """

    status = 400
    type = "invalid_request_error"


class BackendBusy(BackendError):
    """All places in the queue are taken; `retry_after` is in seconds."""

    status = 429
    code = "rate_limit_exceeded"
    type = "rate_limit_error"

    def __init__(self, message: str, *, retry_after: float = 1.0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class ShuttingDown(LlmgateError):
    """The gateway was told to stop before the answer was complete."""

    status = 503
    code = "shutting_down"
    retryable = True

    def __init__(self) -> None:
        super().__init__("The gateway is shutting down.")


class OutputError(LlmgateError):
    """The model's text is unusable after repair and retry; `text` is what it wrote last.

    `unconstrained` says that a backend that claims to keep to grammars did not keep to one.
    """

    status = 422
    code = "invalid_model_output"
    type = "invalid_model_output"

    def __init__(self, message: str, *, text: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.text = text
        self.unconstrained = False


class StorageError(LlmgateError):
    """What is stored can't be read or written."""

    code = "storage_error"


class Unstorable(StorageError):
    """A key or a value that no engine can keep: it has no form in JSON, or none in UTF-8."""

    status = 400
    code = "unstorable"
    type = "invalid_request_error"


class Conflict(StorageError):
    """Something else is stored than the writer took for granted: nothing was written.

    `actual` is the version of the document that is there, 0 for none; for a log its end.
    """

    status = 409
    code = "conflict"

    def __init__(self, what: str, name: str, *, expected: int, actual: int) -> None:
        super().__init__(
            f"{what} {name!r} was expected at {expected} and is at {actual}.",
            hint="Read it again and repeat the change.",
        )
        self.name = name
        self.expected = expected
        self.actual = actual


class StoreBusy(StorageError):
    """Another process holds the store for longer than was waited."""

    status = 503
    code = "store_busy"
    retryable = True


class StoreFull(StorageError):
    """There is no space left: nothing of the write is kept, all that was stored before is."""

    status = 507
    code = "store_full"


class StoreCorrupt(StorageError):
    """What is stored can't be understood; the message names the file and the place."""

    code = "store_corrupt"


class NewerStore(StorageError):
    """The store was written by a newer llmgate, and is left as it is."""

    code = "newer_store"


class AgentBusy(LlmgateError):
    """Another process has gone on with the agent: what this one knows of it is out of date."""

    status = 409
    code = "agent_busy"


class FunctionError(LlmgateError):
    """A function can't do what it was called for; the model reads the message and may mend it."""

    status = 422
    code = "function_failed"


def suggestion(name: str, known: Iterable[str]) -> str:
    """A sentence that names the closest known name, if one is close, and lists them all."""
    names = sorted(known)
    if not names:
        return "None is known."
    close = difflib.get_close_matches(name, names, n=1)
    start = f"Did you mean {close[0]!r}? " if close else ""
    return f"{start}Known: {', '.join(names)}."
