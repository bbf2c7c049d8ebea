"""llama.cpp itself: set up once a process, its log, its models. Only the worker imports this."""

from __future__ import annotations

import ctypes
import os
from collections import deque

import llama_cpp.llama_cpp as api

from llmgate.backends.pipe import Load
from llmgate.errors import BackendUnreachable

_LOG_ERROR = 4
_THREAD_BYTES = 32 * 1024 * 1024


class Library:
    """The library, made ready for use. Keep it as long as anything of it is in use."""

    def __init__(self) -> None:
        self._errors: deque[str] = deque(maxlen=3)
        # A reference is kept: the C side holds only a pointer.
        self._log = api.llama_log_callback(self._on_log)
        api.llama_log_set(self._log, ctypes.c_void_p(0))
        api.llama_backend_init()

    def load_model(self, load: Load) -> api.llama_model_p:
        """The model in a file. Raises `BackendUnreachable`."""
        params = api.llama_model_default_params()
        params.n_gpu_layers = 0x7FFFFFFF if load.gpu_layers < 0 else load.gpu_layers
        params.use_extra_bufts = load.extra_buffers
        model: api.llama_model_p | None = api.llama_model_load_from_file(
            os.fsencode(load.path), params
        )
        if not model:
            raise BackendUnreachable(f"llama.cpp can't load {load.path}{self.last_error()}.")
        return model

    def threads(self, load: Load, model: api.llama_model_p) -> int:
        """All processors there are, but not more than the model has work for.

        Threads wait for each other many times per token. With a small model that is all they
        do, and on a busy machine each wait may cost a slice of the scheduler's time (measured
        with 3 MB of weights: 340 tokens per second with one thread, 7 with two).
        """
        if load.threads:
            return load.threads
        return min(_available_cpus(), 1 + int(api.llama_model_size(model)) // _THREAD_BYTES)

    def flash_attention(self, load: Load) -> int:
        """Whether to use it.

        It is made for GPUs: a processor takes up to twice as long for a token with it (measured
        with 3600 tokens before). llama-cpp-python's default, so that texts are the same.
        """
        if load.gpu_layers == 0 or not api.llama_supports_gpu_offload():
            return int(api.LLAMA_FLASH_ATTN_TYPE_DISABLED)
        return int(api.LLAMA_FLASH_ATTN_TYPE_AUTO)

    def last_error(self) -> str:
        """What the library said last of what went wrong, in brackets."""
        return f" ({'; '.join(self._errors)})" if self._errors else ""

    def _on_log(self, level: int, text: bytes, _data: object) -> None:
        if level == _LOG_ERROR and (line := text.decode("utf-8", "replace").strip()):
            self._errors.append(line)
            os.write(2, f"{line}\n".encode())


def _available_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
