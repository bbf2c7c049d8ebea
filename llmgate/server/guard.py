"""Who may call: checks the Host, the Origin and the API key before anything else is read."""

from __future__ import annotations

import hmac
import re
import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmgate.config import ServerSettings
from llmgate.errors import ConfigError, Forbidden, RequestError, Unauthorized
from llmgate.gateway.limits import Client, Clients
from llmgate.server.responses import error_response

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
LOOPBACK_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")
_OPEN_PATHS = frozenset({"/health"})
_CLIENT = "llmgate.client"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on `host`."""
    return host in _LOOPBACK or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def check_exposure(settings: ServerSettings) -> None:
    """Raise `ConfigError` for a server that others could reach without a key."""
    if not is_loopback(settings.host) and not settings.api_key and not settings.keys:
        raise ConfigError(
            f"the host {settings.host!r} can be reached from other machines, "
            "so an API key is needed.",
            hint="Set LLMGATE_API_KEY, or api_key in the [server] table of llmgate.toml.",
        )


def client_of(scope: Scope) -> Client | None:
    """The client whose key came with a request: None for the server's own key, or none."""
    client: Client | None = scope.get(_CLIENT)
    return client


class Guard:
    """Middleware that lets a request through or answers it with 401 or 403.

    On loopback the Host must be a loopback name, so that a web page can't reach the server by
    a name of its own that resolves to 127.0.0.1; the Origin must be of this machine or listed.
    A client with a key of its own goes into the scope (see `client_of`), and what is left of its
    limits into the headers of each answer.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, clients: Clients) -> None:
        self._app = app
        self._key = settings.api_key.encode() if settings.api_key else None
        self._clients = clients
        self._origins = frozenset(settings.origins)
        self._hosts = None
        if is_loopback(settings.host):
            self._hosts = _LOOPBACK | {settings.host, *settings.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{secrets.token_hex(12)}".encode()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], (b"x-request-id", request_id)]
                if (client := client_of(scope)) is not None:
                    headers += [(n.encode(), v.encode()) for n, v in client.headers().items()]
                message = {**message, "headers": headers}
            await send(message)

        if refusal := self._refusal(scope):
            await error_response(refusal)(scope, receive, send_with_id)
        else:
            await self._app(scope, receive, send_with_id)

    def _refusal(self, scope: Scope) -> RequestError | None:
        # Where there are several headers of one name, the first one counts.
        given = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}
        host = _hostname(given.get(b"host", ""))
        if self._hosts is not None and host not in self._hosts:
            return Forbidden(
                f"The host {host!r} is not one of this server's names.",
                hint="Add it to hosts in the [server] table of llmgate.toml.",
            )
        origin = given.get(b"origin")
        if origin and origin not in self._origins and not LOOPBACK_ORIGIN.fullmatch(origin):
            return Forbidden(
                f"Web pages from {origin!r} may not call this server.",
                hint="Add it to origins in the [server] table of llmgate.toml.",
            )
        if scope["path"] not in _OPEN_PATHS and (self._key is not None or self._clients):
            scheme, _, token = given.get(b"authorization", "").partition(" ")
            key = token if scheme.lower() == "bearer" else given.get(b"x-api-key", "")
            if not self._admitted(scope, key.strip().encode()):
                return Unauthorized(
                    "The API key is missing or wrong.",
                    hint="Send it as: Authorization: Bearer KEY",
                )
        return None

    def _admitted(self, scope: Scope, key: bytes) -> bool:
        if self._key is not None and hmac.compare_digest(key, self._key):
            return True
        scope[_CLIENT] = client = self._clients.of(key)
        return client is not None


def _hostname(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
