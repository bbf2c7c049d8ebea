"""A grammar at one place of an answer: what can follow there, by llama.cpp's own matcher."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Collection
from typing import Any

import llama_cpp.llama_cpp as api
import numpy as np

from llmgate.backends.vocabulary import Tokens, Vocabulary, unfinished
from llmgate.errors import GrammarError

ENTRY = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_NEGATED_CLASS = re.compile(r"\[\^((?:\\.|[^\]\\])*)", re.DOTALL)
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]|\\[uU]|\\x[89a-fA-F]")


class Constraint:
    """Follows an answer through a grammar. `close` it: it holds memory of the C library.

    Of a character in several tokens llama.cpp reads what is no UTF-8 as some character, too;
    here only UTF-8 can follow. Raises `GrammarError` if llama.cpp refuses the grammar.
    """

    def __init__(self, vocabulary: Vocabulary, grammar: str, banned: Collection[int] = ()) -> None:
        """`banned` control tokens never follow, whatever the grammar says."""
        self._vocabulary = vocabulary
        self._grammar: api.llama_sampler_p | None = None
        # C would read up to a NUL, and take an empty grammar for no grammar at all.
        if grammar.strip() and "\0" not in grammar:
            text = grammar.encode("utf-8")
            self._grammar = api.llama_sampler_init_grammar(vocabulary.pointer, text, b"root")
        if not self._grammar:
            raise GrammarError("llama.cpp refuses this grammar.", param="grammar")
        control = vocabulary.control.keys() - set(banned)
        self._control = np.array(sorted(control), dtype=np.int32)
        # Where a negated class names characters beyond ASCII, llama.cpp refuses the first byte
        # of others that begin with the same one, though it takes them whole.
        self._mistrusts_cut_tokens = any(
            _BEYOND_ASCII.search(found[1]) for found in _NEGATED_CLASS.finditer(grammar)
        )
        self._cut = vocabulary.tree.cut
        # The first bytes of a character.
        self._begun = b""
        self._entry = api.llama_token_data(id=0, logit=0.0, p=0.0)
        self._only = api.llama_token_data_array(
            data=ctypes.pointer(self._entry), size=1, selected=-1
        )
        self._only_pointer = ctypes.pointer(self._only)

    def allows(self, token: int) -> bool:
        """Whether this token can follow."""
        entry: Any = self._entry
        entry.id = token
        entry.logit = 0.0
        api.llama_sampler_apply(self._grammar, self._only_pointer)
        return bool(entry.logit == 0.0) and (not self._begun or self._goes_on(token))

    def those_allowed(self, tokens: Tokens) -> Tokens:
        """Those of these tokens that can follow."""
        allowed: Tokens = tokens[self._mask(tokens)]
        return allowed

    def all_allowed(self, limit: int | None = None) -> Tokens | None:
        """All tokens that can follow, by number; None if more than `limit` would be looked at."""
        tree = self._vocabulary.tree
        found = [self.those_allowed(self._vocabulary.ends), self.those_allowed(self._control)]
        level, seen = tree.roots, 0
        while len(level):
            seen += len(level)
            if limit is not None and seen > limit:
                return None
            mask = self._mask(level)
            found.append(level[mask])
            if self._mistrusts_cut_tokens:
                mask |= tree.cut[level]
            level = tree.below(level[mask])
        return np.sort(np.concatenate(found))

    def accept(self, token: int) -> None:
        """Go on behind this token. It must be one that can follow: the process ends otherwise."""
        api.llama_sampler_accept(self._grammar, token)
        if self._begun or self._cut[token]:
            self._begun = unfinished(self._begun + self._vocabulary.piece(token)) or b""

    def feed(self, text: bytes) -> bool:
        """Go on behind this text; False if it can't follow: then call `reset`."""
        tokens = self._vocabulary.spell(text)
        if tokens is None:
            return False
        for token in tokens:
            if not self.allows(token):
                return False
            self.accept(token)
        return True

    def reset(self) -> None:
        """Go back to the beginning."""
        api.llama_sampler_reset(self._grammar)
        self._begun = b""

    def close(self) -> None:
        """Free the grammar. Idempotent."""
        if self._grammar is not None:
            api.llama_sampler_free(self._grammar)
        self._grammar = None

    def _mask(self, tokens: Tokens) -> np.ndarray:
        entries = np.zeros(len(tokens), dtype=ENTRY)
        entries["id"] = tokens
        array = candidates(entries)
        api.llama_sampler_apply(self._grammar, ctypes.byref(array))
        mask: np.ndarray = entries["logit"] == 0.0
        if self._begun:
            mask[mask] = [self._goes_on(token) for token in tokens[mask].tolist()]
        return mask

    def _goes_on(self, token: int) -> bool:
        """Whether a token goes on with the character that has begun."""
        return unfinished(self._begun + self._vocabulary.piece(token)) is not None


def candidates(entries: np.ndarray) -> api.llama_token_data_array:
    """The entries as C knows them; it changes them in place, and they must live that long."""
    data = entries.ctypes.data_as(api.llama_token_data_p)
    return api.llama_token_data_array(data=data, size=len(entries), selected=-1)
