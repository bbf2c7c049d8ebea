"""The embedded engine's process: frames in on stdin, frames out on what was stdout.

Three threads: one reads commands, so that a cancel is seen while a token is computed, one
counts tokens, and the main one alone touches the model's context; a fourth one reads the
vocabulary once. The process ends when its stdin does, so it never outlives the gateway.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from llmgate.backends.embedder import Embedder
from llmgate.backends.engine import Engine
from llmgate.backends.pipe import (
    Cancel,
    Command,
    Count,
    Counted,
    Done,
    Embed,
    Embedded,
    Failed,
    Frames,
    FromWorker,
    Load,
    Piece,
    Problem,
    Ready,
    Run,
    Started,
    commands,
    pack,
)
from llmgate.errors import LlmgateError

_READ_SIZE = 1 << 16


class Output:
    """Writes whole frames to the gateway, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, message: FromWorker) -> None:
        """Write one frame. Ends the process if nobody is there to read it."""
        frame = memoryview(pack(message))
        with self._lock:
            try:
                while frame:
                    frame = frame[os.write(self._descriptor, frame) :]
            except OSError:
                os._exit(0)


class Jobs:
    """What the reading thread hands to the others: requests, counts and cancels."""

    def __init__(self) -> None:
        self.runs: queue.SimpleQueue[Run | Embed] = queue.SimpleQueue()
        self.counts: queue.SimpleQueue[Count] = queue.SimpleQueue()
        self._open: set[int] = set()
        self._lock = threading.Lock()

    def read(self, incoming: Iterator[Command]) -> None:
        """Hand out commands until there are no more, then end the process."""
        for command in incoming:
            if isinstance(command, Run | Embed):
                with self._lock:
                    self._open.add(command.id)
                self.runs.put(command)
            elif isinstance(command, Cancel):
                self.close(command.id)
            elif isinstance(command, Count):
                self.counts.put(command)
        # The main thread may be inside the C library: nothing gentler would reach it.
        os._exit(0)

    def cancelled(self, request: int) -> bool:
        """Whether nobody waits for that request any more."""
        return request not in self._open

    def close(self, request: int) -> None:
        """Forget a request: it is answered, or nobody waits for it."""
        with self._lock:
            self._open.discard(request)


def run_jobs(engine: Engine | Embedder, jobs: Jobs, output: Output) -> None:
    """Answer requests one after the other, for ever."""
    while True:
        job = jobs.runs.get()
        if not jobs.cancelled(job.id):
            output.send(Started(job.id))
            if (answer := _answer(engine, jobs, job, output)) is not None:
                output.send(answer)
        jobs.close(job.id)


def count_jobs(engine: Engine | Embedder, jobs: Jobs, output: Output) -> None:
    """Count tokens, for ever."""
    while True:
        job = jobs.counts.get()
        try:
            output.send(Counted(job.id, len(engine.tokenize(job.text))))
        except LlmgateError as error:
            output.send(_problem(job.id, error))


def main() -> None:
    """Run until stdin ends."""
    # Stdout carries the protocol: what libraries print must not get into it.
    output = Output(os.dup(1))
    os.dup2(2, 1)
    # Ctrl-C is the gateway's business, whatever session this process is in.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    incoming = _incoming()
    load = next(incoming, None)
    if not isinstance(load, Load):
        sys.exit("This program is started by llmgate: it speaks a protocol on stdin.")
    jobs = Jobs()
    _thread(lambda: jobs.read(incoming))
    try:
        engine = Embedder(load) if load.embedding else Engine(load)
    except LlmgateError as error:
        output.send(Failed(error.message))
        os._exit(1)
    output.send(Ready(engine.context, engine.trained, engine.template))
    _thread(lambda: count_jobs(engine, jobs, output))
    if isinstance(engine, Engine):
        # The first constrained answer needs it.
        _thread(engine.vocabulary.prepare)
    run_jobs(engine, jobs, output)


def _answer(
    engine: Engine | Embedder, jobs: Jobs, job: Run | Embed, output: Output
) -> FromWorker | None:
    try:
        if isinstance(job, Embed) and isinstance(engine, Embedder):
            return _vectors(engine, jobs, job)
        if isinstance(job, Run) and isinstance(engine, Engine):
            return _text(engine, jobs, job, output)
    except LlmgateError as error:
        return _problem(job.id, error)
    return Problem(job.id, "BackendError", "This process was started for something else.")


def _vectors(engine: Embedder, jobs: Jobs, job: Embed) -> FromWorker | None:
    made = engine.embed(job.texts, lambda: jobs.cancelled(job.id))
    return None if made is None else Embedded(job.id, tuple(made[0]), made[1])


def _text(engine: Engine, jobs: Jobs, job: Run, output: Output) -> FromWorker | None:
    result = engine.complete(
        job.prompt,
        emit=lambda text: output.send(Piece(job.id, text)),
        cancelled=lambda: jobs.cancelled(job.id),
    )
    if result is None:
        return None
    return Done(job.id, result.length, result.prompt, result.completion, result.cached)


def _problem(request: int, error: LlmgateError) -> Problem:
    return Problem(request, type(error).__name__, error.message)


def _incoming() -> Iterator[Command]:
    frames = Frames()
    while data := os.read(0, _READ_SIZE):
        yield from commands(data, frames)


def _thread(target: Callable[[], None]) -> None:
    threading.Thread(target=target, daemon=True).start()


if __name__ == "__main__":
    main()
