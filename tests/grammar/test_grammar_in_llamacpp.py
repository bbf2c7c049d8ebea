"""The real parser of llama.cpp takes what `check` passes; in a child, since it may crash."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from random import Random
from typing import Any

import pytest
from test_grammar_calls import PREFILLS, SHAPE, TOOLS
from test_grammar_check import GOOD
from test_grammar_compile import EXACT, RELAXED

from llmgate import resources
from llmgate.errors import GrammarError
from llmgate.grammar import check, compile, compile_calls, load  # noqa: A004

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)

CHILD = """
import ctypes, json, sys
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
for line in sys.stdin:
    sampler = engine.llama_sampler_init_grammar(vocabulary, json.loads(line).encode(), b"root")
    print("loaded" if sampler else "refused", flush=True)
    if sampler:
        engine.llama_sampler_free(sampler)
"""


def loaded(grammars: list[str]) -> list[str]:
    """What the engine says of each grammar; shorter than `grammars` if it crashed."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(resources.default_model())],
        input="".join(f"{json.dumps(grammar)}\n" for grammar in grammars),
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout.split()


def test_the_engine_loads_what_schemas_and_tools_compile_to() -> None:
    grammars = [compile(schema).text for schema, _, _ in EXACT]
    grammars += [compile(schema).text for schema, _, _ in RELAXED]
    grammars += [load(name).text for name in resources.names("grammars")]
    for thoughts, prefill in PREFILLS:
        options: Any = {"thoughts": thoughts, "prefill": prefill}
        grammars.append(compile_calls(TOOLS, SHAPE, required=True, **options).text)
    for parallel in (False, True):
        grammars.append(compile_calls(TOOLS, SHAPE, required=False, parallel=parallel).text)
    answers = loaded(grammars)
    assert answers == ["loaded"] * len(grammars)


def test_the_engine_loads_whatever_check_passes() -> None:
    random = Random(1)
    grammars = [text for text, _, _ in GOOD]
    assert loaded(grammars) == ["loaded"] * len(grammars)
    pieces = ['"a"', "[a-c]", "x", "y", "root", "(", ")", "|", "*", "+", "?", "{2}", "{0,3}", "\n"]
    pieces += ["x ::= ", "y ::= ", " ", '"\\"', "[^]", ".", "#", '""', "{3,}", "{,2}", "\\", "::="]
    passed = []
    for _ in range(20_000):
        body = " ".join(random.choices(pieces, k=random.randint(1, 8)))
        text = f'root ::= {body}\nx ::= [0-9] y?\ny ::= "y" | x\n'
        if random.random() < 0.3:
            text = f'root ::= x | y\nx ::= {body}\ny ::= "y"\n'
        try:
            check(text)
        except GrammarError:
            continue
        passed.append(text)
    assert len(passed) > 500
    answers = loaded(passed)
    bad = [text for text, answer in zip(passed, answers, strict=False) if answer != "loaded"]
    assert bad == []
    assert len(answers) == len(passed), f"the engine crashed at {passed[len(answers)]!r}"
