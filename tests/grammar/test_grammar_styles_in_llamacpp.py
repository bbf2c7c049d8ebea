"""The engine of llama.cpp loads the tool grammars of every style and follows them as we do."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from random import Random

import pytest
from grammar_walk import Walker
from test_grammar_styles import CALLS, SCHEMAS, THINK, compiled

from llmgate import resources
from llmgate.grammar import Matcher
from llmgate.styles import STYLES
from llmgate.wrappers.writing import write_calls

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)

CHILD = """
import ctypes, json, math, sys
import llama_cpp as engine

@engine.llama_log_callback
def quiet(level, text, data):
    pass

engine.llama_log_set(quiet, ctypes.c_void_p(0))
engine.llama_backend_init()
parameters = engine.llama_model_default_params()
parameters.vocab_only = True
model = engine.llama_model_load_from_file(sys.argv[1].encode(), parameters)
vocabulary = engine.llama_model_get_vocab(model)
end = engine.llama_vocab_eos(vocabulary)

def allowed(sampler, token):
    data = (engine.llama_token_data * 1)(engine.llama_token_data(token, 1.0, 0.0))
    array = engine.llama_token_data_array(data, 1, -1, False)
    engine.llama_sampler_apply(sampler, ctypes.byref(array))
    return not math.isinf(data[0].logit)

for line in sys.stdin:
    grammar, texts = json.loads(line)
    found = []
    sampler = engine.llama_sampler_init_grammar(vocabulary, grammar.encode(), b"root")
    for text in texts if sampler else ():
        raw = text.encode()
        tokens = (engine.llama_token * (len(raw) + 8))()
        count = engine.llama_tokenize(vocabulary, raw, len(raw), tokens, len(tokens), False, False)
        engine.llama_sampler_reset(sampler)
        fits = True
        for token in tokens[:count]:
            if not allowed(sampler, token):
                fits = False
                break
            engine.llama_sampler_accept(sampler, token)
        found.append(fits and allowed(sampler, end))
    print(json.dumps(found if sampler else None), flush=True)
    if sampler:
        engine.llama_sampler_free(sampler)
"""


def test_the_engine_follows_every_style_as_the_matcher_does() -> None:
    random, asked = Random(2), []
    for style in STYLES.values():
        for options in (
            {"required": True},
            {"required": True, "parallel": True, "thoughts": "inside"},
            {"required": True, "thoughts": "beside", "reasoning": THINK},
            {"required": False, "parallel": True, "reasoning": style.reasoning},
            {"required": False, "lazy": True},
            {"required": False, "schema": {"type": "array", "items": {"type": "integer"}}},
        ):
            grammar = compiled(style, **options).text
            walker = Walker(grammar, 30)
            texts = [walker.walk(random) for _ in range(2)]
            texts += [write_calls(style, CALLS[1:2], SCHEMAS), "Hello", "[1]"]
            texts += [texts[0][:-3], texts[2].replace("weather", "wether")]
            asked.append((grammar, texts))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(resources.default_model())],
        input="".join(f"{json.dumps(row)}\n" for row in asked),
        capture_output=True,
        text=True,
        timeout=300,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(asked), done.stderr[-500:]
    for (grammar, texts), answer in zip(asked, answers, strict=True):
        assert answer is not None, grammar
        matcher = Matcher(grammar)
        for text, fits in zip(texts, answer, strict=True):
            assert fits == matcher.matches(text), (text, grammar)
