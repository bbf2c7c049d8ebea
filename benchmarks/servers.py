"""A real llama-server: `python -m benchmarks.servers MODEL [CONTEXT [PORT]]` prints its address.

It runs in a process of its own, since it takes the signal handlers of the process that it is in.
It ends when its stdin does.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def llama_server(
    model: Path, context: int = 2048, port: int = 0
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address and the process of a llama-server with that model; it ends with the context.

    Its port is any free one where none is given.
    """
    command = [sys.executable, "-m", "benchmarks.servers", str(model.resolve())]
    command += [str(context), str(port)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parent.parent,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url.startswith("http"):
                raise RuntimeError(f"llama-server did not start: {url!r}")
            yield url, process
        finally:
            process.kill()


def main() -> None:
    """Serve until stdin ends."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.n_ctx = int(sys.argv[2]) if len(sys.argv) > 2 else 2048
    params.port = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    # As llmgate's own engine has it on a CPU: the last bits of the numbers depend on it.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
