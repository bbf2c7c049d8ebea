"""Results as a run would write them, drawn from a seed, for the tests of scores and reports."""

from __future__ import annotations

import random

from llmgate.bench.result import Call, Result

WRONG = ("wrong_function", "wrong_arguments", "missing_call", "invalid")


def result(**given):
    """A right result, with what is given in its place."""
    values = {
        "model": "tiny",
        "backend": "embedded",
        "wrapper": "chatml",
        "options": "{}",
        "constraint": "grammar",
        "suite": "calls",
        "case": "c1",
        "sample": 0,
        "seed": 1,
        "expect": "calls",
        "outcome": "right",
        "calls": (Call("add", '{"a":1}'),),
        "prompt": "<|user|>add 1",
        "output": '{"name":"add","arguments":{"a":1}}',
        "tokens_in": 100,
        "tokens_out": 11,
        "cached": 40,
        "first_token": 0.1,
        "seconds": 1.1,
    }
    return Result(**{**values, **given})


def asked(share, *, cases=60, samples=1, seed=0, **cell):
    """The results of one cell that is right with the probability `share`, case by case."""
    for case in range(cases):
        for sample in range(samples):
            # The luck of a case is the same for all cells of a seed: they are compared in pairs.
            hard = random.Random(f"{seed} {case} {sample}").random()
            own = random.Random(f"{seed} {case} {sample} {sorted(cell.items())}")
            kind = "calls" if case % 4 else "no_call"
            right = 0.7 * hard + 0.3 * own.random() < share
            wrong = own.choice(WRONG) if kind == "calls" else "unwanted_call"
            yield result(
                suite="irrelevance" if kind == "no_call" else "calls",
                case=f"c{case:03}",
                sample=sample,
                seed=seed + sample,
                expect=kind,
                outcome="right" if right else wrong,
                problems=() if right else (f"{wrong} of case {case}",),
                repairs=int(own.random() < 0.1),
                retries=int(own.random() < 0.05),
                tokens_in=own.randint(80, 900),
                tokens_out=own.randint(5, 60),
                first_token=own.uniform(0.01, 0.4),
                seconds=own.uniform(0.5, 3.0),
                **cell,
            )
