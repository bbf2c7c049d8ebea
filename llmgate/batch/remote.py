"""A server with the OpenAI API, llmgate's own or another, as the one who answers."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import math
import time
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from llmgate.backends import failures
from llmgate.batch.nesting import too_deep
from llmgate.batch.requests import Job
from llmgate.batch.target import Answer, Failure
from llmgate.errors import ConfigError

_CONNECT = 10.0
# llama-server closes idle connections after five seconds: ours must go first.
_KEEPALIVE = 2.0
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
_LONGEST_WAIT = 24 * 3600.0
_SHOWN = 300
# These and a rate limit say "not now"; any other 4xx says the same next time.
_TRANSIENT = frozenset({408, 409, 425})
# A quota does not come back within a run, though it has the status of a rate limit.
_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


class Endpoint:
    """A server behind a URL. `model` is asked for where a request names none."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        model: str | None = None,
        timeout: float,
        concurrency: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Raises `ConfigError` for a URL or key that can't be used."""
        self.url = _root(url)
        self._model = model
        self._timeout = timeout
        headers = {"Content-Type": "application/json"}
        if api_key:
            if not (api_key.isascii() and api_key.isprintable()):
                raise ConfigError("the --api-key can't stand in a header.")
            headers["Authorization"] = f"Bearer {api_key}"
        self._client = httpx.AsyncClient(
            transport=transport,
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=min(_CONNECT, timeout), pool=None),
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def ask(self, job: Job) -> Answer | Failure:
        """One attempt."""
        body = job.body if self._model is None else {"model": self._model, **job.body}
        # httpx counts time between bytes: a slow drip must not take forever.
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.post(
                    self.address(job.path), content=msgspec.json.encode(body)
                )
        except (TimeoutError, httpx.TimeoutException):
            text = f"{self.url} did not answer within {self._timeout:g} seconds."
            return Failure("timeout", text, retryable=True)
        except httpx.ConnectError as error:
            text = f"There is no connection to {self.url}: {error or type(error).__name__}."
            return Failure("unreachable", text, retryable=True, barred=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            text = f"{self.url} broke off: {error or type(error).__name__}."
            return Failure("connection_error", text, retryable=True)
        return _read(response, self.url)

    def address(self, path: str) -> str:
        """The address of a route of the API, which stands below the root of it."""
        below = path.removeprefix("/v1") if path.startswith("/v1/") else path
        return self.url + below


def _root(url: str) -> str:
    """The address that `/chat/completions` is behind: /v1 where only a server is named."""
    full = url.strip() if "://" in url else f"http://{url.strip()}"
    full = full.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    try:
        parsed = httpx.URL(full)
    except httpx.InvalidURL as error:
        raise ConfigError(f"--url {url!r}: {error}.") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(
            f"--url {url!r} is not an address on the web.",
            hint="For example: --url http://127.0.0.1:8484/v1",
        )
    if parsed.query or parsed.fragment:
        raise ConfigError(f"--url {url!r} may not have a query: routes are put behind it.")
    return full if parsed.path.strip("/") else f"{full}/v1"


def _read(response: httpx.Response, url: str) -> Answer | Failure:
    """What a response says: an answer, or a failure and what it means."""
    status, request_id = response.status_code, response.headers.get("x-request-id")
    body: Any = None
    with contextlib.suppress(msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        decoded = msgspec.json.decode(response.content)
        body = None if too_deep(response.content, decoded) else decoded
    failure = failures.find(body)
    if status == 200 and failure is None:
        if isinstance(body, dict) and body:
            prompt, completion = _usage(body.get("usage"))
            return Answer(body, status, request_id, prompt, completion)
        shown = " ".join(response.text[:_SHOWN].split())
        text = f"{url} answered with what is no usable JSON object: {shown!r}."
        return Failure("invalid_answer", text, retryable=True)
    code = _code(body)
    if status == 200 and failure is not None:
        # Some servers report failures with the status of success.
        status = failure.status if failure.status is not None else _status_of(code)
    said = failure or failures.Failure(" ".join(response.text[:_SHOWN].split()))
    text = f"{url} says: {said.message or 'nothing'} (status {status})"
    if target := response.headers.get("location"):
        text = f"{url} has moved to {target} (status {status}): put that address into --url."
    limited = status == 429 and code not in _SPENT
    return Failure(
        code or ("rate_limit_exceeded" if status == 429 else f"http_{status}"),
        text,
        status,
        body if isinstance(body, dict) else {"error": {"message": said.message, "code": code}},
        request_id,
        retryable=limited or status >= 500 or status in _TRANSIENT,
        slow_down=limited,
        retry_after=retry_after(response.headers),
        barred=status in (401, 403) or code in _SPENT,
    )


def retry_after(headers: httpx.Headers, now: float | None = None) -> float | None:
    """The seconds that a server asks to wait: `retry-after-ms`, or `retry-after` in both forms."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            try:
                at = email.utils.parsedate_to_datetime(value).timestamp()
            except (ValueError, OverflowError):
                continue
            seconds = at - (time.time() if now is None else now)
        if math.isfinite(seconds):
            return min(max(seconds, 0.0), _LONGEST_WAIT)
    return None


def _usage(usage: Any) -> tuple[int | None, int]:
    if not isinstance(usage, dict):
        return None, 0
    prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
    completion = usage.get("completion_tokens", usage.get("output_tokens"))
    if type(prompt) is not int or prompt < 0:
        return None, 0
    return prompt, completion if type(completion) is int and completion > 0 else 0


def _code(body: Any) -> str | None:
    error = body.get("error") if isinstance(body, dict) else None
    for key in ("code", "type"):
        value = error.get(key) if isinstance(error, dict) else None
        if isinstance(value, str) and value:
            return value
    return None


def _status_of(code: str | None) -> int:
    """The status that an error with the status 200 should have had."""
    if code is None:
        return 502
    if "rate_limit" in code:
        return 429
    return 400 if "invalid" in code else 502
