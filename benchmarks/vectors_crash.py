"""Kills a process that writes passages, again and again, and looks at what is left.

    python -m benchmarks.vectors_crash [--kills 1000] [--seed 1]

Each time a process opens the store and inserts documents of three passages, deletes some, gives
vectors to others and searches, and says so after each write that was acknowledged. It dies by
SIGKILL at a random instant, often while a matrix is being written. Then the store is opened again:
what was acknowledged must be there, of everything else all or nothing, and a search must find
exactly what a plain computation over all passages finds. Prints JSON last.
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
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from llmgate.storage import matrix
from llmgate.storage.passages import Passage, Vectors
from llmgate.storage.vectors import open_vectors

LONGEST = 0.25
PATIENCE = 20
DIMENSION = 16
# Matrices are written often, so that kills meet that as well.
FEWEST = 20
PARTS = 3

Said = tuple[str, str]


def context() -> Any:
    """Processes that start fast, since what they need is imported already."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(
        ["llmgate.storage.sqlite_vectors", "llmgate.storage.matrix", "numpy"]
    )
    return found


def write(url: str, seed: int, say: Connection) -> None:
    """Write until killed."""
    matrix._FEWEST = FEWEST
    asyncio.run(_write(url, random.Random(seed), say))


async def _write(url: str, chance: random.Random, say: Connection) -> None:
    say.send_bytes(b"[]")
    archive = await open_vectors(url, collection="agent/ann")
    await asyncio.gather(
        *(_documents(archive, say, chance, number) for number in range(3)),
        _search(archive, chance),
    )


async def _documents(archive: Vectors, say: Connection, chance: random.Random, number: int) -> None:
    """Documents that come whole, some without vectors at first; now and then one goes."""
    kept: list[str] = []
    while True:
        name = f"{number}-{chance.getrandbits(64):x}"
        passages = [
            Passage(
                f"document {name} part {part} {'word ' * chance.choice((1, 50, 2_000))}",
                f"{name}/{part}",
                _vector(chance),
                name,
                {"part": part},
            )
            for part in range(PARTS)
        ]
        if chance.random() < 0.3:
            bare = [Passage(one.text, one.id, None, name, one.metadata) for one in passages]
            await archive.insert_many(bare)
            _said(say, "bare", name)
        await archive.insert_many(passages)
        _said(say, "stored", name)
        kept.append(name)
        if len(kept) > 3 and chance.random() < 0.4:
            gone = kept.pop(chance.randrange(len(kept)))
            _said(say, "going", gone)
            await archive.delete(*(f"{gone}/{part}" for part in range(PARTS)))
            _said(say, "gone", gone)


async def _search(archive: Vectors, chance: random.Random) -> None:
    while True:
        await archive.query(_vector(chance), "document part")
        await asyncio.sleep(0.002)


def _vector(chance: random.Random) -> tuple[float, ...]:
    return tuple(chance.gauss(0, 1) for _ in range(DIMENSION))


def _said(say: Connection, *what: str) -> None:
    say.send_bytes(json.dumps(what).encode())


async def wrong(url: str, said: Iterable[Said]) -> list[str]:
    """What of the acknowledged is missing, what is there by halves, and what is not found."""
    found: list[str] = []
    async with await open_vectors(url, collection="agent/ann") as archive:
        health = await archive.health()
        found += health.problems
        found += health.repaired
        passages = [one async for page in archive.all() for one in page]
        documents: dict[str, list[Passage]] = {}
        for passage in passages:
            documents.setdefault(str(passage.doc_id), []).append(passage)
        for name, parts in documents.items():
            if len(parts) != PARTS or len({part.embedding is None for part in parts}) > 1:
                found.append(f"document {name} is there by halves")
        state = {name: kind for kind, name in said}
        for name, kind in state.items():
            bare = [part for part in documents.get(name, ()) if part.embedding is None]
            if kind in ("stored", "bare") and name not in documents:
                found.append(f"document {name} was stored and is not there")
            if kind == "stored" and bare:
                found.append(f"document {name} has lost its vectors")
            if kind == "gone" and name in documents:
                found.append(f"document {name} was deleted and is there")
        found += await _unfound(archive, passages)
    return found


async def _unfound(archive: Vectors, passages: list[Passage]) -> list[str]:
    import numpy as np

    vectors = {one.id: one.embedding for one in passages if one.embedding is not None}
    query = _vector(random.Random(len(vectors)))
    names = list(vectors)
    found = [hit.passage.id for hit in await archive.query(query, top_k=20)]
    if names:
        rows = np.array(list(vectors.values()))
        cosines = rows @ np.array(query) / np.linalg.norm(rows, axis=1)
        wanted = [names[place] for place in np.argsort(-cosines, kind="stable")[:20]]
        if found != wanted:
            return [f"the nearest are {wanted}, and found were {found}"]
    elif found:
        return [f"{found} were found and are not there"]
    count = await archive.size(text="document")
    return [] if count == len(passages) else [f"{count} texts of {len(passages)} are found"]


def kill(url: str, seed: int, context: Any) -> tuple[list[Said], list[str]]:
    """Kill one writer; what it said, and what is wrong after it."""
    chance = random.Random(seed)
    heard, say = context.Pipe(duplex=False)
    process = context.Process(target=write, args=(url, seed, say), daemon=True)
    process.start()
    say.close()
    heard.recv_bytes()
    said: list[Said] = []
    # Some die while they open the store; on a busy machine most would, if none were waited for.
    if chance.random() < 0.7 and heard.poll(PATIENCE):
        said.append(tuple(json.loads(heard.recv_bytes())))
    die_at = time.monotonic() + chance.uniform(0, LONGEST)
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
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    since, acknowledged, bad = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for number in range(arguments.kills):
            if number % 50 == 0:  # a store that grows forever only slows the looking
                place = Path(folder, str(number))
                place.mkdir()
            seed = arguments.seed * 1_000_003 + number
            said, problems = kill(f"sqlite:{place}/vectors.db", seed, context())
            acknowledged += len(said)
            bad += bool(problems)
            for problem in problems:
                print(f"kill {number}: {problem}")
    seconds = time.monotonic() - since
    print(f"{arguments.kills} kills, {acknowledged} acknowledged, {bad} bad, {seconds:.1f} s")
    print(json.dumps({"kills": arguments.kills, "acknowledged": acknowledged, "bad": bad}))


if __name__ == "__main__":
    main()
