"""The engines of `benchmarks.grammar`, each run in a process of its own.

    python -m benchmarks.grammar_engines ENGINE [VOCABULARY]

Reads schemas with their instances from standard input, one JSON object a line, and answers with
one line each; a line naming the phase comes before what may hang or crash.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import inspect
import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from benchmarks.grammar import OURS, SPELLINGS

# A first conversion, and then more to see what the machine's other work added.
_TIMES = 3
_LONGEST_REPEATED = 0.05


class Judge(Protocol):
    """Tells which texts a grammar takes."""

    name: str

    def load(self, grammar: str) -> Callable[[str], bool] | None: ...


class Llama:
    """llama.cpp's own grammar parser and matcher, over the single-byte tokens of a vocabulary."""

    name = "llama.cpp"

    def __init__(self, vocabulary: str) -> None:
        import llama_cpp as engine

        from llmgate import resources

        @engine.llama_log_callback
        def quiet(level: int, text: bytes, data: ctypes.c_void_p) -> None:
            pass

        self._quiet = quiet
        engine.llama_log_set(quiet, ctypes.c_void_p(0))
        engine.llama_backend_init()
        parameters = engine.llama_model_default_params()
        parameters.vocab_only = True
        path = vocabulary or str(resources.default_model())
        self.model = engine.llama_model_load_from_file(path.encode(), parameters)
        self.engine = engine
        self.vocabulary = engine.llama_model_get_vocab(self.model)
        self.end = engine.llama_vocab_eos(self.vocabulary)
        self.tokens: dict[int, int] = {}
        piece = ctypes.create_string_buffer(256)
        for token in range(engine.llama_vocab_n_tokens(self.vocabulary)):
            if engine.llama_token_to_piece(self.vocabulary, token, piece, 256, 0, False) == 1:
                self.tokens.setdefault(piece.raw[0], token)
        if len(self.tokens) < 256:
            raise SystemExit(f"{path} has tokens for {len(self.tokens)} of 256 bytes only")
        self.one = (engine.llama_token_data * 1)()
        self.array = engine.llama_token_data_array()
        self.array.data = self.one

    def load(self, grammar: str) -> Callable[[str], bool] | None:
        sampler = self.engine.llama_sampler_init_grammar(self.vocabulary, grammar.encode(), b"root")
        return (lambda text: self._takes(sampler, text)) if sampler else None

    def _takes(self, fresh: Any, text: str) -> bool:
        engine = self.engine
        sampler = engine.llama_sampler_clone(fresh)
        try:
            for byte in text.encode():
                token = self.tokens[byte]
                # A token that does not fit ends the process when it is accepted.
                if not self._allowed(sampler, token):
                    return False
                engine.llama_sampler_accept(sampler, token)
            return self._allowed(sampler, self.end)
        finally:
            engine.llama_sampler_free(sampler)

    def _allowed(self, sampler: Any, token: int) -> bool:
        self.one[0].id = token
        self.one[0].logit = 1.0
        self.array.size = 1
        self.array.selected = -1
        self.engine.llama_sampler_apply(sampler, ctypes.byref(self.array))
        return not math.isinf(self.one[0].logit)


class Own:
    """Our own matcher, where llama-cpp-python is not installed."""

    name = "llmgate.grammar.Matcher"

    def load(self, grammar: str) -> Callable[[str], bool] | None:
        from llmgate.errors import GrammarError
        from llmgate.grammar import Matcher

        try:
            return Matcher(grammar).matches
        except GrammarError:
            return None


def timed(convert: Callable[[], Any], forget: Callable[[], None]) -> tuple[Any, float, float]:
    """What the conversion gives, and the first and the best of its times in milliseconds.

    That is time of the processor: what else a machine does is no part of it.
    """
    taken = []
    for _ in range(_TIMES):
        forget()
        gc.collect(0)
        start = time.process_time()
        found = convert()
        taken.append(time.process_time() - start)
        if taken[-1] > _LONGEST_REPEATED:
            break
    return found, taken[0] * 1000, min(taken) * 1000


def phase(name: str) -> None:
    print(json.dumps({"phase": name}), flush=True)


def our_cases(judge: Judge) -> Callable[[dict[str, Any]], dict[str, Any]]:
    from llmgate.errors import GrammarError, Unsupported
    from llmgate.grammar import compile  # noqa: A004

    def forget() -> None:
        for name, module in list(sys.modules.items()):
            if name.startswith("llmgate."):
                for thing in vars(module).values():
                    if hasattr(thing, "cache_clear") and inspect.signature(thing).parameters:
                        thing.cache_clear()

    def one(row: dict[str, Any]) -> dict[str, Any]:
        try:
            found, first, best = timed(lambda: compile(row["schema"]), forget)
        except (GrammarError, Unsupported) as error:
            return {"outcome": "refused", "error": str(error)}
        relaxed = [(entry.path, entry.keyword, entry.why) for entry in found.relaxed]
        return text_case(judge, row, found.text, first, best) | {"relaxed": relaxed}

    return one


def llama_cases(judge: Judge) -> Callable[[dict[str, Any]], dict[str, Any]]:
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    def one(row: dict[str, Any]) -> dict[str, Any]:
        schema = json.dumps(row["schema"])
        try:
            found, first, best = timed(lambda: json_schema_to_gbnf(schema), lambda: None)
        except Exception as error:  # noqa: BLE001
            return {"outcome": "refused", "error": f"{type(error).__name__}: {error}"}
        return text_case(judge, row, found, first, best)

    return one


def text_case(
    judge: Judge, row: dict[str, Any], text: str, first: float, best: float
) -> dict[str, Any]:
    phase("load")
    start = time.perf_counter()
    takes = judge.load(text)
    loading = (time.perf_counter() - start) * 1000
    phase("match")
    return {
        "outcome": "ok",
        "first_ms": first,
        "ms": best,
        "load_ms": loading,
        "bytes": len(text.encode()),
        "loaded": takes is not None,
        "relaxed": [],
        "taken": all_taken(row, takes) if takes is not None else {},
        "matcher": judge.name,
    }


def guidance_cases() -> Callable[[dict[str, Any]], dict[str, Any]]:
    from llguidance import LLMatcher, LLTokenizer

    tokenizer = LLTokenizer("byte")

    def one(row: dict[str, Any]) -> dict[str, Any]:
        def convert() -> tuple[Any, str]:
            text = LLMatcher.grammar_from_json_schema(row["schema"])
            return LLMatcher(tokenizer, text, log_level=0), text

        try:
            (matcher, text), first, best = timed(convert, lambda: None)
        except Exception as error:  # noqa: BLE001
            return {"outcome": "refused", "error": f"{type(error).__name__}: {error}"}
        if matcher.is_error():
            return {"outcome": "refused", "error": matcher.get_error()}
        phase("match")

        def takes(written: str) -> bool:
            fresh = matcher.deep_copy()
            tokens = tokenizer.tokenize_str(written)
            return fresh.try_consume_tokens(tokens) == len(tokens) and fresh.is_accepting()

        return {
            "outcome": "ok",
            "first_ms": first,
            "ms": best,
            "load_ms": 0.0,
            "bytes": len(text.encode()),
            "loaded": True,
            "relaxed": [],
            "taken": all_taken(row, takes),
        }

    return one


def all_taken(row: dict[str, Any], takes: Callable[[str], bool]) -> dict[str, list[bool]]:
    return {
        name: [takes(json.dumps(test["data"], **style)) for test in row["tests"]]
        for name, style in SPELLINGS.items()
    }


def main() -> None:
    engine, vocabulary = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    if engine == "llguidance":
        one = guidance_cases()
    else:
        installed = importlib.util.find_spec("llama_cpp") is not None
        judge: Judge = Llama(vocabulary) if installed else Own()
        one = our_cases(judge) if engine == OURS else llama_cases(judge)
    gc.freeze()
    phase("ready")
    for line in sys.stdin:
        print(json.dumps(one(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
