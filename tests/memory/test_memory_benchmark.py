"""The benchmark of memory, at a size that takes a moment: it measures what it says."""

from __future__ import annotations

import argparse

import pytest

pytest.importorskip("numpy")

from benchmarks import memory


async def test_every_figure_is_there_and_every_search_finds(capsys):
    options = argparse.Namespace(rows=[300], queries=5, seed=1)
    told = await memory.run(options, lambda line: None)
    [costs] = told["sizes"]
    assert costs["rows"] == 300
    assert costs["archival_recall_at_10"] == 1.0
    assert all(costs[name] > 0 for name in memory.LIMITS if name in costs)
    assert told["prompt"]["characters"] > 400_000
    shown = capsys.readouterr().out
    assert "recall_p95" in shown
    assert "<= 20 ms at 100,000" in shown
