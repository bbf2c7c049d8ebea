"""llama.cpp, driven through llama-cpp-python's low-level calls. Only the worker imports this.

The high-level `Llama` class is left aside: it can't be interrupted between two batches of a
prompt, drops control tokens, adds BOS on its own, compiles the model's chat template while
loading and hides the parameters of the model.
"""

from __future__ import annotations

import codecs
import ctypes
from collections.abc import Callable

import llama_cpp.llama_cpp as api
import msgspec

from llmgate.backends.library import Library
from llmgate.backends.pipe import Load
from llmgate.backends.sampler import Sampler
from llmgate.backends.stops import Stops
from llmgate.backends.vocabulary import Vocabulary
from llmgate.errors import BackendError, BackendUnreachable, ContextOverflow, RequestError
from llmgate.types import ChatTemplate, Prompt

BATCH = 512
DEFAULT_CONTEXT = 8192
_WARM_UP_TOKENS = 32


class Result(msgspec.Struct, frozen=True):
    """How a generation ended. `length`: the limit or the end of the context was reached."""

    length: bool
    prompt: int
    completion: int
    cached: int


class Engine:
    """One model with one context. From other threads only `tokenize` and `vocabulary` are used.

    Raises `BackendUnreachable` if the model can't be loaded.
    """

    def __init__(self, load: Load) -> None:
        self._library = Library()
        self._model = self._load_model(load)
        self._vocab = api.llama_model_get_vocab(self._model)
        self.vocabulary = Vocabulary(self._vocab)
        self.trained = int(api.llama_model_n_ctx_train(self._model))
        wanted = load.context or min(self.trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
        self._context = self._make_context(load, wanted)
        # The engine rounds the size up; the user's figure is the one that holds.
        self.context = min(wanted, int(api.llama_n_ctx(self._context)))
        self._memory = api.llama_get_memory(self._context)
        self._tokens: list[int] = []
        self._whole = 0
        self._warm_up()

    @property
    def template(self) -> ChatTemplate | None:
        """The chat template in the model's file, if it has one."""
        text = self._metadata(b"tokenizer.chat_template")
        if not text:
            return None
        vocabulary = self.vocabulary
        return ChatTemplate(
            text,
            bos=vocabulary.text(int(api.llama_vocab_bos(self._vocab))),
            eos=vocabulary.text(int(api.llama_vocab_eos(self._vocab))),
            tools=self._metadata(b"tokenizer.chat_template.tool_use"),
        )

    def tokenize(self, text: str) -> list[int]:
        """The tokens of `text`, control tokens recognised, no BOS added."""
        data = text.encode("utf-8")
        size = len(data) + 16
        buffer = (api.llama_token * size)()
        count = api.llama_tokenize(self._vocab, data, len(data), buffer, size, False, True)
        if count < 0:
            raise BackendError("The tokenizer of the model failed on this text.")
        return list(buffer[:count])

    def complete(
        self, prompt: Prompt, emit: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> Result | None:
        """Generate, handing each token's text to `emit`. None if it was cancelled.

        Control tokens are text like any other, but the one that ends the answer is never shown.
        Raises `ContextOverflow`, `GrammarError`, `RequestError` and `BackendError`.
        """
        tokens = self._prompt_tokens(prompt.text)
        sampling = prompt.sampling
        sampler = Sampler(self.vocabulary, prompt, tokens, self._banned(prompt))
        try:
            cached = self._reuse(tokens, exact=sampling.seed is not None)
            if not self._evaluate(tokens[cached:], cancelled):
                return None
            stops = Stops(prompt.stop)
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            limit = self.context - len(tokens)
            if sampling.max_tokens is not None:
                limit = min(limit, sampling.max_tokens)
            made, length = 0, True
            while made < limit:
                if cancelled():
                    return None
                token = sampler.sample(self._context)
                if token is None:
                    length = False
                    break
                made += 1
                if self.vocabulary.is_end(token):
                    length = False
                    break
                emit(stops.feed(decoder.decode(self.vocabulary.piece(token))))
                if stops.found:
                    length = False
                    break
                if made < limit:
                    self._decode([token])
            if not stops.found:
                # Half a character at the token limit is no text yet.
                rest = "" if length else decoder.decode(b"", final=True)
                emit(stops.feed(rest) + stops.flush())
            return Result(length and not stops.found, len(tokens), made, cached)
        finally:
            sampler.close()

    def _banned(self, prompt: Prompt) -> list[int]:
        """Tokens that are not to be chosen under the prompt's grammar.

        They are broken ones, and control tokens that neither the grammar nor the reader of the
        answer knows. To a grammar their text is text like any other, so one of them could stand
        inside a string: it would end the turn in the middle of a call, or come back in the next
        prompt as what it stands for.
        """
        if prompt.grammar is None:
            return []
        unknown = [
            token
            for token, text in self.vocabulary.control.items()
            if text not in prompt.grammar and text not in prompt.preserved
        ]
        return unknown + self.vocabulary.broken

    def _prompt_tokens(self, text: str) -> list[int]:
        tokens = self.tokenize(text)
        bos = int(api.llama_vocab_bos(self._vocab))
        wants_bos = api.llama_vocab_get_add_bos(self._vocab) or not tokens
        if bos >= 0 and wants_bos and tokens[:1] != [bos]:
            tokens.insert(0, bos)
        if not tokens:
            raise RequestError("The prompt is empty, and this model has no BOS token.")
        if len(tokens) >= self.context:
            raise ContextOverflow(
                f"The prompt has {len(tokens)} tokens; with a context of {self.context} tokens "
                f"it can have at most {self.context - 1}.",
            )
        return tokens

    def _reuse(self, tokens: list[int], *, exact: bool) -> int:
        """Keep what the context already holds of `tokens`; how many tokens that are.

        At least one token is left to evaluate, since its logits are needed. The sizes of the
        batches change the last bits of the numbers, so with `exact` (a seed was given) only
        such batches are kept as this prompt would be cut into.
        """
        kept = 0
        for old, new in zip(self._tokens, tokens[:-1], strict=False):
            if old != new:
                break
            kept += 1
        if exact:
            kept = min(kept, self._whole) // BATCH * BATCH
        if kept < len(self._tokens):
            # A window or a recurrent state may no longer hold what lies before `kept`.
            whole = api.llama_memory_seq_pos_min(self._memory, 0) <= 0
            if not (kept and whole and api.llama_memory_seq_rm(self._memory, 0, kept, -1)):
                self._forget()
                return 0
            del self._tokens[kept:]
            self._whole = min(self._whole, kept // BATCH * BATCH)
        return kept

    def _evaluate(self, tokens: list[int], cancelled: Callable[[], bool]) -> bool:
        """Evaluate a prompt's tokens batch by batch; False if that was cancelled."""
        at = 0
        while at < len(tokens):
            if cancelled():
                return False
            # Batches end at multiples of BATCH, wherever the reused part ended.
            size = BATCH - len(self._tokens) % BATCH
            starts_whole = len(self._tokens) == self._whole and size == BATCH
            batch = tokens[at : at + size]
            self._decode(batch)
            if starts_whole and len(batch) == BATCH:
                self._whole += BATCH
            at += len(batch)
        return True

    def _decode(self, tokens: list[int]) -> None:
        array = (api.llama_token * len(tokens))(*tokens)
        code = api.llama_decode(self._context, api.llama_batch_get_one(array, len(tokens)))
        if code != 0:
            self._forget()
            raise BackendError(
                f"llama.cpp could not evaluate a batch of {len(tokens)} tokens "
                f"(llama_decode returned {code}){self._library.last_error()}.",
            )
        self._tokens += tokens

    def _forget(self) -> None:
        api.llama_memory_clear(self._memory, True)
        self._tokens = []
        self._whole = 0

    def _warm_up(self) -> None:
        """Evaluate something before any request does: an engine that crashes does so here."""
        token = max(int(api.llama_vocab_bos(self._vocab)), 0)
        self._decode([token] * min(_WARM_UP_TOKENS, self.context - 1 or 1))
        self._forget()

    def _metadata(self, key: bytes) -> str | None:
        """A text from the head of the model's file."""
        size = api.llama_model_meta_val_str(self._model, key, None, 0)
        if size < 0:
            return None
        buffer = ctypes.create_string_buffer(size + 1)
        api.llama_model_meta_val_str(self._model, key, buffer, size + 1)
        return buffer.value.decode("utf-8", "replace")

    def _load_model(self, load: Load) -> api.llama_model_p:
        model = self._library.load_model(load)
        if not api.llama_model_has_decoder(model) or api.llama_model_has_encoder(model):
            raise BackendUnreachable(f"{load.path} is an encoder model: it can't continue a text.")
        return model

    def _make_context(self, load: Load, size: int) -> api.llama_context_p:
        threads = self._library.threads(load, self._model)
        params = api.llama_context_default_params()
        params.n_ctx = size
        params.n_batch = params.n_ubatch = min(BATCH, size)
        params.n_threads = params.n_threads_batch = threads
        params.no_perf = True
        params.flash_attn_type = self._library.flash_attention(load)
        context: api.llama_context_p | None = api.llama_init_from_model(self._model, params)
        if not context:
            raise BackendUnreachable(
                f"llama.cpp can't make a context of {size} tokens for {load.path}"
                f"{self._library.last_error()}. A smaller `context` needs less memory."
            )
        return context
