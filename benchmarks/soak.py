"""A gateway under random trouble for a while: does anything leak, does it answer at the end?

    python -m benchmarks.soak [--seconds 600] [--clients 8] [--seed 1]

Made-up servers that fail in random ways (the faults of the tests), are closed and opened again, a
real llama-server and the embedded engine that are killed; clients that ask, stream, leave in the
middle and ask for what can't be answered; replicas, weights, fallbacks, retries, queues, a cache
and keys with limits. All in one process, so that its tasks, sockets and files can be counted:
once after the first part, once at the end, when nobody asks for anything. Prints JSON last.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import json
import logging
import os
import random
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import uvicorn

_TESTS = Path(__file__).parent.parent / "tests"
sys.path[:0] = [str(_TESTS / "faults"), str(_TESTS / "backends")]

from benchmarks.soak_clients import KEY, Clients  # noqa: E402
from benchmarks.soak_upstreams import Trouble  # noqa: E402
from llmgate.config import KeySettings, ModelSettings, ServerSettings, Settings  # noqa: E402
from llmgate.gateway import Gateway  # noqa: E402
from llmgate.server.app import build  # noqa: E402
from llmgate.server.serve import Server  # noqa: E402
from llmgate.server.watch import Closing  # noqa: E402

_PAGE = os.sysconf("SC_PAGE_SIZE")
# What memory is measured against comes after so much of the time.
_WARM_UP = 0.3
# So often in each of the two parts it is looked at how much memory there is.
_PARTS = 10
# Idle connections are closed by then, and what was abandoned has ended.
_SETTLED = 8.0


@dataclass
class Counted:
    """What the process holds: tasks by what they do, open files by their kind, memory."""

    tasks: Counter[str]
    files: Counter[str]
    rss_mb: float


@dataclass
class Report:
    """How it went: `leaked_*` are what there is more of than after the warm-up.

    `rss_mb` is the memory in the course of both parts.
    """

    seconds: float
    requests: dict[str, int]
    happened: dict[str, int]
    wrong: list[str]
    wrong_at_the_end: list[str]
    rss_mb: list[float]
    rss_warm_mb: float
    rss_end_mb: float
    leaked_tasks: dict[str, int] = field(default_factory=dict)
    leaked_files: dict[str, int] = field(default_factory=dict)

    @property
    def grown_mb(self) -> float:
        """By how much the memory has grown since the warm-up."""
        return self.rss_end_mb - self.rss_warm_mb


async def soak(seconds: float, clients: int = 8, seed: int = 1) -> Report:
    """Keep it up for so long, and see what is left."""
    chance = random.Random(seed)
    rss: list[float] = []
    trouble = Trouble(chance)
    models = await trouble.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            async with serving(models, Path(folder)) as port:
                asking = Clients(port, list(models), chance)
                # Everything has been used once.
                await _busy(trouble, asking, clients, seconds * _WARM_UP, rss)
                await trouble.recover()
                await asking.ask_all()
                before = await settled(trouble)
                trouble.healthy = False
                await _busy(trouble, asking, clients, seconds * (1 - _WARM_UP), rss)
                await trouble.recover()
                await asyncio.sleep(1.0)
                wrong = await asking.ask_all()
                after = await settled(trouble, before)
    finally:
        await trouble.aclose()
    return Report(
        seconds,
        dict(sorted(asking.seen.items())),
        trouble.happened,
        asking.wrong,
        wrong,
        rss,
        before.rss_mb,
        after.rss_mb,
        dict(after.tasks - before.tasks),
        dict(after.files - before.files),
    )


@asynccontextmanager
async def serving(models: dict[str, ModelSettings], folder: Path) -> AsyncIterator[int]:
    """The port of a gateway with these models, as `llmgate serve` runs it."""
    keys = {
        "many": KeySettings(KEY),
        "few": KeySettings("key-of-few", requests=30, models=("cached",)),
    }
    server = ServerSettings(keys=keys, max_body=200_000, usage_log=str(folder / "usage.jsonl"))
    gateway = Gateway.open(Settings(server=server, models=models))
    closing = Closing()
    app = build(gateway, server, closing=closing)
    config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="on")
    running = Server(config, closing)
    # It can be connected to from now on, and answers once it is up.
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    task = asyncio.create_task(running.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        running.should_exit = True
        await task


async def _busy(
    trouble: Trouble, asking: Clients, clients: int, seconds: float, rss: list[float]
) -> None:
    """Everything at once, for so long."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asking.go_on()) for _ in range(clients)]
        tasks.append(group.create_task(trouble.go_on()))
        for _ in range(_PARTS):
            await asyncio.sleep(seconds / _PARTS)
            trouble.forget()
            rss.append(round(rss_mb(), 1))
        for task in tasks:
            task.cancel()


async def settled(trouble: Trouble, least: Counted | None = None) -> Counted:
    """What is held once nothing happens any more: as soon as it is no more than before."""
    trouble.forget()
    gc.collect()
    _trim()
    deadline = asyncio.get_running_loop().time() + _SETTLED
    while True:
        await asyncio.sleep(0.5)
        now = counted()
        over = asyncio.get_running_loop().time() >= deadline
        more = least is None or now.tasks - least.tasks or now.files - least.files
        if over or not more:
            return now


def counted() -> Counted:
    """What the process holds at the moment."""
    own = asyncio.current_task()
    tasks = Counter(
        getattr(task.get_coro(), "__qualname__", "?")
        for task in asyncio.all_tasks()
        if task is not own
    )
    files: Counter[str] = Counter()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            files[os.readlink(entry).partition(":")[0]] += 1
    return Counted(tasks, files, rss_mb())


def _trim() -> None:
    """Give back what is free: glibc keeps it once there were blocks of many megabytes."""
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def rss_mb() -> float:
    """The memory that the process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    # What fails here fails on purpose.
    logging.disable(logging.ERROR)
    report = asyncio.run(soak(given.seconds, given.clients, given.seed))
    for what, number in {**report.requests, **report.happened}.items():
        print(f"{what:40} {number:8}")
    for problem in [*report.wrong, *report.wrong_at_the_end][:20]:
        print("WRONG", problem)
    summary = asdict(report)
    summary |= {
        "wrong": len(report.wrong),
        "wrong_at_the_end": len(report.wrong_at_the_end),
        "total": sum(report.requests.values()),
        "grown_mb": round(report.grown_mb, 1),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
