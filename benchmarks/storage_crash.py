"""Kills a process that writes to a store, again and again, and looks at what is left.

    python -m benchmarks.storage_crash [--kills 1000] [--engine sqlite] [--engine file] [--seed 1]

Each time a process opens the store and writes documents, entries and transactions over both, 12
at a time, and says so after each that was acknowledged. It dies by SIGKILL at a random instant,
while it opens the store too. Then the store is opened again: what was acknowledged must be there,
and of everything else all or nothing. Prints JSON last.
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
from collections.abc import Iterable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from llmgate import storage
from llmgate.errors import Conflict
from llmgate.storage.files import engine

DOCUMENTS = 8
LONGEST = 0.2
# A journal is begun anew often, so that kills meet that as well.
JOURNAL = 1 << 17

Said = tuple[str, int, int]


def url_of(name: str, folder: Path) -> str:
    return f"sqlite:{folder}/store.db" if name == "sqlite" else f"file:{folder}/store"


def context() -> Any:
    """Processes that start fast, since what they need is imported already."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["llmgate.storage.files.engine", "llmgate.storage.sqlite"])
    return found


def write(url: str, seed: int, say: Connection) -> None:
    """Write until killed."""
    engine._LONGEST_JOURNAL = JOURNAL
    asyncio.run(_write(url, random.Random(seed), say))


async def _write(url: str, chance: random.Random, say: Connection) -> None:
    say.send_bytes(b"[]")
    records = await storage.open(url)
    await asyncio.gather(
        *(_documents(records, say, number, chance) for number in range(DOCUMENTS)),
        _entries(records, say, chance),
        _entries(records, say, chance),
        _both(records, say),
        _short_lived(records, chance),
    )


def _said(say: Connection, *what: object) -> None:
    say.send_bytes(json.dumps(what).encode())


async def _documents(
    records: storage.Records, say: Connection, number: int, chance: random.Random
) -> None:
    """One document that counts up; now and then it is deleted and made anew in one step."""
    key = f"documents/{number}"
    while True:
        found = await records.get(key)
        count = found.value["count"] + 1 if found else 1
        filler = "x" * chance.choice((1, 100, 20_000))
        if chance.random() < 0.2:
            async with records.transaction() as changes:
                changes.delete(key)
                changes.put(key, {"count": count, "filler": filler})
        else:
            version = found.version if found else 0
            await records.put(key, {"count": count, "filler": filler}, expected=version)
        _said(say, "document", number, count)


async def _entries(records: storage.Records, say: Connection, chance: random.Random) -> None:
    """Entries in threes."""
    while True:
        filler = "word " * chance.choice((0, 1, 2_000))
        positions = await records.append("entries", *([part, filler] for part in range(3)))
        _said(say, "entries", positions[0], positions[-1])


async def _both(records: storage.Records, say: Connection) -> None:
    """Two documents and a log that always say the same."""
    while True:
        try:
            async with records.transaction() as changes:
                found = await changes.get("both/a")
                count = found.value + 1 if found else 1
                changes.put("both/a", count)
                changes.put("both/b", count)
                await changes.append("both", count, count)
        except Conflict:
            continue
        _said(say, "both", count, count)


async def _short_lived(records: storage.Records, chance: random.Random) -> None:
    """Logs and documents that come and go."""
    while True:
        name = f"short/{chance.randrange(3)}"
        await records.append(name, 1, 2)
        await records.put(name, 1, expires=timedelta(seconds=chance.choice((0.01, 60))))
        async with records.transaction() as changes:
            changes.drop(name)
            changes.delete(name)


async def wrong(url: str, said: Iterable[Said]) -> list[str]:
    """What of the acknowledged is missing, and what is there by halves."""
    found: list[str] = []
    async with await storage.open(url) as records:
        health = await records.health()
        found += health.problems
        found += health.repaired
        documents: dict[int, int] = {}
        entries = both = 0
        for kind, number, count in said:
            if kind == "document":
                documents[number] = max(count, documents.get(number, 0))
            elif kind == "entries":
                entries = max(entries, count)
            else:
                both = max(both, count)
        for number, count in documents.items():
            document = await records.get(f"documents/{number}")
            if document is None or not count <= document.value["count"] <= count + 1:
                found.append(f"document {number} was at {count}, is {document and document.value}")
        parts, after = [], 0
        while page := await records.read("entries", after=after):
            parts += [entry.value[0] for entry in page]
            after = page[-1].position
        if len(parts) < entries or parts != [0, 1, 2] * (len(parts) // 3):
            found.append(f"{entries} entries were there, now {len(parts)}, or some are halves")
        a, b = await records.get("both/a"), await records.get("both/b")
        counts = [entry.value for entry in await records.read("both", limit=1_000_000)]
        at = a.value if a else 0
        if at < both or (b.value if b else 0) != at:
            found.append(f"both were at {both}, now {at} and {b and b.value}")
        if counts != [count for count in range(1, at + 1) for _ in range(2)]:
            found.append(f"both are at {at} and their log at {counts[-3:]}")
        for name in await records.logs("short/"):
            if (length := await records.end(name)) % 2:
                found.append(f"{name} has {length} entries")
    return found


def kill(url: str, seed: int, context: Any) -> tuple[list[Said], list[str]]:
    """Kill one writer; what it said last of each kind, and what is wrong after it."""
    chance = random.Random(seed)
    heard, say = context.Pipe(duplex=False)
    process = context.Process(target=write, args=(url, seed, say), daemon=True)
    process.start()
    say.close()
    heard.recv_bytes()
    die_at = time.monotonic() + chance.uniform(0, LONGEST)
    said: list[Said] = []
    while (left := die_at - time.monotonic()) > 0:
        if heard.poll(left):
            said.append(tuple(json.loads(heard.recv_bytes())))
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    try:
        while heard.poll(0):
            said.append(tuple(json.loads(heard.recv_bytes())))
    except (EOFError, OSError):
        pass
    heard.close()
    process.close()
    return said, asyncio.run(wrong(url, said))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--engine", action="append", choices=("sqlite", "file"))
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"kills": arguments.kills}
    print(f"{'engine':8} {'kills':>6} {'acknowledged':>13} {'lost or half':>13} {'seconds':>8}")
    for name in arguments.engine or ("sqlite", "file"):
        with tempfile.TemporaryDirectory() as folder:
            since, acknowledged, bad = time.monotonic(), 0, 0
            place = Path(folder)
            for number in range(arguments.kills):
                if number % 100 == 0:  # a store that grows forever only slows the looking
                    place = Path(folder, str(number))
                    place.mkdir()
                said, problems = kill(
                    url_of(name, place), arguments.seed * 1_000_003 + number, context()
                )
                acknowledged += len(said)
                bad += bool(problems)
                for problem in problems:
                    print(f"{name}, kill {number}: {problem}")
            seconds = time.monotonic() - since
        print(f"{name:8} {arguments.kills:6} {acknowledged:13} {bad:13} {seconds:8.1f}")
        result[name] = {"acknowledged": acknowledged, "bad": bad}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
