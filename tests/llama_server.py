"""A real llama-server for tests: `python llama_server.py MODEL CONTEXT` prints its address.

It runs in a process of its own, since it takes the signal handlers of the process it is in.
It ends when its stdin does.
"""

from __future__ import annotations

import sys

import xllamacpp


def main() -> None:
    """Serve until stdin ends."""
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.n_ctx = int(sys.argv[2])
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    # As the embedded engine does without a GPU, so that the last bits of the numbers agree.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
