"""Lazy grammars: free text up to the first trigger, and from there on the grammar."""

from __future__ import annotations

import json
import random
import re

import gguf
import pytest
from asking import CAPITAL
from engines import needs_engine
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.models import random_model
from llmgate import resources
from llmgate.errors import GrammarError
from llmgate.types import Prompt, Sampling

PARIS = "The capital of France is Paris."
GREEDY = Sampling(temperature=0.0, max_tokens=60)
pytestmark = needs_engine


def opened(path):
    from llmgate.backends.engine import Engine
    from llmgate.backends.pipe import Load

    return Engine(Load(str(path), 2048, 1, 0, extra_buffers=False))


@pytest.fixture(scope="module")
def shipped():
    return opened(resources.default_model())


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    return opened(random_model(tmp_path_factory.mktemp("model") / "random.gguf", 5))


def written(engine, prompt: Prompt) -> str:
    text: list[str] = []
    engine.complete(prompt, text.append, lambda: False)
    return "".join(text)


def lazy(trigger: str, rest: str, *more: str, sampling: Sampling = GREEDY) -> Prompt:
    """A prompt with a grammar of the trigger and `rest`, in force from the trigger on."""
    grammar = f"root ::= {json.dumps(trigger, ensure_ascii=False)} {rest}"
    return Prompt(CAPITAL, grammar=grammar, triggers=(trigger, *more), sampling=sampling)


def test_the_grammar_holds_from_the_trigger_on(shipped):
    text = written(shipped, lazy("France is ", '[0-9]{2} "!"', "nowhere"))
    assert re.fullmatch(r"The capital of France is \d\d!", text)


def test_a_trigger_may_begin_and_end_anywhere_in_a_token(shipped):
    dice = random.Random(1)
    triggered = 0
    for _ in range(60):
        start = dice.randrange(len(PARIS) - 1)
        trigger = PARIS[start : start + dice.randrange(1, 12)]
        text = written(shipped, lazy(trigger, "[7]{4}"))
        _, found, after = text.partition(trigger)
        assert after == ("7777" if found else ""), (trigger, text)
        triggered += bool(found)
    assert triggered > 30


def test_before_the_trigger_the_text_is_free(shipped, monkeypatch):
    from llmgate.backends.constraint import Constraint

    for name in ("allows", "accept", "_mask"):
        monkeypatch.setattr(Constraint, name, None)
    assert written(shipped, lazy("<tool_call>", "[0-9]+")) == PARIS
    seeded = Sampling(seed=3, temperature=1.2, max_tokens=30)
    free = written(shipped, Prompt(CAPITAL, sampling=seeded))
    assert written(shipped, lazy("<tool_call>", "[0-9]+", sampling=seeded)) == free


SAMPLINGS = (
    {},
    {"temperature": 0.0, "repeat_penalty": 1.2},
    {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "temperature": 1.5},
    {"frequency_penalty": 0.5, "presence_penalty": 0.2},
)


def test_whatever_the_tokens_are_nothing_escapes_the_grammar(noisy):
    """With random weights tokens run past the triggers all the time."""
    dice = random.Random(3)
    triggered = 0
    for seed in range(40):
        triggers = ["".join(dice.choices("aeinorst", k=dice.choice((1, 2, 2)))) for _ in range(3)]
        prompt = Prompt(
            "The garden ",
            grammar=f'root ::= ({" | ".join(map(json.dumps, triggers))}) ":" [0-9]{{3}}',
            triggers=tuple(triggers),
            sampling=Sampling(seed=seed, max_tokens=200, **dice.choice(SAMPLINGS)),
        )
        text = written(noisy, prompt)
        if first := re.search("|".join(triggers), text):
            triggered += 1
            assert re.fullmatch(f"(?:{'|'.join(triggers)}):[0-9]{{3}}", text[first.start() :]), text
    assert triggered > 15


def test_of_a_character_in_several_tokens_nothing_is_lost(noisy):
    prompt = Prompt(
        "The garden ",
        grammar='root ::= "e" [漢字]{3} "😀"',
        triggers=("e",),
        sampling=Sampling(seed=2, max_tokens=300),
    )
    assert re.search(r"^[^e]*e[漢字]{3}😀$", written(noisy, prompt), re.DOTALL)


def test_a_control_token_can_be_a_trigger(tmp_path):
    """The third token that the model writes is made a control token of another name."""
    begin = Prompt("The garden ", sampling=Sampling(temperature=0.0, max_tokens=5))
    engine = opened(random_model(tmp_path / "plain.gguf", 5, scale=0.3))
    written(engine, begin)
    first, second, third = engine._tokens[-4:-1]
    assert third not in (first, second)
    fields = gguf.GGUFReader(resources.default_model()).fields
    names = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    names[third], kinds[third] = "<|call|>me", int(gguf.TokenType.CONTROL)
    changed = {"tokenizer.ggml.tokens": names, "tokenizer.ggml.token_type": kinds}
    engine = opened(random_model(tmp_path / "marked.gguf", 5, scale=0.3, metadata=changed))
    text = written(
        engine,
        Prompt(
            "The garden ",
            grammar='root ::= "<|call|>me" [0-9]{3}',
            triggers=("<|call|>me",),
            sampling=GREEDY,
        ),
    )
    free = (engine.vocabulary.piece(first) + engine.vocabulary.piece(second)).decode()
    assert re.fullmatch(re.escape(free) + r"<\|call\|>me[0-9]{3}", text)


def test_the_end_of_an_answer_is_no_trigger(shipped):
    assert written(shipped, lazy("<|im_end|>", "[0-9]+")) == PARIS


def test_an_empty_trigger_is_there_from_the_beginning(shipped):
    prompt = Prompt(CAPITAL, grammar='root ::= "No."', triggers=("", "Paris"), sampling=GREEDY)
    assert written(shipped, prompt) == "No."


def test_triggers_without_a_grammar_mean_nothing(shipped):
    assert written(shipped, Prompt(CAPITAL, triggers=("capital",), sampling=GREEDY)) == PARIS


def test_a_stop_string_may_come_before_the_trigger_and_after_it(shipped):
    for stop, expected in (("France", "The capital of "), ("4", "The capital of France is ")):
        prompt = Prompt(
            CAPITAL,
            stop=(stop,),
            grammar='root ::= "France is 42"',
            triggers=("France",),
            sampling=GREEDY,
        )
        assert written(shipped, prompt) == expected


def test_a_grammar_that_is_refused_is_refused_before_the_trigger(shipped):
    with pytest.raises(GrammarError):
        written(shipped, Prompt("a", grammar='root ::= "a', triggers=("never",)))


@given(
    st.lists(st.text("ab<é", min_size=1, max_size=4), min_size=1, max_size=3),
    st.text("ab<é", max_size=30),
    st.lists(st.integers(1, 5), min_size=1),
)
def test_the_first_trigger_is_found_however_the_text_is_cut(triggers, text, sizes):
    from llmgate.backends.triggers import Triggers

    watch, data, at, got = Triggers(triggers), text.encode(), 0, None
    for size in sizes * 40:
        piece, at = data[at : at + size], at + size
        if not piece:
            break
        if (got := watch.find(piece)) is not None:
            break
        watch.feed(piece)
    # The first one to be complete; of those that are complete at once, the one begun first.
    complete = min((text.find(t) + len(t) for t in triggers if t in text), default=None)
    if complete is None:
        assert got is None
    else:
        assert got is not None
        read = data[:at]
        assert read.endswith(got)
        starts = [read.find(t.encode()) for t in triggers if t.encode() in read]
        assert len(read) - len(got) == min(starts)
        assert len(read) >= len(text[:complete].encode())
