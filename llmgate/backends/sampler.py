"""How the next token is chosen: llama.cpp's samplers, with the grammar asked last."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Sequence

import llama_cpp.llama_cpp as api
import numpy as np

from llmgate.backends.constraint import ENTRY, Constraint, candidates
from llmgate.backends.triggers import Triggers
from llmgate.backends.vocabulary import Tokens, Vocabulary
from llmgate.types import Prompt, Sampling

PENALTY_WINDOW = 64
_TOP_K = 40
_TEMPERATURE = 0.8
_RANDOM_SEED = 0xFFFFFFFF
# So many tokens are looked at to find all that a grammar allows, before the likeliest ones are.
_FEW = 2048
_LIKELIEST = 512


class Sampler:
    """Chooses tokens for one generation. `close` it: it holds memory of the C library.

    With a grammar a token is chosen first and then checked; only if the grammar refuses it is
    the choice made again among those that it allows, since finding these is what costs time.
    llama-server does the same. It then masks the whole vocabulary; this comes to the same
    choice, but looks at a small part of it (`_allowed`).

    A lazy grammar holds from the first place where the answer contains one of the triggers,
    and costs nothing before. A token that completes a trigger and goes on in a way that the
    grammar refuses is not chosen.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        prompt: Prompt,
        tokens: Sequence[int],
        banned: Sequence[int] = (),
    ) -> None:
        """`tokens` are the prompt's, `banned` such as are never chosen under a grammar.

        Raises `GrammarError` if llama.cpp refuses the grammar.
        """
        sampling = prompt.sampling
        self._vocabulary = vocabulary
        self._banned = np.array(banned, dtype=np.intp)
        self._wanted = _wanted(sampling)
        # An empty string is in every answer from the beginning on.
        lazy = prompt.grammar is not None and prompt.triggers and all(prompt.triggers)
        self._triggers = Triggers(prompt.triggers) if lazy else None
        self._constraint: Constraint | None = None
        if prompt.grammar is not None:
            self._constraint = Constraint(vocabulary, prompt.grammar, banned)
        self._choice = _choice(sampling)
        self._penalties = _penalties(sampling, vocabulary.size)
        self._free = _chain(self._penalties, self._choice)
        # A chain owns its parts: this one all of them.
        self._held: api.llama_sampler_p | None
        self._held = _chain(_bans(banned, vocabulary.size), self._free)
        # Penalties look at the prompt's end too, as in llama-server.
        self._recent = deque(tokens[-PENALTY_WINDOW:], maxlen=PENALTY_WINDOW)
        self._recall()

    def sample(self, context: api.llama_context_p) -> int | None:
        """The next token after the context's last; None if the grammar allows none at all."""
        if self._constraint is None:
            return int(api.llama_sampler_sample(self._free, context, -1))
        if self._triggers is not None:
            return self._sample_freely(context, self._constraint, self._triggers)
        token = int(api.llama_sampler_sample(self._held, context, -1))
        if not self._constraint.allows(token):
            self._recall()
            logits = self._logits(context)
            logits[self._banned] = -np.inf
            allowed = self._allowed(self._constraint, logits)
            if not len(allowed):
                return None
            token = self._choose(allowed, logits)
        self._constraint.accept(token)
        self._recent.append(token)
        return token

    def close(self) -> None:
        """Free the samplers. Idempotent."""
        if self._constraint is not None:
            self._constraint.close()
        if self._held is not None:
            api.llama_sampler_free(self._held)
        self._constraint = self._held = None

    def _sample_freely(
        self, context: api.llama_context_p, constraint: Constraint, triggers: Triggers
    ) -> int:
        """The next token while the grammar is not in force; it may be what brings that about."""
        token = int(api.llama_sampler_sample(self._free, context, -1))
        refused: list[int] = []
        while not self._vocabulary.is_end(token):
            piece = self._vocabulary.piece(token)
            begun = triggers.find(piece)
            if begun is None:
                triggers.feed(piece)
                break
            if constraint.feed(begun):
                self._triggers = None
                break
            constraint.reset()
            self._recall()
            refused.append(token)
            logits = self._logits(context)
            logits[refused] = -np.inf
            token = self._choose(np.arange(len(logits), dtype=np.int32), logits)
        self._recent.append(token)
        return token

    def _allowed(self, constraint: Constraint, logits: np.ndarray) -> Tokens:
        """Tokens that the grammar allows: all of them, or all that the choice can fall on.

        Where few are allowed, as between two strings of JSON, they are found by their
        beginnings. Where many are, as inside a string, many of the likeliest are too, and only
        the first few of these matter, `top_k` at most.
        """
        allowed = constraint.all_allowed(_FEW)
        if allowed is None and 0 < self._wanted <= _LIKELIEST < len(logits):
            # Strictly above the bound: of those at it, only some would be looked at.
            bound = np.partition(logits, -_LIKELIEST)[-_LIKELIEST]
            likeliest = np.flatnonzero(logits > bound).astype(np.int32)
            allowed = constraint.those_allowed(likeliest)
            if len(allowed) < self._wanted:
                allowed = None
        if allowed is None:
            allowed = constraint.all_allowed()
            assert allowed is not None
        return allowed[logits[allowed] > -np.inf]

    def _choose(self, tokens: Tokens, logits: np.ndarray) -> int:
        """Choose among these tokens."""
        entries = np.zeros(len(tokens), dtype=ENTRY)
        entries["id"] = tokens
        entries["logit"] = logits[tokens]
        array = candidates(entries)
        api.llama_sampler_apply(self._choice, ctypes.byref(array))
        token = int(array.data[array.selected].id)
        api.llama_sampler_accept(self._free, token)
        return token

    def _logits(self, context: api.llama_context_p) -> np.ndarray:
        """The logits of all tokens, penalties applied: a copy."""
        pointer = api.llama_get_logits_ith(context, -1)
        logits = np.ctypeslib.as_array(pointer, (self._vocabulary.size,)).copy()
        if self._penalties is not None and self._recent:
            entries = np.zeros(len(set(self._recent)), dtype=ENTRY)
            entries["id"] = list(set(self._recent))
            entries["logit"] = logits[entries["id"]]
            array = candidates(entries)
            api.llama_sampler_apply(self._penalties, ctypes.byref(array))
            logits[entries["id"]] = entries["logit"]
        return logits

    def _recall(self) -> None:
        """Let the penalties know the tokens so far, and no token that was refused."""
        if self._penalties is not None:
            api.llama_sampler_reset(self._penalties)
            for token in self._recent:
                api.llama_sampler_accept(self._penalties, token)


def _wanted(sampling: Sampling) -> int:
    """How many of the likeliest tokens the choice depends on; 0 for all of them."""
    if _or(sampling.temperature, _TEMPERATURE) <= 0:
        return 1
    return max(0, int(_or(sampling.top_k, _TOP_K)))


def _choice(sampling: Sampling) -> api.llama_sampler_p:
    """The samplers that choose, in llama.cpp's usual order and with its usual values."""
    temperature = _or(sampling.temperature, _TEMPERATURE)
    if temperature <= 0:
        return _chain(api.llama_sampler_init_greedy())
    # A client's seed may be any integer; one value means "random" to llama.cpp.
    seed = _RANDOM_SEED if sampling.seed is None else sampling.seed % _RANDOM_SEED
    return _chain(
        api.llama_sampler_init_top_k(int(_or(sampling.top_k, _TOP_K))),
        api.llama_sampler_init_top_p(_or(sampling.top_p, 0.95), 1),
        api.llama_sampler_init_min_p(_or(sampling.min_p, 0.05), 1),
        api.llama_sampler_init_temp(temperature),
        api.llama_sampler_init_dist(seed),
    )


def _penalties(sampling: Sampling, vocabulary: int) -> api.llama_sampler_p | None:
    """The sampler that makes recent tokens less likely, where that is asked for."""
    repeat = _or(sampling.repeat_penalty, 1.0)
    frequency, presence = _or(sampling.frequency_penalty, 0.0), _or(sampling.presence_penalty, 0.0)
    if (repeat, frequency, presence) == (1.0, 0.0, 0.0):
        return None
    sampler: api.llama_sampler_p = api.llama_sampler_init_penalties(
        vocabulary, PENALTY_WINDOW, repeat, frequency, presence
    )
    return sampler


def _bans(tokens: Sequence[int], vocabulary: int) -> api.llama_sampler_p | None:
    """The sampler that makes these tokens impossible."""
    if not tokens:
        return None
    biases = (api.llama_logit_bias * len(tokens))(
        *(api.llama_logit_bias(token=token, bias=-np.inf) for token in tokens)
    )
    sampler: api.llama_sampler_p = api.llama_sampler_init_logit_bias(
        vocabulary, len(tokens), biases
    )
    return sampler


def _chain(*samplers: api.llama_sampler_p | None) -> api.llama_sampler_p:
    """The samplers one after the other; they belong to the chain from now on."""
    chain: api.llama_sampler_p = api.llama_sampler_chain_init(
        api.llama_sampler_chain_default_params()
    )
    for sampler in samplers:
        if sampler is not None:
            api.llama_sampler_chain_add(chain, sampler)
    return chain


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
