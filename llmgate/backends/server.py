"""The HTTP connection to one model server: questions, streams, and what its failures mean."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx
import msgspec

from llmgate.backends import failures
from llmgate.backends.framing import Framing
from llmgate.backends.sse import MAX_LINE, Event
from llmgate.backends.transport import Client, Reply, whole
from llmgate.config import ModelSettings
from llmgate.errors import (
    BackendError,
    BackendRejected,
    BackendTimeout,
    BackendUnreachable,
    ConfigError,
    LlmgateError,
    RequestError,
)

SHORT_ANSWER = 10.0
# How long what belongs to an answer may still take once its end has come.
_AFTERMATH = 1.0
_BODY_START = 1 << 16
_SHOWN = 200
# What people add to an address because some other program wants it there.
_ROUTES = (
    "/chat/completions",
    "/completions",
    "/completion",
    "/embeddings",
    "/models",
    "/api/generate",
    "/api/chat",
    "/api/v1/generate",
    "/api/v1",
    "/api",
    "/v1",
)


class Server:
    """One model server: asks it short questions and reads its streams.

    Raises `BackendError`s and nothing else on its failures, and `ConfigError` for settings that
    can't be used. `kind` names the program that should be there, `example` is an address of it.
    """

    def __init__(
        self,
        model: str,
        settings: ModelSettings,
        *,
        kind: str,
        example: str,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.kind = kind
        self.url = base_url(model, settings.url, kind, example)
        # Whether it failed to say something of itself that others of its kind say.
        self.in_doubt = False
        self._timeouts = settings.timeouts
        own = _headers(model, settings) if headers is None else dict(headers)
        try:
            self._client = Client(self.url, self._timeouts, headers=own, transport=transport)
        except (httpx.InvalidURL, httpx.LocalProtocolError) as error:
            raise ConfigError(f"the model {model!r} can't be asked: {error}.") from error

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._client.aclose()

    async def ask(
        self, method: str, path: str, body: Any = None, *, seconds: float | None = None
    ) -> dict[str, Any]:
        """One short question, answered by a JSON object."""
        if seconds is None:
            seconds = min(SHORT_ANSWER, self._timeouts.first_token)
        self._check_open()
        content = None if body is None else encode(body)
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            response = await self._client.send(method, path, content, deadline=deadline)
            try:
                text = (await whole(response, MAX_LINE, deadline)).decode("utf-8", "replace")
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise self._unreached(error) from error
        if response.status != 200:
            raise self._refused(response, text)
        reply = failures.decoded(text)
        if not isinstance(reply, dict):
            raise self._foreign(response, text)
        if failure := failures.find(reply):
            raise self._classified(failure, response.status, None)
        return reply

    async def ask_if_allowed(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The same as `ask`, but a server that is up and does not tell has told nothing."""
        try:
            return await self.ask(method, path, body)
        except (BackendUnreachable, BackendTimeout):
            raise
        except LlmgateError as error:
            # One that fails might have told.
            self.in_doubt = self.in_doubt or not isinstance(error, BackendRejected)
            return {}

    async def stream(
        self, path: str, body: bytes, framing: Framing, ending: asyncio.Event | None = None
    ) -> AsyncGenerator[list[Event], None]:
        """The events of one answer, those that came together at a time.

        Closing this closes the connection.

        Once `ending` is set, what is still to come has a second, and no failure counts any more.
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeouts.first_token
        try:
            response = await self._client.send("POST", path, body, deadline=deadline)
        except httpx.HTTPError as error:
            raise self._unreached(error) from error
        try:
            await self._check(response, framing.types)
            while (chunk := await self._chunk(response, deadline)) is not None:
                if complete := list(framing.feed(chunk)):
                    yield complete
                    deadline = loop.time() + self._timeouts.between_tokens
                if ending is not None and ending.is_set():
                    deadline = loop.time() + _AFTERMATH
            # An error may come without the empty line behind it; half of anything else is lost.
            rest = framing.close()
            if rest is not None and (framing.open_end or failure_in(rest) is not None):
                yield [rest]
        except (ValueError, BackendError) as error:
            if ending is not None and ending.is_set():
                return
            if isinstance(error, BackendError):
                raise
            raise BackendError(f"The server at {self.url} sent no events: {error}.") from error
        finally:
            await response.aclose(done=ending is not None and ending.is_set())

    def reply(self, event: Event) -> dict[str, Any]:
        """The object in an event. Raises what the server reports in it."""
        reply = failures.decoded(event.data)
        failure = failures.inner(event.data) if event.name == "error" else failures.find(reply)
        if failure is not None:
            raise self._classified(failure, 200, None)
        if not isinstance(reply, dict):
            raise BackendError(
                f"The server at {self.url} sent an event that is no JSON object: "
                f"{event.data[:_SHOWN]!r}."
            )
        return reply

    def cut(self, why: str = "") -> BackendError:
        """The error for an answer without its end."""
        return BackendError(f"The server at {self.url} ended in the middle of an answer{why}.")

    def empty(self) -> BackendError:
        """The error for an answer without anything in it."""
        return BackendError(f"The server at {self.url} ended its answer before it began.")

    async def _check(self, response: Reply, types: tuple[str, ...]) -> None:
        """Raise unless the response is a stream of one of these content types."""
        if response.status != 200:
            raise self._refused(response, await self._body_start(response))
        if not response.header("content-type").lower().startswith(types):
            body = await self._body_start(response)
            failure = failures.read(body) if body.lstrip().startswith("{") else None
            if failure is not None:
                raise self._classified(failure, response.status, None)
            raise self._foreign(response, body)

    async def _chunk(self, response: Reply, deadline: float) -> bytes | None:
        """The next bytes of a running answer, None at its end."""
        try:
            return await response.read(deadline)
        except httpx.TimeoutException as error:
            raise self._unreached(error) from error
        except httpx.HTTPError as error:
            raise self.cut(f": {error}" if str(error) else "") from error

    async def _body_start(self, response: Reply) -> str:
        """The first part of a body that is not what was asked for."""
        patience = min(SHORT_ANSWER, self._timeouts.first_token)
        deadline = asyncio.get_running_loop().time() + patience
        pieces, size = [], 0
        with contextlib.suppress(httpx.HTTPError):
            while size <= _BODY_START and (data := await response.read(deadline)) is not None:
                pieces.append(data)
                size += len(data)
        return b"".join(pieces).decode("utf-8", "replace")

    def _check_open(self) -> None:
        if self._client.is_closed:
            raise BackendUnreachable(f"The connection to the server at {self.url} is closed.")

    def _unreached(self, error: Exception) -> BackendError:
        """No answer, or not in time."""
        if isinstance(error, httpx.TimeoutException):
            what = "accept a connection" if isinstance(error, httpx.ConnectTimeout) else "answer"
            return BackendTimeout(
                f"The server at {self.url} did not {what} in time.",
                hint="`timeouts` in the model's settings says how long that may take.",
            )
        return BackendUnreachable(
            f"No answer from the server at {self.url}: {error or type(error).__name__}.",
            hint=f"Is {self.kind} running there? Check `url` in the model's settings.",
        )

    def _refused(self, response: Reply, body: str) -> LlmgateError:
        failure = failures.read(body) or failures.Failure(body[:_SHOWN])
        if target := response.header("location"):
            failure = failures.Failure(f"moved to {target}")
        wait = failures.wait(response.header("retry-after"), response.header("retry-after-ms"))
        return self._classified(failure, response.status, wait)

    def _classified(
        self, failure: failures.Failure, status: int, retry_after: str | None
    ) -> LlmgateError:
        return failures.classify(failure, status, self.url, retry_after, self.kind)

    def _foreign(self, response: Reply, body: str) -> BackendError:
        kind = response.header("content-type") or "no content type"
        return BackendError(
            f"The server at {self.url} does not answer like {self.kind} "
            f"({kind}: {body[:_SHOWN]!r}).",
            hint="Check `url` in the model's settings.",
        )


def base_url(model: str, url: str | None, kind: str, example: str) -> str:
    """The address without what users often add to it. Raises `ConfigError`."""
    hint = f'For example: url = "{example}"'
    if not url or not url.strip():
        raise ConfigError(f"the model {model!r} needs the `url` of a {kind}.", hint=hint)
    mended = mend(url)
    try:
        parsed = httpx.URL(mended)
    except httpx.InvalidURL as error:
        raise ConfigError(f"the url of the model {model!r}, {url!r}: {error}.") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(
            f"the url of the model {model!r}, {url!r}, is not an address on the web.", hint=hint
        )
    return mended


def mend(url: str) -> str:
    """The address with its scheme, and without the routes that a backend adds itself."""
    mended = url.strip() if "://" in url else f"http://{url.strip()}"
    while True:
        mended = mended.rstrip("/")
        shorter = next((mended.removesuffix(end) for end in _ROUTES if mended.endswith(end)), None)
        if shorter is None:
            return mended
        mended = shorter


def encode(body: Any) -> bytes:
    """The body as JSON. Raises `RequestError` for text that is not valid Unicode."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise RequestError(f"The text is not valid Unicode: {error}.") from error


def failure_in(event: Event) -> failures.Failure | None:
    """The failure that an event reports."""
    if event.name == "error":
        return failures.inner(event.data)
    return failures.find(failures.decoded(event.data))


def _headers(model: str, settings: ModelSettings) -> dict[str, str]:
    """The model's own headers and the one with the key. Raises `ConfigError` for others."""
    headers = dict(settings.headers)
    if settings.api_key:
        headers["Authorization"] = f"Bearer {settings.api_key}"
    check_headers(model, headers)
    return headers


def check_headers(model: str, headers: Mapping[str, str]) -> None:
    """Raise `ConfigError` for what no header can carry."""
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            what = "`api_key`" if name.lower() in ("authorization", "api-key") else f"header {name}"
            raise ConfigError(f"the {what} of the model {model!r} can't stand in a header.")
