"""llama.cpp's own server, over its `POST /completion`.

API: https://github.com/ggml-org/llama.cpp/tree/master/tools/server
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import msgspec

from llmgate.backends import failures
from llmgate.backends.llamacpp_json import (
    PROBE,
    PROBE_ANSWER,
    Ending,
    body_of,
    count_in,
    string_in,
    template_of,
    usage_of,
)
from llmgate.backends.sse import Event, Events
from llmgate.config import ModelSettings, Timeouts
from llmgate.errors import (
    BackendError,
    BackendTimeout,
    BackendUnreachable,
    ConfigError,
    LlmgateError,
    RequestError,
    Unsupported,
)
from llmgate.types import Caps, Delta, Note, Prompt

_SHORT_ANSWER = 10.0
_PROBE_SECONDS = 2.0
# llama-server closes idle connections after five seconds: ours must go first.
_KEEPALIVE = 2.0
_BODY_START = 1 << 16
_SHOWN = 200
_JSON = {"Content-Type": "application/json"}
_LOG = logging.getLogger(__name__)


class LlamaCppBackend:
    """Completes prompts with a running llama-server.

    Its control tokens stay invisible, but for those that a prompt preserves; the one that ends
    an answer always does. It offers no lazy grammars: where the token that completes a trigger
    goes on in a way that the grammar refuses, llama-server gives up with status 500 in the
    middle of the answer. Grammars that hold from the beginning cost it no time.
    """

    def __init__(
        self, model: str, settings: ModelSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._url = _base_url(model, settings.url)
        self._timeouts = settings.timeouts
        self._caps = Caps(grammar=True, tokenize=True)
        self._model = model
        self._known = False
        self._to_probe = False
        self._probed = False
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
        """Grammars and token counts; context and template once the server has told them.

        `grammar` turns false when the server is found not to hold to grammars.
        """
        return self._caps

    async def start(self) -> None:
        """Read the server's properties, and try whether it holds to grammars.

        If it can't be reached or is still loading, the first request does this, and says so.
        """
        self._to_probe = not self._probed
        with contextlib.suppress(BackendUnreachable, BackendTimeout):
            await self._learn()

    async def complete(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Complete the prompt. See `Backend.complete`."""
        if prompt.grammar is not None:
            from llmgate import grammar

            grammar.check(prompt.grammar)
        if prompt.triggers:
            raise Unsupported(f"The model {self._model!r} is served without lazy grammars.")
        if not self._known or self._to_probe:
            # A server too busy for a small question may still take its time over a large one.
            with contextlib.suppress(BackendTimeout):
                await self._learn()
        body = _encode(body_of(prompt, self._added_bos))
        ending = Ending(prompt.preserved)
        async with aclosing(self._events(body)) as events:
            async for event in events:
                reply = self._reply(event)
                if text := ending.take(reply):
                    yield Delta(text)
                if reply.get("stop") is True:
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
        """Find out what the server and its model are like, once."""
        if not self._known:
            props = await self._ask_if_allowed("GET", "/props")
            bos = string_in(props, "bos_token") or ""
            # What is added to an empty text; to a text that has a BOS it is added all the same.
            if bos and (added := await self._tokens("", special=True)):
                alone = await self._tokens(bos, special=False)
                self._added_bos = bos if not alone or alone[0] == added[0] else ""
            settings = props.get("default_generation_settings")
            context = count_in(settings, "n_ctx") if isinstance(settings, dict) else None
            self._caps = msgspec.structs.replace(
                self._caps, context=context or self._caps.context, template=template_of(props)
            )
            self._known = True
        if self._to_probe:
            self._to_probe, self._probed = False, True
            await self._probe()

    async def _probe(self) -> None:
        """Find out whether a grammar has any effect; leave it open where that takes long."""
        try:
            reply = await self._ask("POST", "/completion", PROBE, seconds=_PROBE_SECONDS)
        except LlmgateError as error:
            _LOG.info("Whether the server of %r holds to grammars is open: %s", self._model, error)
            return
        said = string_in(reply, "content") or ""
        if not said or not PROBE_ANSWER.startswith(said):
            self._caps = msgspec.structs.replace(self._caps, grammar=False)
            _LOG.warning(
                "The server at %s does not hold to grammars: asked for %r and nothing else, it "
                "wrote %r. The answers of the model %r will be checked, but not constrained.",
                self._url,
                PROBE_ANSWER,
                said[:_SHOWN],
                self._model,
            )

    async def _tokens(self, text: str, *, special: bool) -> list[Any]:
        """The tokens of a text, as far as the server tells."""
        question = {"content": text, "add_special": special}
        tokens = (await self._ask_if_allowed("POST", "/tokenize", question)).get("tokens")
        return tokens if isinstance(tokens, list) else []

    async def _ask_if_allowed(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The same as `_ask`, but a server that is up and does not tell has told nothing."""
        try:
            return await self._ask(method, path, body)
        except (BackendUnreachable, BackendTimeout):
            raise
        except LlmgateError:
            return {}

    async def _ask(
        self, method: str, path: str, body: Any = None, *, seconds: float = _SHORT_ANSWER
    ) -> dict[str, Any]:
        """One short question, answered by a JSON object."""
        self._check_open()
        content = None if body is None else _encode(body)
        try:
            async with asyncio.timeout(seconds):
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
        usage = usage_of(reply)
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
