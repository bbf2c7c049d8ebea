"""What `llmgate bench` costs beside the calls it makes, and what memory many cells take.

    python -m benchmarks.bench_cost [--cases 1000] [--rounds 7] [--cells 10000]

A scripted backend answers at once. The same requests go through a gateway alone and through a
whole run (judged, written, synced), in turns; the difference of the medians is the harness. Then
one run of many cells tells the peak of memory at every tenth of it. Prints JSON last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from llmgate.backends.scripted import ScriptedBackend
from llmgate.bench.asking import Plan
from llmgate.bench.cases import Case, Expect, ExpectedCall
from llmgate.bench.cells import Choice, Group, matrix
from llmgate.bench.journal import Done, Journal, Run
from llmgate.bench.judge import judge
from llmgate.bench.runner import Runner
from llmgate.config import ModelSettings, Settings
from llmgate.gateway import Gateway, Route
from llmgate.types import Caps, Message, Request, Sampling, Tool
from llmgate.wrappers import open_wrapper

TOOL = Tool(
    "get_weather",
    "The weather of a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
)
ANSWER = '{"function": "get_weather", "params": {"city": "Paris", "days": 3}}'
CAPS = Caps(grammar=True, tokenize=True, triggers=True)


def case_of(number: int) -> Case:
    expect = Expect("calls", (ExpectedCall("get_weather", {"city": ["Paris"], "days": [3]}),))
    question = f"Question {number}: the weather in Paris, for three days?"
    return Case(str(number), (Message("user", question),), expect, "cost", (TOOL,))


def backend() -> ScriptedBackend:
    said = ScriptedBackend(lambda prompt: ANSWER.removeprefix(prompt.prefill), caps=CAPS)
    # Its memory of what it was asked is none of the harness's.
    said.prompts = _Forgetful()
    return said


class _Forgetful(list[Any]):
    def append(self, _: Any) -> None:
        pass


async def gateway_alone(cases: list[Case]) -> float:
    """Milliseconds of processor for each call."""
    route = Route(backend(), open_wrapper("chatml"))
    texts: list[str] = []
    async with Gateway({"m": route}) as gateway:
        start = time.process_time()
        for case in cases:
            messages = (Message("system", f"Conversation {int(case.id):08x}."), *case.messages)
            request = Request(
                "m", messages, case.tools, parallel=True, sampling=Sampling(max_tokens=256, seed=1)
            )
            await gateway.complete(request, lambda prompt, text: texts.append(text))
            texts.clear()
        return (time.process_time() - start) / len(cases) * 1000


async def whole_run(
    folder: Path, groups: tuple[Group, ...], cases: list[Case], marks: int = 0
) -> tuple[float, list[float]]:
    """Milliseconds of processor for each call, and the peak of memory (MiB) at each mark."""
    peaks: list[float] = []
    plan = Plan()
    start = time.process_time()
    with Journal.open(folder, Run.of(plan, cases, groups), Done(cases, 1)) as journal:
        runner = Runner(groups, cases, plan, journal, judge, opened=lambda *_: backend())
        running = asyncio.create_task(runner.run())
        total = runner.progress.total
        while marks and len(peaks) < marks and not running.done():
            await asyncio.sleep(0.01)
            while len(peaks) < runner.progress.done * marks // total:
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        await running
    assert runner.progress.outcomes["right"] == total, runner.progress.outcomes
    return (time.process_time() - start) / total * 1000, peaks


def groups_of(models: int, wrappers: tuple[str, ...]) -> tuple[Group, ...]:
    settings = ModelSettings(backend="scripted", path="-")
    choice = Choice(wrappers=wrappers, constraints=("off", "grammar"))
    named = {f"model{number}": settings for number in range(models)}
    return matrix(Settings(models=named), choice)[0]


async def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    cases = [case_of(number) for number in range(arguments.cases)]
    one = groups_of(1, ("chatml",))
    alone, whole = [], []
    grammar = (Group(one[0].model, one[0].settings, one[0].cells[1:]),)
    for number in range(arguments.rounds):
        alone.append(await gateway_alone(cases))
        whole.append((await whole_run(folder / str(number), grammar, cases))[0])
    calls, run = statistics.median(alone), statistics.median(whole)
    print(f"gateway alone  {calls:7.3f} ms a call\nwhole run      {run:7.3f} ms a call")
    print(f"harness        {run - calls:7.3f} ms a call")
    wrappers = ("airoboros", "chatml", "dolphin", "zephyr")
    groups = groups_of(arguments.cells // 8, wrappers)
    each, peaks = await whole_run(folder / "many", groups, cases[:2], marks=10)
    shown = " ".join(f"{peak:.0f}" for peak in peaks)
    print(f"{arguments.cells} cells, {each:.2f} ms a call; peak of memory, MiB, by tenths: {shown}")
    return {
        "gateway_ms": round(calls, 4),
        "run_ms": round(run, 4),
        "harness_ms": round(run - calls, 4),
        "cells": arguments.cells,
        "peak_mib": [round(peak, 1) for peak in peaks],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cells", type=int, default=10_000)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(measure(arguments, Path(folder)))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
