"""Kills a process that runs an agent, again and again, and looks at what is left.

    python -m benchmarks.agent_crash [--kills 300] [--seed 1]

Each time a process opens the agent, goes on with what was interrupted, and tells it one text after
the other; a scripted model answers each with four calls (`agent_story`). The process dies by
SIGKILL at a random instant, while it opens the agent, in the middle of a call and while old turns
are summarised too. Then the agent is opened again: every step that was shown must be there, every
text noted, put away and answered once, and no call made twice without its being said. Prints JSON
last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import signal
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks import agent_story

LONGEST = 1.0
# How many of the processes are killed while they run, not from their start on.
RUNNING = 0.8
# So short that turns leave the window every few texts.
CONTEXT = 4_500
# How many times one agent is killed, before the next one.
EACH = 20

Shown = tuple[int, str]


def context() -> Any:
    """Processes that start fast, since what they need is imported already."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["benchmarks.agent_story", "llmgate.agent.agent"])
    return found


def run(folder: Path, seconds: float, say: Connection) -> None:
    """Run the agent until killed."""
    asyncio.run(_run(folder, seconds, say))


async def _run(folder: Path, seconds: float, say: Connection) -> None:
    say.send_bytes(b"[]")
    async with await agent_story.home_at(folder, context=CONTEXT, seconds=seconds) as home:
        agent = await agent_story.opened(home)
        say.send_bytes(b"[]")
        number = max(0, len(await agent_story.said(home)) - 1)
        while True:
            async for step in agent_story.told(agent, f"text {number:04}"):
                if step.call is not None:
                    say.send_bytes(json.dumps([step.number, step.call.id]).encode())
            number += 1


def kill(folder: Path, seed: int, context: Any) -> tuple[list[Shown], bool]:
    """Kill one run at a random instant: the steps that it showed, and whether it was killed."""
    chance = random.Random(seed)
    heard, say = context.Pipe(duplex=False)
    seconds = chance.choice((0.0, 0.01, 0.05))
    process = context.Process(target=run, args=(folder, seconds, say), daemon=True)
    process.start()
    say.close()
    heard.recv_bytes()
    shown: list[Shown] = []
    try:
        if chance.random() < RUNNING:
            heard.recv_bytes()
        die_at = time.monotonic() + chance.uniform(0, LONGEST)
        while (left := die_at - time.monotonic()) > 0:
            if heard.poll(left):
                _hear(heard, shown)
    except (EOFError, OSError):
        pass  # it ended by itself, which its exit code tells
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    killed = process.exitcode == -signal.SIGKILL
    try:
        while heard.poll(0):
            _hear(heard, shown)
    except (EOFError, OSError):
        pass
    heard.close()
    process.close()
    return shown, killed


def _hear(heard: Connection, shown: list[Shown]) -> None:
    if said := json.loads(heard.recv_bytes()):
        shown.append(tuple(said))


async def looked_at(folder: Path, shown: list[Shown], *, finish: bool) -> list[str]:
    """What is wrong with the agent that was killed; `finish` lets it go on to its end before."""
    async with await agent_story.home_at(folder, context=CONTEXT) as home:
        if agent_story.NAME not in await home.agents():
            return ["steps were shown of an agent that is not there"] if shown else []
        if finish:
            agent = await agent_story.opened(home)
            async for _ in agent.run(None):
                pass
            if agent.pending:
                return ["it does not come to an end"]
        return await agent_story.wrong(home, folder, shown)


def kill_often(folder: Path, seed: int, times: int, context: Any) -> tuple[int, list[str]]:
    """Kill one agent so often: how many steps it showed, and what was wrong."""
    agent_story.furnish(folder)
    shown: list[Shown] = []
    problems: list[str] = []
    for number in range(times):
        steps, killed = kill(folder, seed + number, context)
        shown += steps
        if not killed:
            problems.append(f"kill {number}: it ended by itself")
        found = asyncio.run(looked_at(folder, shown, finish=number == times - 1))
        problems += [f"kill {number}: {problem}" for problem in found]
    return len(shown), problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    since, steps, bad = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory() as folder:
        for first in range(0, arguments.kills, EACH):
            times = min(EACH, arguments.kills - first)
            seed = arguments.seed * 1_000_003 + first
            shown, problems = kill_often(Path(folder, str(first)), seed, times, context())
            steps += shown
            bad += problems
            for problem in problems:
                print(f"agent {first // EACH}, {problem}")
            print(f"{first + times} kills, {steps} steps shown, {len(bad)} problems", flush=True)
    seconds = round(time.monotonic() - since, 1)
    print(
        json.dumps({"kills": arguments.kills, "steps": steps, "bad": len(bad), "seconds": seconds})
    )


if __name__ == "__main__":
    main()
