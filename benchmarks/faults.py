"""What becomes of every fault in every backend, and how soon a server sees its client leave.

    python -m benchmarks.faults [--rounds 5]

The cells are those of the tests (tests/faults): each fault, streamed and not, in each backend
over HTTP, through the whole gateway against a made-up server. A disconnect is measured from the
moment when the client leaves to that when its server sees the connection closed, while the server
has nothing to send. Prints JSON last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import sys
from collections import Counter
from pathlib import Path

_TESTS = Path(__file__).parent.parent / "tests"
sys.path[:0] = [str(_TESTS / "faults"), str(_TESTS / "backends")]

import fault_matrix  # noqa: E402


async def disconnects(backend: str, rounds: int) -> list[float]:
    """Milliseconds, for each way and each moment in which a client may leave."""
    times = []
    for _ in range(rounds):
        for when in fault_matrix.WHEN:
            for streamed in (False, True):
                took = await fault_matrix.disconnected(backend, when, streamed=streamed)
                times.append(took * 1000)
    return times


async def measure(rounds: int) -> None:
    backends = sorted(fault_matrix.BACKENDS)
    rows = await fault_matrix.rows_of(backends)
    print(f"{'backend':20} {'cells':>6} {'errors':>7} {'answers':>8} {'violations':>11}", end="")
    print(f" {'disconnect p50 / max':>22}")
    total: Counter[str] = Counter()
    times: list[float] = []
    for backend in backends:
        found = Counter(cell.outcome for cell in rows[backend])
        took = await disconnects(backend, rounds)
        total += found
        times += took
        print(
            f"{backend:20} {found.total():6} {found['error']:7} {found['answer']:8} "
            f"{found['violation']:11} {statistics.median(took):11.1f} / {max(took):5.1f} ms"
        )
    for cells in rows.values():
        for cell in cells:
            if cell.outcome == "violation":
                print(cell)
    result = {
        "faults": len(fault_matrix.FAULTS),
        "backends": len(backends),
        "cells": total.total(),
        "errors": total["error"],
        "answers": total["answer"],
        "violations": total["violation"],
        "disconnects": len(times),
        "disconnect_p50_ms": round(statistics.median(times), 2),
        "disconnect_max_ms": round(max(times), 2),
    }
    print(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="disconnects of each kind")
    # That servers are down and do not hold to grammars is what happens here all the time.
    logging.disable(logging.ERROR)
    asyncio.run(measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
