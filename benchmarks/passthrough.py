"""The least that stands between a client and a server: `python -m benchmarks.passthrough URL PORT`.

A bare ASGI app on uvicorn that sends each body on as it is and each piece of the answer back.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn

from llmgate.backends.transport import Client
from llmgate.config import Timeouts


class PassThrough:
    def __init__(self, url: str) -> None:
        self._client = Client(url, Timeouts())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        reply = await self._client.send(scope["method"], scope["path"], body or None)
        try:
            headers = [
                (name.encode(), value.encode())
                for name in ("content-type", "content-length")
                if (value := reply.header(name))
            ]
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            while (data := await reply.read()) is not None:
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await reply.aclose()


if __name__ == "__main__":
    uvicorn.run(
        PassThrough(sys.argv[1]),
        port=int(sys.argv[2]),
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
