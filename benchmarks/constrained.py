"""What a grammar costs per token, on the embedded engine and beside others.

    python -m benchmarks.constrained [--tokens 32] [--rounds 7] [--seed 1] [--no-peers]

Three models are made on the spot, each with a vocabulary of 151,936 tokens: one of random weights
that is little more than its vocabulary, so that sampling is what takes time, as on a GPU; one of
random weights with a body; and the shipped model, trained, with the large vocabulary. Each writes

    free     without a grammar
    text     free text in which a call may come, under a grammar from the beginning on
    lazy     the same, with a grammar that holds from the call on
    string   inside a string of JSON
    call     a call and nothing else

in rounds, after free text each time, on one thread. Milliseconds of processor time per token are
medians over tokens and then over rounds, `mean` is over all tokens of a round; tokens whose first
choice the grammar allowed and those whose first choice it refused are also counted apart. Ratios
are to the free tokens of the same round. Between the strings of a call random weights are refused
nearly always, the trained ones nearly never.

Beside it llama-cpp-python's own loop, in processor time too, and a real llama-server (xllamacpp)
by its own clock, each with the same models and grammars. Prints JSON last.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import msgspec

from benchmarks.constrained_models import padded_model, random_model
from benchmarks.servers import llama_server
from llmgate.types import Prompt, Sampling

CONTEXT = 2048
TARGET = 1.15
CALL = r"""
call ::= "{" ws "\"function\":" sp (weather | email) ws "}"
weather ::= "\"get_weather\"," ws "\"params\":" sp "{" ws "\"city\":" sp string "," ws "\"days\":" sp integer ws "}"
email ::= "\"send_email\"," ws "\"params\":" sp "{" ws "\"to\":" sp string "," ws "\"subject\":" sp string ws "}"
ws ::= | " " | "\n" [ \t]{0,32}
sp ::= " "?
string ::= "\"" char* "\""
char ::= [^"\\\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})
integer ::= "0" | "-"? [1-9] [0-9]{0,19}
"""  # noqa: E501
TAGGED = (
    r"""
root ::= text ("<tool_call>" call "</tool_call>")?
text ::= ([^<] | "<"+ [^<t] | "<"+ "t" [^<o])*
"""
    + CALL
)
STRING = r"""
root ::= "\"" char* "\""
char ::= [^"\\\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})
"""
ASKED = """<|im_start|>system
You can call functions. To call one, answer with JSON only: an object with the keys "function" and "params".

Available functions:
  get_weather:
    description: Get the weather for a city
    params:
      city: City name (string)
      days: Number of days (integer)
  send_email:
    description: Send an email to a person
    params:
      to: Email address (string)
      subject: The title (string)<|im_end|>
<|im_start|>user
Get the weather in {city} for {days} days.<|im_end|>
<|im_start|>assistant
"""  # noqa: E501
NOISE = ("The garden ",)
REAL = tuple(
    ASKED.replace("{city}", city).replace("{days}", str(days))
    for city, days in (("Paris", 5), ("London", 3), ("Rome", 12), ("Santiago", 7))
)


class Case(msgspec.Struct, frozen=True):
    """What is written: prompts one after the other, with a grammar or without."""

    prompts: tuple[str, ...]
    grammar: str | None = None
    triggers: tuple[str, ...] = ()


NOISY = {
    "free": Case(NOISE),
    "text": Case(NOISE, TAGGED),
    "lazy": Case(NOISE, 'root ::= "<tool_call>" call' + CALL, ("<tool_call>",)),
    "string": Case(NOISE, STRING),
    "call": Case(NOISE, "root ::= call" + CALL),
}
TRAINED = {
    "free": Case(REAL),
    "text": Case(REAL, TAGGED),
    "lazy": Case(REAL, "root ::= call" + CALL, ("{",)),
    "call": Case(REAL, "root ::= call" + CALL),
}
MODELS: dict[str, tuple[Callable[[Path], Path], dict[str, Case]]] = {
    "random": (lambda path: random_model(path, width=64, layers=2), NOISY),
    "random-body": (lambda path: random_model(path, width=512, layers=4), NOISY),
    "trained": (padded_model, TRAINED),
}


class Tokens:
    """Processor time of each token, those that a grammar refused at first apart."""

    def __init__(self) -> None:
        self.allowed: list[float] = []
        self.refused: list[float] = []

    @property
    def share(self) -> float:
        """How many of the choices were allowed, from 0 to 1."""
        return len(self.allowed) / ((len(self.allowed) + len(self.refused)) or 1)


class OurEngine:
    """The embedded engine, in this process."""

    def __init__(self, model: Path, sampling: Sampling) -> None:
        from llmgate.backends.engine import Engine
        from llmgate.backends.pipe import Load

        # Without extra buffers as llama-cpp-python below, which some builds crash with.
        self.engine = Engine(Load(str(model), CONTEXT, 1, 0, extra_buffers=False))
        self.engine.vocabulary.prepare()
        self.sampling = sampling

    def measure(self, case: Case) -> Tokens:
        """Write what the case says."""
        tokens = Tokens()
        for text in case.prompts:
            prompt = Prompt(
                text, grammar=case.grammar, triggers=case.triggers, sampling=self.sampling
            )
            with _noting_refusals() as refused:
                last = math.nan

                def emit(_: str) -> None:
                    nonlocal last
                    now = time.process_time()
                    # The first token waits for the prompt.
                    if not math.isnan(last):
                        (tokens.refused if refused else tokens.allowed).append(now - last)
                    refused.clear()
                    last = time.process_time()

                self.engine.complete(prompt, emit, lambda: False)
        return tokens


@contextmanager
def _noting_refusals() -> Iterator[list[int]]:
    """The tokens that grammars refuse to allow."""
    from llmgate.backends.constraint import Constraint

    usual = Constraint.allows
    refused: list[int] = []

    def allows(self: Constraint, token: int) -> bool:
        allowed = usual(self, token)
        if not allowed:
            refused.append(token)
        return allowed

    Constraint.allows = allows  # type: ignore[method-assign]
    try:
        yield refused
    finally:
        Constraint.allows = usual  # type: ignore[method-assign]


def measure_ours(
    model: Path, cases: dict[str, Case], options: argparse.Namespace
) -> dict[str, Any]:
    """The embedded engine's times for each case, in turns."""
    engine = OurEngine(model, Sampling(max_tokens=options.tokens, seed=options.seed))
    # Free text before each case, so that both meet the machine in the same mood.
    pairs = {
        name: [(engine.measure(cases["free"]), engine.measure(case)) for _ in range(options.rounds)]
        for name, case in cases.items()
    }
    return {name: _summary(measured) for name, measured in pairs.items()}


def _summary(pairs: list[tuple[Tokens, Tokens]]) -> dict[str, Any]:
    """One case's figures, from its rounds, each after one of free text."""
    tokens = [[*own.allowed, *own.refused] for _, own in pairs]
    result: dict[str, Any] = {
        "ms": _ms(statistics.median(one) for one in tokens),
        "mean_ms": _ms(statistics.mean(one) for one in tokens),
        "allowed": round(statistics.mean(own.share for _, own in pairs), 3),
    }
    for kind in ("allowed", "refused"):
        taken = [
            (statistics.median(times), statistics.median(free.allowed))
            for free, own in pairs
            if len(times := getattr(own, kind)) >= 3
        ]
        if taken:
            result[f"{kind}_ms"] = _ms(own for own, _ in taken)
            ratio = statistics.median(own / free for own, free in taken)
            result[f"{kind}_ratio"] = round(ratio, 3)
    return result


def measure_server(
    model: Path, cases: dict[str, Case], options: argparse.Namespace
) -> dict[str, Any]:
    """A llama-server's times, as it tells them."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    with llama_server(model, CONTEXT) as url, httpx.Client(timeout=600) as client:
        for _ in range(options.rounds // 2 + 1):
            for name, case in cases.items():
                numbers = [_ask(client, url, case, text, options) for text in case.prompts]
                total = sum(number["predicted_ms"] for number in numbers)
                taken[name].append(total / sum(number["predicted_n"] for number in numbers) / 1000)
    return _ratios(taken)


def _ask(
    client: httpx.Client, url: str, case: Case, text: str, options: argparse.Namespace
) -> dict[str, float]:
    body: dict[str, Any] = {"prompt": text, "n_predict": options.tokens, "seed": options.seed}
    if case.grammar:
        body["grammar"] = case.grammar
    if case.triggers:
        body["grammar_lazy"] = True
        body["preserved_tokens"] = list(case.triggers)
        body["grammar_triggers"] = [{"type": 1, "value": word} for word in case.triggers]
    answer = client.post(f"{url}/completion", json=body)
    answer.raise_for_status()
    timings: dict[str, float] = answer.json()["timings"]
    return timings


PEER = """
import json, sys, time
import llama_cpp
usual = llama_cpp.llama_model_default_params
def careful():
    params = usual()
    params.use_extra_bufts = False
    return params
llama_cpp.llama_model_default_params = llama_cpp.llama_cpp.llama_model_default_params = careful
asked = json.load(sys.stdin)
llama = llama_cpp.Llama(asked["model"], n_ctx=asked["context"], n_threads=1, verbose=False)
vocabulary = llama_cpp.llama_model_get_vocab(llama.model)
times = {name: [] for name in asked["cases"]}
for _ in range(asked["rounds"]):
    for name, case in asked["cases"].items():
        spent = count = 0
        for prompt in case["prompts"]:
            grammar = case["grammar"] and llama_cpp.LlamaGrammar.from_string(
                case["grammar"], verbose=False
            )
            llama.set_seed(asked["seed"])
            begin = None
            steps = llama.generate(
                llama.tokenize(prompt.encode(), special=True),
                top_k=40, top_p=0.95, min_p=0.05, temp=0.8, grammar=grammar,
            )
            for number, token in enumerate(steps):
                now = time.process_time()
                if begin is not None:
                    spent += now - begin
                    count += 1
                if number + 1 >= asked["tokens"] or llama_cpp.llama_vocab_is_eog(vocabulary, token):
                    break
                begin = time.process_time()
        times[name].append(spent / count)
print(json.dumps(times), flush=True)
import os
os._exit(0)
"""


def measure_peer(
    model: Path, cases: dict[str, Case], options: argparse.Namespace
) -> dict[str, Any]:
    """llama-cpp-python's times, of the loop that its `create_completion` runs on."""
    asked = {
        "model": str(model),
        "context": CONTEXT,
        "rounds": 2,
        "seed": options.seed,
        "tokens": options.tokens,
        "cases": {
            name: {"prompts": case.prompts, "grammar": case.grammar}
            for name, case in cases.items()
            if not case.triggers
        },
    }
    done = subprocess.run(
        [sys.executable, "-c", PEER],
        input=json.dumps(asked),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return _ratios(json.loads(done.stdout.splitlines()[-1]))


def _ratios(taken: dict[str, list[float]]) -> dict[str, Any]:
    return {
        name: {
            "ms": _ms(times),
            "ratio": round(
                statistics.median(
                    time / base for time, base in zip(times, taken["free"], strict=True)
                ),
                3,
            ),
        }
        for name, times in taken.items()
    }


def _ms(seconds: Any) -> float:
    return round(statistics.median(seconds) * 1000, 3)


def show(model: str, results: dict[str, Any]) -> None:
    """Print one model's table."""
    print(f"\n{model}")
    columns = f"{'ms/token':>9}{'mean':>8}{'allowed':>9}{'ms':>9}{'ratio':>7}{'refused ms':>12}"
    print(f"{'':20}{'case':8}{columns}")
    for engine, cases in results.items():
        for name, row in cases.items():
            if isinstance(row, str):
                print(f"{engine:20}{row}")
                break
            ratio = row.get("allowed_ratio", row.get("ratio", ""))
            share = f"{100 * row['allowed']:.0f} %" if "allowed" in row else ""
            print(
                f"{engine:20}{name:8}{row['ms']:9}{row.get('mean_ms', ''):>8}{share:>9}"
                f"{row.get('allowed_ms', ''):>9}{ratio:>7}{row.get('refused_ms', ''):>12}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models.split(","):
            make, cases = MODELS[name]
            model = make(Path(folder) / f"{name}.gguf")
            report[name] = {"llmgate": measure_ours(model, cases, options)}
            if not options.no_peers:
                report[name]["llama-cpp-python"] = measure_peer(model, cases, options)
                if find_spec("xllamacpp") is None:
                    report[name]["llama-server"] = {"": "xllamacpp is not installed"}
                else:
                    report[name]["llama-server"] = measure_server(model, cases, options)
            show(name, report[name])
    worst = max(
        row.get("allowed_ratio", 0.0)
        for engines in report.values()
        for row in engines["llmgate"].values()
    )
    print(f"\nWhere the choice is allowed, at most {worst} times free (target {TARGET}).")
    print(json.dumps({"worst_allowed_ratio": worst, "target": TARGET, "models": report}))


if __name__ == "__main__":
    main()
