"""The ASGI app and its routes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Route as Path
from starlette.types import Receive, Scope, Send

from llmgate.config import ServerSettings
from llmgate.errors import LlmgateError, NoRoute, TooLarge
from llmgate.gateway import Gateway
from llmgate.gateway.limits import Clients
from llmgate.server.guard import LOOPBACK_ORIGIN, Guard, client_of
from llmgate.server.responses import JSON, EventStream, error_response
from llmgate.server.watch import ClientLeft, Closing, unless_gone
from llmgate.types import Note
from llmgate.wire import chat, embeddings
from llmgate.wire.chat_answers import ChatWriter

_NOTES_HEADER_LIMIT = 4096
# What web pages may read of an answer's headers.
_EXPOSED = ["x-request-id", "x-llmgate-notes", "retry-after"] + [
    f"x-ratelimit-{what}-{kind}"
    for what in ("limit", "remaining", "reset")
    for kind in ("requests", "tokens")
]


def build(
    gateway: Gateway,
    settings: ServerSettings,
    *,
    closing: Closing | None = None,
) -> Starlette:
    """The app over `gateway`, whose backends it starts and closes with itself.

    When `closing` is set, answers under way end with a `ShuttingDown`.
    """
    started = int(time.time())
    closing = closing or Closing()

    async def health(request: HTTPRequest) -> Response:
        state = {"status": "ok", "models": list(gateway.routes), "down": gateway.down}
        return JSON(state)

    async def models(request: HTTPRequest) -> Response:
        client = client_of(request.scope)
        names = [name for name in gateway.names if client is None or client.allows(name)]
        entries = [_model_entry(name, started) for name in names]
        return JSON({"object": "list", "data": entries})

    async def model(request: HTTPRequest) -> Response:
        name = request.path_params["name"]
        gateway.check(name, client_of(request.scope))
        return JSON(_model_entry(name, started))

    async def completions(request: HTTPRequest) -> Response:
        asked = chat.decode(await _body(request, settings.max_body))
        client = client_of(request.scope)
        writer = ChatWriter(asked)
        if asked.stream:
            deltas = gateway.stream(asked.request, client=client)
            return EventStream(deltas, writer, closing)
        answering = gateway.complete(asked.request, client=client)
        completion = await unless_gone(request.receive, closing, answering)
        return JSON(writer.whole(completion), headers=_notes_header(completion.notes))

    async def vectors(request: HTTPRequest) -> Response:
        asked = embeddings.decode(await _body(request, settings.max_body))
        client = client_of(request.scope)
        embedding = gateway.embed(asked.model, asked.texts, client=client)
        made = await unless_gone(request.receive, closing, embedding)
        return JSON(embeddings.answer(asked, made), headers=_notes_header(made.notes))

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # Not awaited: the endpoint answers while a large model is still being loaded.
        starting = asyncio.create_task(gateway.start())
        try:
            yield
        finally:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            await gateway.aclose()

    return Starlette(
        routes=[
            Path("/v1/chat/completions", Direct(completions), methods=["POST"]),
            Path("/health", health),
            Path("/v1/models", models),
            Path("/v1/models/{name:path}", model),
            Path("/v1/embeddings", vectors, methods=["POST"]),
        ],
        middleware=[
            Middleware(
                CrossOrigin,
                allow_origins=settings.origins,
                allow_origin_regex=LOOPBACK_ORIGIN.pattern,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=_EXPOSED,
            ),
            Middleware(Guard, settings=settings, clients=Clients(settings.keys)),
        ],
        exception_handlers={
            LlmgateError: _failed,
            HTTPException: _no_route,
            ClientLeft: _client_left,
            ClientDisconnect: _client_left,
            Exception: _crashed,
        },
        lifespan=lifespan,
    )


class CrossOrigin(CORSMiddleware):
    """CORS for web pages, which say where they are from; others have nothing to do with it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if any(name == b"origin" for name, _ in scope.get("headers", ())):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class Direct:
    """A route's endpoint without Starlette's own wrapping of functions.

    That catches and answers errors once more, as the app does around all routes: on the busiest
    route it is a part of the time that can be felt.
    """

    def __init__(self, answer: Callable[[HTTPRequest], Awaitable[Response]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(HTTPRequest(scope, receive))
        await response(scope, receive, send)


def _model_entry(name: str, created: int) -> dict[str, object]:
    return {"id": name, "object": "model", "created": created, "owned_by": "llmgate"}


async def _body(request: HTTPRequest, limit: int) -> bytes:
    """The body, read no further than `limit` bytes."""
    too_large = TooLarge(
        f"The body is larger than {limit} bytes.",
        hint="The limit is max_body in the [server] table of llmgate.toml.",
    )
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise too_large
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise too_large
        pieces.append(piece)
    return b"".join(pieces)


def _notes_header(notes: Sequence[Note]) -> dict[str, str]:
    """The notes for a client that can't see our field of the body."""
    if not notes:
        return {}
    text = json.dumps(msgspec.to_builtins(list(notes)))
    if len(text) > _NOTES_HEADER_LIMIT:  # the codes alone still say what kind of thing happened
        text = json.dumps([{"code": code} for code in sorted({note.code for note in notes})])
    return {"x-llmgate-notes": text}


async def _failed(request: HTTPRequest, error: Exception) -> Response:
    assert isinstance(error, LlmgateError)
    return error_response(error)


async def _no_route(request: HTTPRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    return error_response(NoRoute(f"There is no {what} here."), status=error.status_code)


async def _client_left(request: HTTPRequest, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it; the number is nginx's for this


async def _crashed(request: HTTPRequest, error: Exception) -> Response:
    return error_response(LlmgateError("Something failed inside llmgate; its log says what."))
