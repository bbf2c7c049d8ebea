"""The server of llama-cpp-python: `python tests/llama_cpp_python.py MODEL [CONTEXT]`.

It prints its address, and ends when its stdin does. It is the package's own app, with one thing
changed: on CPUs with AMX the package crashes unless extra buffer types are off.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_llama_cpp_python = pytest.mark.skipif(
    any(
        importlib.util.find_spec(name) is None
        for name in ("llama_cpp", "fastapi", "sse_starlette", "starlette_context")
    ),
    reason="the server of llama-cpp-python is not installed (llama-cpp-python[server])",
)


@contextmanager
def running(model: Path, context: int = 2048) -> Iterator[str]:
    """The address of a server with that model; it ends with the context."""
    command = [sys.executable, __file__, str(model), str(context)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url.startswith("http"):
                raise RuntimeError(f"the server of llama-cpp-python did not start: {url!r}")
            yield url
        finally:
            process.kill()


def main() -> None:
    """Serve until stdin ends."""
    import llama_cpp.llama_cpp as api
    import uvicorn
    from llama_cpp.server.app import create_app
    from llama_cpp.server.settings import ModelSettings, ServerSettings

    defaults = api.llama_model_default_params

    def without_extra_buffers() -> api.llama_model_params:
        parameters = defaults()
        parameters.use_extra_bufts = False
        return parameters

    api.llama_model_default_params = without_extra_buffers
    model = ModelSettings(
        model=sys.argv[1],
        n_ctx=int(sys.argv[2]),
        n_threads=1,
        n_threads_batch=1,
        logits_all=False,
        verbose=False,
    )
    app = create_app(server_settings=ServerSettings(), model_settings=[model])
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    # The server itself prints to stdout, too.
    os.write(1, f"http://127.0.0.1:{listener.getsockname()[1]}\n".encode())
    sys.stdout = sys.stderr
    config = uvicorn.Config(app, log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
