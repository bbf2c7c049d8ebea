"""Vectors of texts by llama.cpp, through its low-level calls. Only the worker imports this."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence

import llama_cpp.llama_cpp as api

from llmgate.backends.library import Library
from llmgate.backends.pipe import Load
from llmgate.errors import BackendError, BackendUnreachable, ContextOverflow

DEFAULT_CONTEXT = 2048
_WARM_UP = "A text."


class Embedder:
    """One model with one context for vectors. Raises `BackendUnreachable` if it can't be loaded.

    A text is one sequence, pooled as the model's file says, by the mean of its tokens where that
    says nothing; vectors have length 1.
    """

    template = None

    def __init__(self, load: Load) -> None:
        self._library = Library()
        self._model = self._library.load_model(load)
        self._vocab = api.llama_model_get_vocab(self._model)
        self.trained = int(api.llama_model_n_ctx_train(self._model))
        wanted = load.context or min(self.trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
        self._context = self._make_context(load, wanted)
        self.context = min(wanted, int(api.llama_n_ctx(self._context)))
        self._memory = api.llama_get_memory(self._context)
        self._size = int(api.llama_model_n_embd(self._model))
        both = api.llama_model_has_encoder(self._model) and api.llama_model_has_decoder(self._model)
        self._only_encodes = api.llama_model_has_encoder(self._model) and not both
        # An engine that crashes does so here, before any request.
        self.embed([_WARM_UP], lambda: False)

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a text, with what the model adds around it; no control tokens in it."""
        data = text.encode("utf-8")
        size = len(data) + 16
        buffer = (api.llama_token * size)()
        count = api.llama_tokenize(self._vocab, data, len(data), buffer, size, True, False)
        if count < 0:
            raise BackendError("The tokenizer of the model failed on this text.")
        return list(buffer[:count])

    def embed(
        self, texts: Sequence[str], cancelled: Callable[[], bool]
    ) -> tuple[list[bytes], int] | None:
        """A vector for each text (32-bit floats in this machine's order), and all their tokens.

        None if it was cancelled. Raises `ContextOverflow` for a text that is too long: it is never
        cut.
        """
        vectors, total = [], 0
        for at, text in enumerate(texts):
            if cancelled():
                return None
            tokens = self.tokenize(text)
            if len(tokens) > self.context:
                raise ContextOverflow(
                    f"Text number {at + 1} has {len(tokens)} tokens; this model takes "
                    f"{self.context} at most."
                )
            if not tokens:
                raise BackendError(f"Text number {at + 1} has no tokens.")
            total += len(tokens)
            vectors.append(self._vector(tokens))
        return vectors, total

    def _vector(self, tokens: list[int]) -> bytes:
        if self._memory:
            api.llama_memory_clear(self._memory, True)
        held = (api.llama_token * len(tokens))(*tokens)
        batch = api.llama_batch_get_one(held, len(tokens))
        run = api.llama_encode if self._only_encodes else api.llama_decode
        if code := run(self._context, batch):
            raise BackendError(
                f"llama.cpp could not evaluate {len(tokens)} tokens (code {code})"
                f"{self._library.last_error()}."
            )
        found = api.llama_get_embeddings_seq(self._context, 0)
        if not found:
            raise BackendError("llama.cpp made no vector of this text.")
        values = found[: self._size]
        length = math.sqrt(sum(value * value for value in values))
        if not length or not math.isfinite(length):
            raise BackendError("llama.cpp made a vector without a length of this text.")
        return array("f", [value / length for value in values]).tobytes()

    def _make_context(self, load: Load, size: int) -> api.llama_context_p:
        for pooling in (None, api.LLAMA_POOLING_TYPE_MEAN):
            params = api.llama_context_default_params()
            params.n_ctx = params.n_batch = params.n_ubatch = size
            params.n_threads = params.n_threads_batch = self._library.threads(load, self._model)
            params.no_perf = params.embeddings = True
            params.flash_attn_type = self._library.flash_attention(load)
            if pooling is not None:
                params.pooling_type = pooling
            context: api.llama_context_p | None = api.llama_init_from_model(self._model, params)
            if not context:
                raise BackendUnreachable(
                    f"llama.cpp can't make a context of {size} tokens for {load.path}"
                    f"{self._library.last_error()}. A smaller `context` needs less memory."
                )
            if api.llama_pooling_type(context) != api.LLAMA_POOLING_TYPE_NONE:
                return context
            api.llama_free(context)
        raise BackendUnreachable(f"{load.path} makes no vectors of whole texts.")
