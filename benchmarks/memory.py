"""What an agent's memory costs as it grows: the same questions at 1,000, 10,000, 100,000 rows.

    python -m benchmarks.memory [--rows 1000 10000 100000] [--queries 200] [--seed 1]

For each size an agent gets so many messages and so many passages with vectors of 384 dimensions,
in SQLite on the disk. Then are measured, by the clock, one after the other in one process:

- recall: a text search over all messages, first page, words of all frequencies
- archival: a search by vector and words together, first page, over all passages; the vector of
  the question is given, so that no model's time is in it. Beside it how many of the exact ten
  nearest (by numpy, over the same vectors) a search by vector finds, and how long the bare
  multiplication takes, which tells how busy the machine's memory is.
- resume: opening the store and the agent, with the 60 messages of its window
- step: one step of the agent with a model that answers at once: an event in, the prompt, a call,
  its result, all of it stored
- prompt: what is done to a history of 100,000 tokens before each answer (fitting it into the
  window, and writing it out), while it grows by three messages each time

Beside the clock's milliseconds stand some of the processor's (`cpu`), which say more on a machine
that others use too. 1,000,000 rows take minutes and 4 GB. Prints a table, a plot and JSON last;
exits with 1 where a limit is broken at 100,000 rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.memory_data import DIMENSION, Vectors, Words, history, messages, passages, recall
from llmgate.agent import Agent, Home, UserMessage, prompt
from llmgate.agent.window import Fitter
from llmgate.backends import Backend
from llmgate.backends.base import Completes
from llmgate.config import AgentSettings, ModelSettings, Settings, StorageSettings
from llmgate.gateway import Gateway, Route
from llmgate.memory.archival import Archival
from llmgate.memory.conversation import Window
from llmgate.storage.passages import Vectors as Collection
from llmgate.types import Caps, Delta, Embeddings, Prompt, Usage
from llmgate.wrappers import Wrapper

NAME = "ann"
WINDOW_MESSAGES = 60
# 100,000 tokens of English.
CHARACTERS = 400_000
TOGETHER = 5_000
# In milliseconds, at 100,000 rows; the last one is a part of 1.
LIMITS = {
    "recall_p95": 20.0,
    "archival_p95": 30.0,
    "resume_max": 50.0,
    "step_p50": 3.0,
    "prompt_p50": 5.0,
}
LEAST_RECALL = 0.98
AT = 100_000


class Costs(msgspec.Struct):
    """Milliseconds at one size."""

    rows: int
    fill_seconds: float = 0.0
    recall_p50: float = 0.0
    recall_p95: float = 0.0
    recall_cpu_p95: float = 0.0
    archival_p50: float = 0.0
    archival_p95: float = 0.0
    archival_cpu_p95: float = 0.0
    archival_recall_at_10: float = 0.0
    numpy_p50: float = 0.0
    resume_p50: float = 0.0
    resume_max: float = 0.0
    step_p50: float = 0.0
    step_p95: float = 0.0
    step_cpu_p50: float = 0.0


class Timer:
    """Milliseconds by the clock, and of all of this process's threads on the processor."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.worked: list[float] = []

    async def __call__(self, work: Awaitable[Any]) -> Any:
        start, cpu = time.perf_counter(), time.process_time()
        result = await work
        self.taken.append((time.perf_counter() - start) * 1000)
        self.worked.append((time.process_time() - cpu) * 1000)
        return result

    @property
    def p50(self) -> float:
        return round(statistics.median(self.taken), 2)

    @property
    def p95(self) -> float:
        return round(_p95(self.taken), 2)

    @property
    def cpu_p50(self) -> float:
        return round(statistics.median(self.worked), 2)

    @property
    def cpu_p95(self) -> float:
        return round(_p95(self.worked), 2)

    @property
    def most(self) -> float:
        return round(max(self.taken), 2)


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


class Instant(Completes):
    """A model that answers every prompt at once with the same call, and counts as fast."""

    name = "instant"
    caps = Caps(grammar=True, tokenize=True, context=400_000)
    answer = '{"function": "send_message", "params": {"message": "It is on its way."}}'

    async def start(self) -> None:
        """Nothing to do."""

    async def complete(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        yield Delta(self.answer)
        yield Delta(finish="stop", usage=Usage(len(prompt.text) // 4, 20))

    async def count(self, text: str) -> int:
        return len(text) // 4

    async def health(self) -> None:
        """Well."""

    async def aclose(self) -> None:
        """Nothing to do."""


def gateway_of(backend: Backend, **options: Any) -> Gateway:
    return Gateway({"m": Route(backend, Wrapper.load("chatml", options))})


def settings_of(folder: Path) -> Settings:
    return Settings(
        models={"m": ModelSettings(backend="scripted")},
        storage=StorageSettings(
            f"sqlite:{folder / 'agents.db'}", f"sqlite:{folder / 'vectors.db'}"
        ),
        agent=AgentSettings(first_message=False, window=32_000),
    )


@asynccontextmanager
async def home_of(folder: Path) -> Any:
    gateway = gateway_of(Instant())
    async with await Home.open(settings_of(folder), gateway=gateway) as home:
        yield home


async def fill(folder: Path, rows: int, seed: int) -> np.ndarray:
    """An agent with so many messages and passages; returns the passages' vectors."""
    words, vectors = Words(seed), Vectors(seed)
    kept: list[np.ndarray] = []
    async with home_of(folder) as home:
        agent = await Agent.create(home, NAME)
        conversation = agent.conversation
        made = list(messages(rows - rows % 3, words))
        for start in range(0, len(made), TOGETHER):
            async with home.records.transaction() as tx:
                await conversation.append(tx, *made[start : start + TOGETHER])
        window = await conversation.window()
        assert window is not None
        async with home.records.transaction() as tx:
            # Its first message is an event: they come in threes.
            start = await conversation.end() - WINDOW_MESSAGES + 1
            conversation.put_window(tx, Window(window.head, start))
        collection = await home.open_collection(f"agent/{NAME}")
        for first in range(0, rows, TOGETHER):
            some = vectors.some(min(TOGETHER, rows - first))
            await collection.insert_many(passages(some, first, words))
            kept.append(some)
        await settle(agent)
    return np.concatenate(kept)


async def settle(agent: Agent) -> None:
    """Let it take the login event that waits."""
    async with aclosing(agent.run(None)) as steps:
        async for _ in steps:
            pass


async def measured(folder: Path, rows: int, queries: int, seed: int) -> Costs:
    costs = Costs(rows)
    start = time.perf_counter()
    kept = await fill(folder, rows, seed)
    costs.fill_seconds = round(time.perf_counter() - start, 1)
    words, vectors = Words(seed + 1), Vectors(seed)
    questions = [words.text(1, 3) for _ in range(queries)]
    asked = vectors.near(kept, queries)

    resume = Timer()
    for _ in range(10):
        await resume(_resumed(folder))
    costs.resume_p50, costs.resume_max = resume.p50, resume.most

    async with home_of(folder) as home:
        agent = await Agent.open(home, NAME)
        await _searched(costs, agent, questions)
        collection = await home.open_collection(f"agent/{NAME}")
        await _archival(costs, collection, questions, asked, kept)
        steps = Timer()
        for number in range(60):
            await steps(_step(agent, f"Where is order {number}?"))
        costs.step_p50, costs.step_p95, costs.step_cpu_p50 = steps.p50, steps.p95, steps.cpu_p50
    return costs


async def _resumed(folder: Path) -> None:
    async with home_of(folder) as home:
        agent = await Agent.open(home, NAME)
        _, logged, _ = await agent.conversation.load()
        assert len(logged) >= WINDOW_MESSAGES


async def _searched(costs: Costs, agent: Agent, questions: Sequence[str]) -> None:
    await agent.recall.search(questions[0])
    timer = Timer()
    for question in questions:
        await timer(agent.recall.search(question))
    costs.recall_p50, costs.recall_p95 = timer.p50, timer.p95
    costs.recall_cpu_p95 = timer.cpu_p95


async def _archival(
    costs: Costs,
    collection: Collection,
    questions: Sequence[str],
    asked: np.ndarray,
    kept: np.ndarray,
) -> None:
    vectors = {text: tuple(vector.tolist()) for text, vector in zip(questions, asked, strict=True)}

    async def embed(texts: Sequence[str]) -> Embeddings:
        return Embeddings(tuple(vectors[text] for text in texts))

    async def opened(name: str) -> Collection:
        return collection

    archival = Archival(opened, NAME, embed=embed)
    await archival.search(questions[0])
    timer = Timer()
    for question in questions:
        page = await timer(archival.search(question))
        assert page.found, page
        assert not page.notes, page
    costs.archival_p50, costs.archival_p95 = timer.p50, timer.p95
    costs.archival_cpu_p95 = timer.cpu_p95
    found, exact = [], []
    plain: list[float] = []
    for vector in asked:
        hits = await collection.query(vector, top_k=10)
        found.append([hit.passage.id for hit in hits])
        start = time.perf_counter()
        scores = kept @ vector
        plain.append((time.perf_counter() - start) * 1000)
        exact.append([f"p{number}" for number in np.argpartition(scores, -10)[-10:]])
    costs.numpy_p50 = round(statistics.median(plain), 2)
    costs.archival_recall_at_10 = round(recall(found, exact), 4)


async def _step(agent: Agent, said: str) -> None:
    async with aclosing(agent.run(UserMessage(said))) as steps:
        async for step in steps:
            assert step.ok, step


async def prompts(turns: int, seed: int) -> dict[str, float]:
    """What each prompt of a long history costs before it is sent."""
    told = history(CHARACTERS * 21 // 20, Words(seed))
    first = len(told) * 20 // 21 // 3 * 3
    logged, more = told[:first], told[first:]
    backend = Instant()
    wrapper = Wrapper.load("chatml", {"inner_thoughts": "inside"})
    gateway = Gateway({"m": Route(backend, wrapper)})
    with tempfile.TemporaryDirectory() as folder:
        async with home_of(Path(folder)) as home:
            tools = prompt.sorted_tools(one.tool for one in home.functions.values())
    fitter = Fitter(gateway, AgentSettings(), clock=lambda: logged[0].at)
    fit, render = Timer(), Timer()
    size = 0

    async def head(room: int | None = None) -> str:
        return "You are Iris. " * 300

    async def rendered(request: Any) -> int:
        return len(wrapper.render(request, backend.caps).text)

    for turn in range(turns):
        parts = prompt.Parts(
            NAME, "m", Window(await head(), 1), logged + more[: 3 * turn], tools=tools
        )
        fitted = await fit(fitter.fit(parts, head=head))
        assert fitted.compacted is None
        size = await render(rendered(fitted.request))
        if turn == 0:
            # The first one is the resume's, not that of a turn.
            fit, render = Timer(), Timer()
    both = Timer()
    both.taken = [one + other for one, other in zip(fit.taken, render.taken, strict=True)]
    both.worked = [one + other for one, other in zip(fit.worked, render.worked, strict=True)]
    return {
        "messages": len(logged),
        "characters": size,
        "fit_p50": fit.p50,
        "render_p50": render.p50,
        "prompt_p50": both.p50,
        "prompt_p95": both.p95,
        "prompt_cpu_p50": both.cpu_p50,
    }


def table(found: Sequence[Costs]) -> None:
    names = [name for name in Costs.__struct_fields__ if name != "rows"]
    print(f"{'':24}" + "".join(f"{one.rows:>12,}" for one in found) + "   rows")
    for name in names:
        limit = f"   <= {LIMITS[name]:g} ms at {AT:,}" if name in LIMITS else ""
        print(f"{name:24}" + "".join(f"{getattr(one, name):>12}" for one in found) + limit)


def plot(found: Sequence[Costs]) -> None:
    """Milliseconds, each mark ten times as wide as four marks before it."""
    print("\nms, logarithmic: 0.1 | 1 | 10 | 100")
    for name in ("recall_p95", "archival_p95", "resume_p50", "step_p50"):
        for one in found:
            value = max(getattr(one, name), 0.1)
            bar = "#" * round(10 * (np.log10(value) + 1))
            print(f"  {name:14}{one.rows:>10,} {bar:32} {value}")


async def run(options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    found: list[Costs] = []
    before = os.getloadavg()[0]
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            found.append(await measured(Path(folder), rows, options.queries, options.seed))
            say(f"{rows:,} rows: filled in {found[-1].fill_seconds} s")
    long = await prompts(20, options.seed)
    table(found)
    print(f"\na prompt of {long['characters']:,} characters, {long['messages']:,} messages:", long)
    plot(found)
    broken = [
        f"{name} {getattr(one, name)} ms > {limit:g} ms"
        for one in found
        for name, limit in LIMITS.items()
        if one.rows == AT and name in Costs.__struct_fields__ and getattr(one, name) > limit
    ]
    broken += [
        f"recall@10 {one.archival_recall_at_10}"
        for one in found
        if one.archival_recall_at_10 < LEAST_RECALL
    ]
    if long["prompt_p50"] > LIMITS["prompt_p50"]:
        broken.append(f"prompt_p50 {long['prompt_p50']} ms > {LIMITS['prompt_p50']:g} ms")
    return {
        "dimensions": DIMENSION,
        "load": [round(load, 1) for load in (before, os.getloadavg()[0])],
        "sizes": [msgspec.structs.asdict(one) for one in found],
        "prompt": long,
        "broken": broken,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = asyncio.run(run(options, lambda line: print(line, file=sys.stderr)))
    print(json.dumps(found))
    if found["broken"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
