"""Runs the app with uvicorn until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from llmgate.config import Settings
from llmgate.errors import ConfigError
from llmgate.gateway import Gateway
from llmgate.server.app import build
from llmgate.server.guard import check_exposure
from llmgate.server.protocol import Protocol
from llmgate.server.watch import Closing

# How long answers under way may take after the signal to stop.
_GRACE_SECONDS = 3
# How many more objects there may be before garbage is looked for: hundreds of answers at a time.
_ALLOCATIONS = 20_000


async def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve until a signal comes; `ready` gets the base URL once connections are accepted.

    Raises `ConfigError` for settings that can't be used or an address that is taken.
    """
    check_exposure(settings.server)
    gateway = Gateway.open(settings)
    listener = _listen(settings.server.host, settings.server.port)
    host, port = listener.getsockname()[:2]
    closing = Closing()
    config = uvicorn.Config(
        build(gateway, settings.server, closing=closing),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2 * _GRACE_SECONDS,
        lifespan="on",
    )
    server = Server(config, closing)
    # What is there by now stays: looking through it for garbage would cost a tenth of the time
    # that goes into a request. Requests leave none behind that holds itself.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 20, 50)
    shown = f"[{host}]" if ":" in host else host
    ready(f"http://{shown}:{port}/v1")
    await server.serve(sockets=[listener])


class Server(uvicorn.Server):
    """Gives answers under way some seconds after a signal, then ends them; a second ends them."""

    def __init__(self, config: uvicorn.Config, closing: Closing) -> None:
        config.http = Protocol
        super().__init__(config)
        self._closing = closing
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # A signal handler: it must not touch the loop directly.
        if self.should_exit and not self._closing.is_set():
            self._loop.call_soon_threadsafe(self._closing.set)
            return
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._loop.call_later, _GRACE_SECONDS, self._closing.set)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"can't listen on {host}:{port}: {error.strerror}.",
            hint="Choose another port with --port." if port else None,
        ) from error
    return listener
