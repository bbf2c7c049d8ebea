"""llama.cpp's own server, over its `POST /completion`.

API: https://github.com/ggml-org/llama.cpp/tree/master/tools/server
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import msgspec

from llmgate.backends import failures
from llmgate.backends.sse import Event, Events
from llmgate.config import ModelSettings, Timeouts
from llmgate.errors import (
    BackendError,
    BackendTimeout,
    BackendUnreachable,
    ConfigError,
    LlmgateError,
    RequestError,
)
from llmgate.types import Caps, Delta, Note, Prompt, Usage

_SHORT_ANSWER = 10.0
# llama-server closes idle connections after five seconds: ours must go first.
_KEEPALIVE = 2.0
_BODY_START = 1 << 16
_SHOWN = 200
_JSON = {"Content-Type": "application/json"}


class LlamaCppBackend:
    """Completes prompts with a running llama-server.

    Its control tokens stay invisible unless the server runs with `--special`.
    """

    def __init__(
        self, model: str, settings: ModelSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._url = _base_url(model, settings.url)
        self._timeouts = settings.timeouts
        self._caps = Caps(grammar=True, tokenize=True)
        self._known = False
        self._added_bos = ""
        self._client = httpx.AsyncClient(
            transport=transport,
            headers=_authorization(model, settings.api_key),
            timeout=_http_timeouts(settings.timeouts),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=_KEEPALIVE),
            # The server is where the settings say, whatever the environment says of proxies.
            trust_env=False,
        )

    @classmethod
    def open(cls, model: str, settings: ModelSettings) -> LlamaCppBackend:
        """The backend for the server at `settings.url`. Raises `ConfigError`."""
        return cls(model, settings)

    @property
    def caps(self) -> Caps:
        """Grammars and token counts; the context of one request once the server has told it."""
        return self._caps

    async def start(self) -> None:
        """Read the server's properties; if it can't be reached, requests will say so."""
        with contextlib.suppress(BackendUnreachable, BackendTimeout):
            await self._learn()

    async def complete(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Complete the prompt. See `Backend.complete`."""
        if prompt.grammar is not None:
            from llmgate import grammar

            grammar.check(prompt.grammar)
        if not self._known:
            # A server too busy for a small question may still take its time over a large one.
            with contextlib.suppress(BackendTimeout):
                await self._learn()
        body = _encode(_body(prompt, self._added_bos))
        async with aclosing(self._events(body)) as events:
            async for event in events:
                reply = self._reply(event)
                last = reply.get("stop") is True
                if text := reply.get("content"):
                    yield Delta(str(text))
                if last:
                    for delta in self._end(reply):
                        yield delta
                    return
        raise self._cut()

    async def count(self, text: str) -> int:
        """The number of tokens of `text`, by the server's tokenizer."""
        body = {"content": text, "add_special": False, "parse_special": True}
        reply = await self._ask("POST", "/tokenize", body)
        if not isinstance(tokens := reply.get("tokens"), list):
            raise BackendError(f"The server at {self._url} sent no tokens: {reply!r:.300}")
        return len(tokens)

    async def health(self) -> None:
        """Return if the server is up and its model loaded. Raises `BackendError`s."""
        await self._ask("GET", "/health")

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._client.aclose()

    async def _learn(self) -> None:
        """Read the context's size, and whether the server adds a BOS that we must not repeat."""
        props = await self._ask_if_allowed("GET", "/props")
        question = {"content": "", "add_special": True}
        probe = await self._ask_if_allowed("POST", "/tokenize", question)
        self._known = True
        settings = props.get("default_generation_settings")
        context = settings.get("n_ctx") if isinstance(settings, dict) else None
        if type(context) is int and context > 0:
            self._caps = msgspec.structs.replace(self._caps, context=context)
        if probe.get("tokens") and isinstance(bos := props.get("bos_token"), str):
            self._added_bos = bos

    async def _ask_if_allowed(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The same as `_ask`, but a server that is up and does not tell has told nothing."""
        try:
            return await self._ask(method, path, body)
        except (BackendUnreachable, BackendTimeout):
            raise
        except LlmgateError:
            return {}

    async def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One short question, answered by a JSON object."""
        self._check_open()
        content = None if body is None else _encode(body)
        try:
            async with asyncio.timeout(_SHORT_ANSWER):
                response = await self._client.request(
                    method, self._url + path, content=content, headers=_JSON
                )
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._unreached(error) from error
        if response.status_code != 200:
            raise self._refused(response, response.text)
        reply = failures.decoded(response.text)
        if not isinstance(reply, dict):
            raise self._foreign(response, response.text)
        if failure := failures.find(reply):
            raise failures.classify(failure, response.status_code, self._url, None)
        return reply

    async def _events(self, body: bytes) -> AsyncGenerator[Event, None]:
        """The events of one answer. Closing this closes the connection."""
        self._check_open()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeouts.first_token
        request = self._client.build_request(
            "POST", f"{self._url}/completion", content=body, headers=_JSON
        )
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._client.send(request, stream=True)
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._unreached(error) from error
        try:
            await self._check(response)
            events = Events()
            chunks = response.aiter_bytes()
            while (chunk := await self._chunk(chunks, deadline)) is not None:
                complete = list(events.feed(chunk))
                for event in complete:
                    yield event
                if complete:
                    deadline = loop.time() + self._timeouts.between_tokens
            # An error may come without the empty line behind it; half of anything else is lost.
            if (rest := events.close()) is not None and _failure(rest) is not None:
                yield rest
        except ValueError as error:
            raise BackendError(f"The server at {self._url} sent no events: {error}.") from error
        finally:
            await response.aclose()

    async def _check(self, response: httpx.Response) -> None:
        """Raise unless the response is a stream of events."""
        if response.status_code != 200:
            raise self._refused(response, await _body_start(response))
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            body = await _body_start(response)
            failure = failures.read(body) if body.lstrip().startswith("{") else None
            if failure is not None:
                raise failures.classify(failure, response.status_code, self._url, None)
            raise self._foreign(response, body)

    async def _chunk(self, chunks: AsyncIterator[bytes], deadline: float) -> bytes | None:
        """The next bytes of a running answer, None at its end."""
        try:
            async with asyncio.timeout_at(deadline):
                return await anext(chunks, None)
        except (httpx.TimeoutException, TimeoutError) as error:
            raise self._unreached(error) from error
        except httpx.HTTPError as error:
            raise self._cut(f": {error}" if str(error) else "") from error

    def _check_open(self) -> None:
        if self._client.is_closed:
            raise BackendUnreachable(f"The connection to the server at {self._url} is closed.")

    def _reply(self, event: Event) -> dict[str, Any]:
        """The object in an event. Raises what the server reports in it."""
        if event.data == "[DONE]":
            return {}
        if (failure := _failure(event)) is not None:
            raise failures.classify(failure, 200, self._url, None)
        reply = failures.decoded(event.data)
        if not isinstance(reply, dict):
            raise BackendError(
                f"The server at {self._url} sent an event that is no JSON object: "
                f"{event.data[:_SHOWN]!r}."
            )
        return reply

    def _end(self, reply: dict[str, Any]) -> list[Delta]:
        """The last deltas of an answer, from the event that says `stop`."""
        kind = reply.get("stop_type")
        length = kind == "limit" or bool(reply.get("stopped_limit"))
        usage = _usage(reply)
        marked = kind not in (None, "none") or any(
            reply.get(key) for key in ("stopped_eos", "stopped_word", "stopped_limit")
        )
        if not marked and not usage.completion:
            raise BackendError(f"The server at {self._url} ended its answer before it began.")
        deltas = [Delta(finish="length" if length else "stop", usage=usage)]
        if reply.get("truncated") and not length:
            message = "The server dropped a part of the text to make it fit its context."
            deltas.insert(0, Delta(note=Note("truncated", message)))
        return deltas

    def _unreached(self, error: Exception) -> BackendError:
        """No answer, or not in time."""
        if isinstance(error, (TimeoutError, httpx.TimeoutException)):
            what = "accept a connection" if isinstance(error, httpx.ConnectTimeout) else "answer"
            return BackendTimeout(
                f"The server at {self._url} did not {what} in time.",
                hint="`timeouts` in the model's settings says how long that may take.",
            )
        return BackendUnreachable(
            f"No answer from the server at {self._url}: {error or type(error).__name__}.",
            hint="Is llama-server running there? Check `url` in the model's settings.",
        )

    def _refused(self, response: httpx.Response, body: str) -> LlmgateError:
        failure = failures.read(body) or failures.Failure(body[:_SHOWN])
        if target := response.headers.get("location"):
            failure = failures.Failure(f"moved to {target}")
        retry_after = response.headers.get("retry-after")
        return failures.classify(failure, response.status_code, self._url, retry_after)

    def _foreign(self, response: httpx.Response, body: str) -> BackendError:
        kind = response.headers.get("content-type", "no content type")
        return BackendError(
            f"The server at {self._url} does not answer like llama-server "
            f"({kind}: {body[:_SHOWN]!r}).",
            hint="Check `url` in the model's settings.",
        )

    def _cut(self, why: str = "") -> BackendError:
        return BackendError(f"The server at {self._url} ended in the middle of an answer{why}.")


def _base_url(model: str, url: str | None) -> str:
    """The address without what users often add to it. Raises `ConfigError`."""
    example = 'For example: url = "http://127.0.0.1:8080"'
    if not url or not url.strip():
        raise ConfigError(f"the model {model!r} needs the `url` of a llama-server.", hint=example)
    mended = url.strip() if "://" in url else f"http://{url.strip()}"
    mended = mended.rstrip("/").removesuffix("/v1").rstrip("/")
    try:
        parsed = httpx.URL(mended)
    except httpx.InvalidURL as error:
        raise ConfigError(f"the url of the model {model!r}, {url!r}: {error}.") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(
            f"the url of the model {model!r}, {url!r}, is not an address on the web.", hint=example
        )
    return mended


def _authorization(model: str, key: str | None) -> dict[str, str]:
    """The header that carries the key. Raises `ConfigError` for a key that no header can."""
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"the `api_key` of the model {model!r} can't stand in a header.")
    return {"Authorization": f"Bearer {key}"}


def _http_timeouts(timeouts: Timeouts) -> httpx.Timeout:
    longest = max(timeouts.first_token, timeouts.between_tokens)
    return httpx.Timeout(longest, connect=timeouts.connect)


def _body(prompt: Prompt, added_bos: str) -> dict[str, Any]:
    """The request's body. What nobody chose is left out: the server has its own defaults."""
    sampling = prompt.sampling
    fields = {
        "n_predict": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        # The server knows 32 bits, of which the largest value means "random".
        "seed": None if sampling.seed is None else sampling.seed % 0xFFFFFFFF,
        "stop": [stop for stop in prompt.stop if stop] or None,
        "grammar": prompt.grammar,
    }
    text = prompt.text.removeprefix(added_bos) if added_bos else prompt.text
    chosen = {name: value for name, value in fields.items() if value is not None}
    return {"prompt": text, "stream": True, "cache_prompt": True, **chosen}


def _encode(body: Any) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise RequestError(f"The text is not valid Unicode: {error}.") from error


def _failure(event: Event) -> failures.Failure | None:
    """The failure that an event reports."""
    if event.name == "error":
        return failures.inner(event.data)
    return failures.find(failures.decoded(event.data))


def _usage(reply: dict[str, Any]) -> Usage:
    raw = reply.get("timings")
    timings = raw if isinstance(raw, dict) else {}
    cached = _count(timings.get("cache_n"))
    evaluated = _count(timings.get("prompt_n"))
    prompt = _count(reply.get("tokens_evaluated"))
    if prompt is None:
        prompt = (cached or 0) + (evaluated or 0)
    completion = _count(reply.get("tokens_predicted"))
    if completion is None:
        completion = _count(timings.get("predicted_n")) or 0
    return Usage(prompt, completion, cached)


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


async def _body_start(response: httpx.Response) -> str:
    """The first part of a body that is not what was asked for."""
    body = b""
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(_SHORT_ANSWER):
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _BODY_START:
                    break
    return body.decode("utf-8", "replace")
