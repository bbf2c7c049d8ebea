"""What Ctrl-C does while something runs in a terminal: it ends that, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def interrupts(task: asyncio.Task[Any]) -> Iterator[None]:
    """Within, Ctrl-C cancels `task` and nothing else."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGINT, task.cancel)
    except NotImplementedError:  # Windows: Ctrl-C ends the program there
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
