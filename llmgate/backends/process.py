"""The gateway's side of the embedded engine's process: start it, talk to it, notice its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections import deque
from collections.abc import Iterator

import msgspec

from llmgate.backends.pipe import (
    Failed,
    Frames,
    Load,
    Ready,
    Report,
    ToWorker,
    pack,
    reports,
)

_READ_SIZE = 1 << 16
_GRACE = 2.0
_LOG_LINES = 5
# The worker finds the same modules as this process, installed or not.
PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:]; from llmgate.backends import worker; worker.main()"
)
_CRASHES = ("SIGSEGV", "SIGILL", "SIGBUS", "SIGABRT", "SIGFPE")
_LOG = logging.getLogger(__name__)


class WorkerDied(Exception):
    """The process is gone. `crashed`: by a signal that a fault of its own brings about."""

    def __init__(self, message: str, *, crashed: bool = False) -> None:
        super().__init__(message)
        self.crashed = crashed


class LoadFailed(Exception):
    """The process says that it can't use the model; the text is a sentence."""


class Worker:
    """One running process. Make it with `spawn`, let go of it with `close`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._mail: dict[int, asyncio.Queue[Report | None]] = {}
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._greeting: asyncio.Future[Ready | Failed | None]
        self._greeting = asyncio.get_running_loop().create_future()
        self._death: WorkerDied | None = None
        self._stderr_task = asyncio.create_task(self._read_log())
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def spawn(cls, load: Load) -> Worker:
        """Start a process and tell it what to load."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROGRAM,
            *sys.path,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C in a terminal reaches a whole process group; it is not meant for this one.
            start_new_session=True,
        )
        worker = cls(process)
        await worker.send(pack(load))
        return worker

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can still be asked, as far as known yet."""
        return self._death is None and self._process.returncode is None

    @property
    def death(self) -> WorkerDied:
        """How it ended, once it has."""
        return self._death or WorkerDied("it is gone")

    async def ready(self) -> Ready:
        """Wait until the model is loaded. Raises `LoadFailed` and `WorkerDied`."""
        greeting = await asyncio.shield(self._greeting)
        if isinstance(greeting, Failed):
            raise LoadFailed(greeting.message)
        if greeting is None:
            raise self.death
        return greeting

    @contextlib.contextmanager
    def mailbox(self, request: int) -> Iterator[asyncio.Queue[Report | None]]:
        """The reports on one request, as they come; None once the process is gone."""
        queue: asyncio.Queue[Report | None] = asyncio.Queue()
        if self._death is not None:
            queue.put_nowait(None)
        self._mail[request] = queue
        try:
            yield queue
        finally:
            del self._mail[request]

    async def send(self, frame: bytes) -> None:
        """Send a frame. A process that is gone is noticed by the mailbox, not here."""
        with contextlib.suppress(OSError, RuntimeError):
            self._write(frame)
            await self._stdin.drain()

    def post(self, message: ToWorker) -> None:
        """Send a small message without waiting."""
        with contextlib.suppress(OSError, RuntimeError):
            self._write(pack(message))

    def kill(self) -> None:
        """End the process now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def close(self) -> None:
        """End the process and wait for it: politely first, then not. Idempotent."""
        self._stdin.close()
        done, _ = await asyncio.wait((self._task,), timeout=_GRACE)
        if not done:
            self.kill()
        await self._task

    def _write(self, frame: bytes) -> None:
        if not self._stdin.is_closing():
            self._stdin.write(frame)

    async def _read(self) -> None:
        """Deliver reports until the process's output ends, then tell everyone how it ended."""
        frames = Frames()
        try:
            while data := await self._stdout.read(_READ_SIZE):
                for report in reports(data, frames):
                    self._deliver(report)
        except (ValueError, msgspec.MsgspecError) as error:
            self._log.append(f"it sent something that is not a report: {error}")
        self._stdin.close()
        # Output has ended; a process that lingers without it is of no use.
        done, _ = await asyncio.wait(
            (ended := asyncio.ensure_future(self._process.wait()),), timeout=_GRACE
        )
        if not done:
            self.kill()
        code = await ended
        await asyncio.wait((self._stderr_task,), timeout=_GRACE)
        self._stderr_task.cancel()
        self._death = _describe(code, self._log)
        if not self._greeting.done():
            self._greeting.set_result(None)
        for queue in self._mail.values():
            queue.put_nowait(None)

    def _deliver(self, report: Report) -> None:
        if isinstance(report, (Ready, Failed)):
            if not self._greeting.done():
                self._greeting.set_result(report)
        elif queue := self._mail.get(report.id):
            queue.put_nowait(report)

    async def _read_log(self) -> None:
        """Keep the last lines of stderr: they explain a death."""
        while data := await self._stderr.read(_READ_SIZE):
            for line in data.decode("utf-8", "replace").splitlines():
                if line.strip():
                    self._log.append(line.strip())
                    _LOG.debug("%s: %s", self.pid, line)


def _describe(code: int, log: deque[str]) -> WorkerDied:
    last = f" Its last words: {log[-1]}" if log else ""
    if code >= 0:
        return WorkerDied(f"it ended with exit code {code}.{last}")
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    memory = " The system does that when memory runs out." if name == "SIGKILL" else ""
    return WorkerDied(f"it was ended by {name}.{memory}{last}", crashed=name in _CRASHES)
