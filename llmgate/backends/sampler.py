"""How the next token is chosen: llama.cpp's samplers, with the grammar asked last."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import llama_cpp.llama_cpp as api
import numpy as np

from llmgate.errors import GrammarError
from llmgate.types import Sampling

PENALTY_WINDOW = 64
_RANDOM_SEED = 0xFFFFFFFF
_ENTRY = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Sampler:
    """Chooses tokens for one generation. `close` it: it holds memory of the C library.

    With a grammar a token is chosen first and then checked; only if the grammar refuses it
    is the whole vocabulary masked and the choice made again, since masking is what costs time.
    llama-server does the same.
    """

    def __init__(
        self,
        vocab: api.llama_vocab_p,
        sampling: Sampling,
        grammar: str | None,
        prompt: Sequence[int],
        banned: Sequence[int] = (),
    ) -> None:
        """`banned` are tokens that are never chosen where a grammar holds."""
        size = int(api.llama_vocab_n_tokens(vocab))
        self._chain: api.llama_sampler_p | None = _chain(sampling, size)
        self._grammar: api.llama_sampler_p | None = None
        # Penalties look at the prompt's end too, as in llama-server.
        for token in prompt[-PENALTY_WINDOW:]:
            api.llama_sampler_accept(self._chain, token)
        if grammar is not None:
            # C would read up to a NUL, and take an empty grammar for no grammar at all.
            if grammar.strip() and "\0" not in grammar:
                self._grammar = api.llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
            if not self._grammar:
                self.close()
                raise GrammarError("llama.cpp refuses this grammar.", param="grammar")
            self._ids = np.arange(size, dtype=np.int32)
            self._entries = np.zeros(size, dtype=_ENTRY)
            self._banned = np.array(banned, dtype=np.intp)

    def sample(self, context: api.llama_context_p) -> int | None:
        """The next token after the context's last; None if the grammar allows none at all."""
        if self._grammar is None:
            return int(api.llama_sampler_sample(self._chain, context, -1))
        logits = np.ctypeslib.as_array(api.llama_get_logits_ith(context, -1), self._ids.shape)
        token = self._choose(self._candidates(logits))
        if not self._allowed(token):
            candidates = self._candidates(logits)
            api.llama_sampler_apply(self._grammar, ctypes.byref(candidates))
            if np.isneginf(self._entries["logit"].max()):
                return None
            token = self._choose(candidates)
        api.llama_sampler_accept(self._grammar, token)
        api.llama_sampler_accept(self._chain, token)
        return token

    def close(self) -> None:
        """Free the samplers. Idempotent."""
        if self._grammar is not None:
            api.llama_sampler_free(self._grammar)
        if self._chain is not None:
            api.llama_sampler_free(self._chain)
        self._grammar = self._chain = None

    def _candidates(self, logits: np.ndarray) -> api.llama_token_data_array:
        self._entries["id"] = self._ids
        self._entries["logit"] = logits
        self._entries["logit"][self._banned] = -np.inf
        data = self._entries.ctypes.data_as(api.llama_token_data_p)
        return api.llama_token_data_array(data=data, size=len(self._ids), selected=-1)

    def _choose(self, candidates: api.llama_token_data_array) -> int:
        api.llama_sampler_apply(self._chain, ctypes.byref(candidates))
        return int(candidates.data[candidates.selected].id)

    def _allowed(self, token: int) -> bool:
        entry = api.llama_token_data(id=token, logit=0.0, p=0.0)
        single = api.llama_token_data_array(data=ctypes.pointer(entry), size=1, selected=-1)
        api.llama_sampler_apply(self._grammar, ctypes.byref(single))
        return entry.logit == 0.0


def _chain(sampling: Sampling, vocabulary: int) -> api.llama_sampler_p:
    """The samplers in llama.cpp's usual order, with its usual values where nothing is said."""
    chain: api.llama_sampler_p = api.llama_sampler_chain_init(
        api.llama_sampler_chain_default_params()
    )

    def add(sampler: api.llama_sampler_p) -> None:
        api.llama_sampler_chain_add(chain, sampler)

    repeat = _or(sampling.repeat_penalty, 1.0)
    frequency, presence = _or(sampling.frequency_penalty, 0.0), _or(sampling.presence_penalty, 0.0)
    if (repeat, frequency, presence) != (1.0, 0.0, 0.0):
        add(
            api.llama_sampler_init_penalties(
                vocabulary, PENALTY_WINDOW, repeat, frequency, presence
            )
        )
    temperature = _or(sampling.temperature, 0.8)
    if temperature <= 0:
        add(api.llama_sampler_init_greedy())
        return chain
    add(api.llama_sampler_init_top_k(int(_or(sampling.top_k, 40))))
    add(api.llama_sampler_init_top_p(_or(sampling.top_p, 0.95), 1))
    add(api.llama_sampler_init_min_p(_or(sampling.min_p, 0.05), 1))
    add(api.llama_sampler_init_temp(temperature))
    # A client's seed may be any integer; one value means "random" to llama.cpp.
    seed = _RANDOM_SEED if sampling.seed is None else sampling.seed % _RANDOM_SEED
    add(api.llama_sampler_init_dist(seed))
    return chain


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
