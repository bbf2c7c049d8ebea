"""Sampling under a grammar is exact: what is not looked at would change nothing."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from asking import CAPITAL, chatml
from engines import needs_engine

from benchmarks.models import random_model
from llmgate import resources
from llmgate.errors import GrammarError
from llmgate.types import Prompt, Sampling

pytestmark = needs_engine

GRAMMARS = {
    "json": (Path(__file__).parents[2] / "grammars" / "json.gbnf").read_text(),
    "string": r'root ::= "\"" ([^"\\\x00-\x1F\x7F] | "\\" ["\\/bfnrt])* "\""',
    "words": r'root ::= ([a-z]{1,8} " ")* "end"',
    "text or call": r'root ::= ([^<] | "<" [^t])* "<tool_call>" "{" [^}]* "}"',
    "all but these letters": r'root ::= [^éèü中\x00-\x1F]{1,60} "é"',
    "these letters": r'root ::= [à-ü一-鿿 ]{1,60} "." | "😀" [\U0001F600-\U0001F64F]*',
    "anything": r'root ::= .* "</t>"',
    "number": r'root ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ("e" [+-]? [0-9]+)?',
}
GREEDY = Sampling(temperature=0.0, max_tokens=24)
SAMPLINGS = {
    "greedy": GREEDY,
    "usual": Sampling(max_tokens=24, seed=5),
    "hot": Sampling(max_tokens=24, seed=6, temperature=1.5, top_k=500, top_p=1.0, min_p=0.0),
    "untruncated": Sampling(max_tokens=24, seed=7, top_k=0, top_p=1.0, min_p=0.0),
    "greedy, penalties": Sampling(
        max_tokens=24,
        temperature=0.0,
        repeat_penalty=1.3,
        presence_penalty=0.5,
        frequency_penalty=0.5,
    ),
    "penalties": Sampling(max_tokens=24, seed=8, repeat_penalty=1.3, frequency_penalty=0.5),
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """An engine in this process, with random weights."""
    from llmgate.backends.engine import Engine
    from llmgate.backends.pipe import Load

    path = random_model(tmp_path_factory.mktemp("model") / "random.gguf", 4, scale=0.3)
    return Engine(Load(str(path), 2048, 1, 0, extra_buffers=False))


@pytest.fixture
def looked_at(monkeypatch):
    """How many tokens each look at a grammar was about."""
    from llmgate.backends.constraint import Constraint

    sizes = []
    mask = Constraint._mask

    def counted(self, tokens):
        sizes.append(len(tokens))
        return mask(self, tokens)

    monkeypatch.setattr(Constraint, "_mask", counted)
    return sizes


def written(engine, prompt: Prompt) -> str:
    text: list[str] = []
    engine.complete(prompt, text.append, lambda: False)
    return "".join(text)


def every_token(engine):
    import numpy as np

    return np.arange(engine.vocabulary.size, dtype=np.int32)


@pytest.mark.parametrize("name", GRAMMARS)
def test_the_tokens_found_by_their_beginnings_are_all_that_are_allowed(engine, name):
    from llmgate.backends.constraint import Constraint

    vocabulary = engine.vocabulary
    dice = random.Random(name)
    for _ in range(6):
        constraint = Constraint(vocabulary, GRAMMARS[name])
        for _ in range(25):
            allowed = constraint.those_allowed(every_token(engine)).tolist()
            assert constraint.all_allowed().tolist() == allowed
            choices = [token for token in allowed if not vocabulary.is_end(token)]
            if not choices:
                break
            # Tokens that end within a character are what could go wrong.
            cut = [token for token in choices if vocabulary.tree.cut[token]]
            token = dice.choice(cut if cut and dice.random() < 0.4 else choices)
            assert constraint.allows(token)
            constraint.accept(token)
        constraint.close()


@pytest.mark.parametrize("how", ["few", "likeliest", "rest"])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_choice_is_the_one_among_all_tokens(engine, monkeypatch, sampling, how):
    from llmgate.backends import sampler
    from llmgate.backends.constraint import Constraint

    prompts = [
        Prompt("The garden ", grammar=text, sampling=SAMPLINGS[sampling])
        for text in GRAMMARS.values()
    ]
    if how != "few":
        monkeypatch.setattr(sampler, "_FEW", 0)
    if how == "rest":
        monkeypatch.setattr(sampler, "_LIKELIEST", 0)
    got = [written(engine, prompt) for prompt in prompts]
    monkeypatch.setattr(
        Constraint,
        "all_allowed",
        lambda self, limit=None: self.those_allowed(every_token(engine)),
    )
    assert got == [written(engine, prompt) for prompt in prompts]


def test_between_the_strings_of_json_few_tokens_are_looked_at(engine, looked_at):
    grammar = r'root ::= "{\"name\": \"" ("Ada" | "Bob") "\", \"age\": " [1-9] [0-9] "}"'
    text = written(engine, Prompt("The garden ", grammar=grammar, sampling=GREEDY))
    assert json.loads(text)["name"] in ("Ada", "Bob")
    assert max(looked_at) < 300 < engine.vocabulary.size


def test_a_token_that_is_allowed_is_the_only_one_looked_at(engine, looked_at, monkeypatch):
    monkeypatch.setattr(engine, "_banned", lambda prompt: [])
    whole = 0
    for seed in range(12):
        sampling = Sampling(seed=seed, temperature=1.0, max_tokens=8)
        free = written(engine, Prompt("The garden ", sampling=sampling))
        if free.isprintable() and "\ufffd" not in free:
            whole += 1
            prompt = Prompt("The garden ", grammar="root ::= .*", sampling=sampling)
            assert written(engine, prompt) == free
    assert whole > 2
    assert not looked_at


def test_refused_tokens_do_not_count_for_penalties(engine):
    """The text under a grammar that allows one word only is this word, whatever was tried."""
    from llmgate.backends.sampler import Sampler

    heavy = Sampling(temperature=0.0, repeat_penalty=50.0, max_tokens=1)
    prompt = Prompt("", grammar='root ::= ("a" | "b")+', sampling=heavy)
    tokens = engine.tokenize("a garden ")
    engine._reuse(tokens, exact=False)
    engine._evaluate(tokens, lambda: False)
    sampler = Sampler(engine.vocabulary, prompt, tokens)
    chosen = [sampler.sample(engine._context) for _ in range(6)]
    sampler.close()
    assert list(sampler._recent)[-6:] == chosen
    assert len(sampler._recent) == len(tokens) + 6


def test_refused_choices_are_made_again_in_proportion(engine):
    """Without truncation the choice is distributed as the allowed part of the vocabulary is."""
    import numpy as np

    from llmgate.backends.constraint import Constraint
    from llmgate.backends.sampler import Sampler

    grammar = "root ::= [a-e] [^x]*"
    tokens = engine.tokenize("The garden ")
    engine._forget()
    engine._evaluate(tokens, lambda: False)
    counts: Counter[int] = Counter()
    draws = 5000
    for seed in range(draws):
        sampling = Sampling(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seed=seed)
        sampler = Sampler(engine.vocabulary, Prompt("", grammar=grammar, sampling=sampling), tokens)
        if seed == 0:
            logits = sampler._logits(engine._context)
        counts[sampler.sample(engine._context)] += 1
        sampler.close()
    constraint = Constraint(engine.vocabulary, grammar)
    allowed = constraint.all_allowed()
    constraint.close()
    weights = np.exp(logits[allowed].astype(np.float64))
    expected = dict(zip(allowed.tolist(), draws * weights / weights.sum(), strict=True))
    assert set(counts) <= set(expected)
    likely = {token: count for token, count in expected.items() if count >= 5}
    surprise = sum((counts[token] - count) ** 2 / count for token, count in likely.items())
    # The mean is the number of tokens, and the deviation the root of twice that.
    assert len(likely) >= 20
    assert surprise < len(likely) + 4 * (2 * len(likely)) ** 0.5


def test_control_tokens_that_nobody_knows_are_banned_where_a_grammar_holds(engine):
    ((token, text),) = engine.vocabulary.control.items()
    assert text == "<|im_start|>"
    assert token in engine._banned(Prompt("", grammar="root ::= .*"))
    assert token not in engine._banned(Prompt("", grammar=f'root ::= .* "{text}"'))
    assert token not in engine._banned(Prompt("", grammar="root ::= .*", preserved=(text,)))
    assert engine._banned(Prompt("")) == []


def test_tokens_that_are_no_utf_8_are_banned_too(engine):
    broken = {engine.vocabulary.piece(token) for token in engine.vocabulary.broken}
    assert broken == {bytes([byte]) for byte in (0xC0, 0xC1, *range(0xF5, 0x100))}
    assert set(engine.vocabulary.broken) < set(engine._banned(Prompt("", grammar="root ::= .*")))


def test_what_is_part_of_utf_8():
    from llmgate.backends.vocabulary import _is_part

    text = "aé漢😀\u2028z".encode()
    for start in range(len(text)):
        for stop in range(start + 1, len(text) + 1):
            assert _is_part(text[start:stop])
    for piece in (
        b"\xc0@",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"a\xc3a",
        b"\x81\x81\x81\x81",
        b"\xed\xa0\x80",
        b"a\xed\xa0",
        b"\xf4\x90",
    ):
        assert not _is_part(piece)


def test_a_grammar_that_the_engine_refuses_leaks_nothing(engine):
    for grammar in ("", "root ::= \0", 'root ::= "a'):
        with pytest.raises(GrammarError, match="refuses"):
            written(engine, Prompt("a", grammar=grammar))
    assert written(engine, Prompt("a", grammar='root ::= "b"')) == "b"


@pytest.mark.parametrize("seed", range(6))
def test_under_a_grammar_all_text_is_utf_8(engine, seed):
    """Random bytes would be characters once in a while only."""
    hot = Sampling(temperature=3.0, top_k=0, top_p=1.0, min_p=0.0, seed=seed, max_tokens=120)
    text = written(engine, Prompt("The ", grammar=r"root ::= [^\x00-\x7F]{30}", sampling=hot))
    assert len(text) == 30
    assert "\ufffd" not in text


PEER = """
import json, sys
import llama_cpp
from llmgate.backends.constraint import Constraint
from llmgate.backends.engine import Engine
from llmgate.backends.pipe import Load
from llmgate.types import Prompt, Sampling
usual = llama_cpp.llama_model_default_params
def careful():
    # Some builds crash in these buffers: see EmbeddedBackend.
    params = usual()
    params.use_extra_bufts = False
    return params
llama_cpp.llama_model_default_params = llama_cpp.llama_cpp.llama_model_default_params = careful
path, asked = sys.argv[1], json.load(sys.stdin)
texts = []
peer = llama_cpp.Llama(path, n_ctx=2048, n_threads=1, verbose=False)
for text, grammar in asked:
    held = llama_cpp.LlamaGrammar.from_string(grammar, verbose=False)
    answer = peer.create_completion(text, grammar=held, temperature=0.0, max_tokens=60)
    texts.append(answer["choices"][0]["text"])
engine = Engine(Load(path, 2048, 1, 0, extra_buffers=False))
# There nothing is banned and all is UTF-8; control tokens are not shown, nor what is no UTF-8.
engine._banned = lambda prompt: []
Constraint._goes_on = lambda self, token: True
ours = []
for text, grammar in asked:
    pieces = []
    sampling = Sampling(temperature=0.0, max_tokens=60)
    prompt = Prompt(text, grammar=grammar, sampling=sampling)
    engine.complete(prompt, pieces.append, lambda: False)
    ours.append("".join(pieces).replace("<|im_start|>", "").replace("\ufffd", ""))
print(json.dumps([texts, ours]))
sys.stdout.flush()
import os
os._exit(0)
"""


@pytest.mark.parametrize("kind", ["shipped", "random"])
def test_at_temperature_zero_the_text_is_that_of_llama_cpp_python(tmp_path, kind):
    path = resources.default_model()
    if kind == "random":
        path = random_model(tmp_path / "random.gguf", 2, scale=0.3)
    asked = [
        (text, grammar)
        for text in (CAPITAL, chatml("Tell me about the garden."), "tic tac ")
        for name, grammar in GRAMMARS.items()
        if name != "anything"
    ]
    done = subprocess.run(
        [sys.executable, "-c", PEER, str(path)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    theirs, ours = json.loads(done.stdout.splitlines()[-1])
    assert ours == theirs
    assert len(set(ours)) > 10
