"""A benchmark under way: how far it is, and how it ended."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path

import click

from llmgate.bench.runner import Runner
from llmgate.cli.progress import AboveBar, Bar, clock, counted, share, watched

_MOST = 10


def run(runner: Runner) -> int | None:
    """Run to the end or to a signal, whose number is returned then."""
    bar = Bar(lambda seconds: _line(runner, seconds))

    def under_way() -> str:
        return counted(runner.progress.running, "request", "requests")

    logging.basicConfig(
        format="llmgate: %(levelname)s: %(message)s", level=logging.ERROR, handlers=[AboveBar()]
    )
    try:
        return asyncio.run(watched(runner, bar, under_way))
    except KeyboardInterrupt:  # where there are no signal handlers, or before they are set
        return int(signal.SIGINT)


def conclude(runner: Runner, folder: Path, ended_by: int | None) -> None:
    """Say how it went, and exit accordingly."""
    progress = runner.progress
    for word, lines in (("Left out", progress.left_out), ("Failed", progress.failed)):
        for line in lines[:_MOST]:
            click.echo(f"{word}: {line}", err=True)
        if len(lines) > _MOST:
            click.echo(f"{word}: {len(lines) - _MOST} more.", err=True)
    earlier = progress.done - progress.asked
    line = f"{progress.done} of {progress.total} results"
    if earlier:
        line += f" ({earlier} of earlier runs)"
    click.echo(f"{line}: {folder}", err=True)
    if progress.done < progress.total:
        click.echo("llmgate: run the same command again to go on.", err=True)
        raise SystemExit(1 if ended_by is None else 128 + ended_by)


def _line(runner: Runner, seconds: float) -> str:
    """How far a run is after that time."""
    progress = runner.progress
    parts = [share(progress.done, progress.total)]
    if progress.asked and seconds > 0:
        right = progress.outcomes["right"] / progress.asked
        left = (progress.total - progress.done) * seconds / progress.asked
        parts += [f"{right:.0%} right", f"{clock(left)} left"]
    if progress.cell is not None:
        model, _, wrapper, options, constraint = progress.cell
        parts.append(f"{model} {wrapper} {options if options != '{}' else ''} {constraint}")
    return "  ".join(parts)
