"""The ASGI app and its routes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Route as Path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmgate.config import ServerSettings
from llmgate.errors import LlmgateError, NoRoute, TooLarge
from llmgate.gateway import Gateway
from llmgate.gateway.limits import Clients
from llmgate.server.guard import LOOPBACK_ORIGIN, Guard, client_of
from llmgate.server.responses import JSON, EventStream, error_response
from llmgate.server.watch import ClientLeft, Closing, Presence, unless_gone
from llmgate.types import Note
from llmgate.wire import chat, embeddings
from llmgate.wire.chat_answers import ChatWriter

_CHAT = "/v1/chat/completions"
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
) -> ASGIApp:
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

    async def completions(scope: Scope, receive: Receive) -> Response:
        asked = chat.decode(await _body(scope, receive, settings.max_body))
        client = client_of(scope)
        writer = ChatWriter(asked)
        if asked.stream:
            deltas = gateway.stream(asked.request, client=client)
            return EventStream(deltas, writer, closing)
        answering = gateway.complete(asked.request, client=client)
        completion = await unless_gone(receive, closing, answering, Presence.of(scope))
        return JSON(writer.whole(completion), headers=_notes_header(completion.notes))

    async def vectors(request: HTTPRequest) -> Response:
        scope, receive = request.scope, request.receive
        asked = embeddings.decode(await _body(scope, receive, settings.max_body))
        embedding = gateway.embed(asked.model, asked.texts, client=client_of(scope))
        made = await unless_gone(receive, closing, embedding, Presence.of(scope))
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

    guard = functools.partial(Guard, settings=settings, clients=Clients(settings.keys))
    direct = Direct(completions)
    routes = Starlette(
        routes=[
            Path(_CHAT, direct, methods=["POST"]),
            Path("/health", health),
            Path("/v1/models", models),
            Path("/v1/models/{name:path}", model),
            Path("/v1/embeddings", vectors, methods=["POST"]),
        ],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=settings.origins,
                allow_origin_regex=LOOPBACK_ORIGIN.pattern,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=_EXPOSED,
            ),
            Middleware(guard),
        ],
        exception_handlers={
            LlmgateError: _failed,
            ClientLeft: _failed,
            HTTPException: _no_route,
            Exception: _failed,
        },
        lifespan=lifespan,
    )
    return ShortCut(routes, guard(Answered(direct)))


class ShortCut:
    """The app: `routes`, but for programs that ask for an answer, who take the short way.

    Starlette's middlewares and routing are a part of the time of such a request that can be felt.
    Web pages, which say where they are from, go the long way: CORS is for them.
    """

    def __init__(self, routes: ASGIApp, answers: ASGIApp) -> None:
        self._routes = routes
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and scope["path"] == _CHAT
            and scope["method"] == "POST"
            and not scope.get("root_path")
            and not any(name == b"origin" for name, _ in scope["headers"])
        ):
            await self._answers(scope, receive, send)
        else:
            await self._routes(scope, receive, send)


class Direct:
    """An endpoint that reads the request by itself; its errors are for somebody else to answer."""

    def __init__(self, answer: Callable[[Scope, Receive], Awaitable[Response]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(scope, receive)
        await response(scope, receive, send)


class Answered:
    """Answers the errors of an endpoint as Starlette does around all routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            if not begun:
                await _answer_to(error)(scope, receive, send)
            if begun or not isinstance(error, LlmgateError | ClientLeft):
                raise  # the server logs it


def _model_entry(name: str, created: int) -> dict[str, object]:
    return {"id": name, "object": "model", "created": created, "owned_by": "llmgate"}


async def _body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The body, read no further than `limit` bytes. Raises `TooLarge` and `ClientLeft`."""
    announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    more = True
    pieces: list[bytes] = []
    size = 0
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
        size += len(pieces[-1])
        if size > limit:
            raise _too_large(limit)
    return b"".join(pieces)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than {limit} bytes.",
        hint="The limit is max_body in the [server] table of llmgate.toml.",
    )


def _notes_header(notes: Sequence[Note]) -> dict[str, str]:
    """The notes for a client that can't see our field of the body."""
    if not notes:
        return {}
    text = json.dumps(msgspec.to_builtins(list(notes)))
    if len(text) > _NOTES_HEADER_LIMIT:  # the codes alone still say what kind of thing happened
        text = json.dumps([{"code": code} for code in sorted({note.code for note in notes})])
    return {"x-llmgate-notes": text}


def _answer_to(error: Exception) -> Response:
    if isinstance(error, LlmgateError):
        return error_response(error)
    if isinstance(error, ClientLeft):
        return Response(status_code=499)  # nobody reads it; the number is nginx's for this
    return error_response(LlmgateError("Something failed inside llmgate; its log says what."))


async def _failed(request: HTTPRequest, error: Exception) -> Response:
    return _answer_to(error)


async def _no_route(request: HTTPRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    return error_response(NoRoute(f"There is no {what} here."), status=error.status_code)
