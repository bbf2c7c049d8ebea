"""The embedded engine: llama.cpp in a process of its own per model.

A process of its own, because llama.cpp can end it (out of memory, a faulty build, a grammar
that it can't digest) and because its sampling loop would hold this process's interpreter.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import logging
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import msgspec

from llmgate import errors, resources
from llmgate.backends.base import Completes
from llmgate.backends.pipe import (
    Cancel,
    Count,
    Counted,
    Done,
    Embed,
    Embedded,
    Load,
    Piece,
    Problem,
    Ready,
    Report,
    Run,
    Started,
    pack,
)
from llmgate.backends.process import LoadFailed, Worker, WorkerDied
from llmgate.config import ModelSettings
from llmgate.errors import (
    BackendBusy,
    BackendError,
    BackendTimeout,
    BackendUnreachable,
    ConfigError,
    MissingPackage,
    RequestError,
    Unsupported,
)
from llmgate.types import Caps, Delta, Embeddings, Prompt, Usage

_MAGIC = b"GGUF"
_RETRY_LOAD_AFTER = 30.0
_LOG = logging.getLogger(__name__)
_PROBLEMS: dict[str, type[errors.LlmgateError]] = {
    kind.__name__: kind
    for kind in (
        errors.BackendError,
        errors.ContextOverflow,
        errors.GrammarError,
        errors.RequestError,
    )
}


class EmbeddedBackend(Completes):
    """Completes prompts with a GGUF file, one at a time, the others waiting in line.

    With `embedding` in its settings it makes vectors of texts instead.

    The process is started by `start` or the first request. If it dies, the request it was
    answering fails with `BackendUnreachable` and the next one starts it again.
    """

    def __init__(self, model: str, path: Path, settings: ModelSettings) -> None:
        self.name = model
        self._path = path
        self._settings = settings
        makes_text = not settings.embedding
        self._caps = Caps(
            grammar=makes_text, tokenize=True, triggers=makes_text, embed=settings.embedding
        )
        self._ids = itertools.count(1)
        self._turn = asyncio.Lock()
        self._present = 0
        self._pace = 1.0
        self._worker: Worker | None = None
        self._launching: asyncio.Task[Worker] | None = None
        self._failure: tuple[float, BackendUnreachable] | None = None
        self._extra_buffers = True
        self._closed = False

    @classmethod
    def open(cls, model: str, settings: ModelSettings) -> EmbeddedBackend:
        """The backend for the file that `settings` name, else for the shipped model.

        Raises `MissingPackage` without llama-cpp-python, and `ConfigError` if the file is
        missing or no GGUF file.
        """
        if importlib.util.find_spec("llama_cpp") is None:
            raise MissingPackage("the embedded backend", "embedded")
        path = Path(settings.path).expanduser() if settings.path else resources.default_model()
        _check_file(model, path)
        return cls(model, path, settings)

    @property
    def caps(self) -> Caps:
        """Grammars, also lazy ones, and token counts; context and template once it is loaded."""
        return self._caps

    async def start(self) -> None:
        """Load the model, unless that is done. Raises `BackendUnreachable`."""
        await self._ready_worker()

    async def complete(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Complete the prompt once its turn comes. See `Backend.complete`."""
        if prompt.grammar is not None:
            from llmgate import grammar

            grammar.check(prompt.grammar)
        if self._settings.embedding:
            raise Unsupported(
                f"The model {self.name!r} makes embeddings: it can't continue a text.",
                param="model",
            )
        request = next(self._ids)
        frame = _pack(Run(request, prompt))
        async with self._place():
            begin = asyncio.get_running_loop().time()
            async with aclosing(self._answer(request, frame)) as deltas:
                async for delta in deltas:
                    yield delta
            self._pace += 0.3 * (asyncio.get_running_loop().time() - begin - self._pace)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """A vector of length 1 for each text. Raises `ContextOverflow` for one that is too long."""
        if not self._settings.embedding:
            raise Unsupported(
                f"The model {self.name!r} continues texts: it makes no embeddings.",
                hint="Set embedding = true in the settings of a model that is made for them.",
                param="model",
            )
        request = next(self._ids)
        frame = _pack(Embed(request, tuple(texts)))
        async with self._place():
            worker = await self._ready_worker()
            answered = False
            with worker.mailbox(request) as mail:
                try:
                    await worker.send(frame)
                    report = await self._next(worker, mail, self._settings.timeouts.first_token)
                    if isinstance(report, Started):
                        limit = self._settings.timeouts.between_tokens * max(1, len(texts))
                        report = await self._next(worker, mail, limit)
                    answered = True
                finally:
                    if not answered:
                        worker.post(Cancel(request))
            if isinstance(report, Embedded):
                vectors = tuple(tuple(array("f", vector)) for vector in report.vectors)
                return Embeddings(vectors, Usage(prompt=report.tokens))
            raise self._problem(worker, report)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """The one place at the model; raises `BackendBusy` where too many wait for it."""
        if self._present > self._settings.queue:
            raise BackendBusy(
                f"The model {self.name!r} is answering, and {self._settings.queue} requests "
                "wait already.",
                retry_after=max(1.0, self._pace),
                hint="Try again later, or raise `queue` in its settings.",
            )
        self._present += 1
        try:
            async with self._turn:
                yield
        finally:
            self._present -= 1

    async def count(self, text: str) -> int:
        """The number of tokens of `text`; answered while a generation runs, too."""
        request = next(self._ids)
        frame = _pack(Count(request, text))
        worker = await self._ready_worker()
        with worker.mailbox(request) as mail:
            await worker.send(frame)
            report = await self._next(worker, mail, self._settings.timeouts.first_token)
        if isinstance(report, Counted):
            return report.tokens
        raise self._problem(worker, report)

    async def health(self) -> None:
        """Return if the model is loaded or can be. Raises `BackendUnreachable`.

        A model that failed to load is not tried again for half a minute, except by requests.
        """
        if not self._running() and self._failure is not None:
            when, failure = self._failure
            if asyncio.get_running_loop().time() < when + _RETRY_LOAD_AFTER:
                raise failure
        await self._ready_worker()

    async def aclose(self) -> None:
        """End the process. Requests under way fail. Idempotent."""
        self._closed = True
        if self._launching is not None:
            if self._worker is not None:
                self._worker.kill()
            await asyncio.wait((self._launching,))
        if self._worker is not None:
            await self._worker.close()

    async def _answer(self, request: int, frame: bytes) -> AsyncGenerator[Delta, None]:
        # A worker that died before it turned to this request did not die of it: once more.
        for last_attempt in (False, True):
            worker = await self._ready_worker()
            started = finished = False
            limit = self._settings.timeouts.first_token
            with worker.mailbox(request) as mail:
                try:
                    await worker.send(frame)
                    while not finished:
                        report = await self._next(worker, mail, limit)
                        if isinstance(report, Piece):
                            limit = self._settings.timeouts.between_tokens
                            if report.text:
                                yield Delta(report.text)
                        elif isinstance(report, Started):
                            started = True
                        elif isinstance(report, Done):
                            finished = True
                            yield _last(report)
                        elif report is None and not started and not last_attempt:
                            break
                        else:
                            finished = True
                            raise self._problem(worker, report)
                finally:
                    if not finished:
                        worker.post(Cancel(request))
            if finished:
                return

    async def _next(
        self, worker: Worker, mail: asyncio.Queue[Report | None], seconds: float
    ) -> Report | None:
        if not mail.empty():
            return mail.get_nowait()
        try:
            async with asyncio.timeout(seconds):
                return await mail.get()
        except TimeoutError:
            # It may hang in the C library, where no cancel reaches it.
            worker.kill()
            raise BackendTimeout(
                f"The model {self.name!r} wrote nothing for {seconds:g} seconds.",
                hint="`timeouts` in its settings says how long that may take.",
            ) from None

    def _problem(self, worker: Worker, report: Report | None) -> errors.LlmgateError:
        if isinstance(report, Problem):
            return _PROBLEMS.get(report.kind, BackendError)(report.message)
        if report is None:
            return BackendUnreachable(
                f"The process of the model {self.name!r} is gone: {worker.death}",
                hint=None if self._closed else "The next request starts it again.",
            )
        return BackendError(f"The process of the model {self.name!r} sent {report!r}.")

    def _running(self) -> Worker | None:
        worker = self._worker
        return worker if worker and worker.alive and self._launching is None else None

    async def _ready_worker(self) -> Worker:
        """The running process, started if need be; those who wait for a start share it."""
        if self._closed:
            raise BackendUnreachable(f"The model {self.name!r} is closed.")
        if worker := self._running():
            return worker
        if self._launching is None:
            self._launching = asyncio.create_task(self._launch())
            self._launching.add_done_callback(self._launched)
        return await asyncio.shield(self._launching)

    def _launched(self, task: asyncio.Task[Worker]) -> None:
        self._launching = self._failure = None
        if not task.cancelled() and isinstance(error := task.exception(), BackendUnreachable):
            self._failure = (asyncio.get_running_loop().time(), error)

    async def _launch(self) -> Worker:
        """Start the process; one that crashes at once gets a second chance.

        Some builds of llama.cpp crash in the matrix code for special buffers (seen: AMX,
        compiled by GCC 12). Without those buffers they are slower, but run.
        """
        if self._worker is not None:
            await self._worker.close()
        try:
            try:
                return await self._spawn()
            except WorkerDied as died:
                if not (died.crashed and self._extra_buffers) or self._closed:
                    raise
                self._extra_buffers = False
                worker = await self._again(died)
        except LoadFailed as failed:
            raise BackendUnreachable(
                f"The model {self.name!r} is not available: {failed}"
            ) from None
        except (WorkerDied, OSError) as died:
            raise BackendUnreachable(
                f"The process of the model {self.name!r} could not be started: {died}"
            ) from None
        return worker

    async def _again(self, died: WorkerDied) -> Worker:
        try:
            worker = await self._spawn()
        except (LoadFailed, WorkerDied):
            self._extra_buffers = True
            raise
        _LOG.warning(
            "This build of llama.cpp is faulty on this processor: it crashed (%s) while the model "
            "%r was tried out. It runs without its extra buffer types now, which may be slower. "
            "docs/configuration.md says how to build it anew.",
            str(died).removeprefix("it was ended by ").rstrip("."),
            self.name,
        )
        return worker

    async def _spawn(self) -> Worker:
        settings = self._settings
        load = Load(
            path=str(self._path),
            context=settings.context,
            threads=settings.threads,
            gpu_layers=settings.gpu_layers,
            extra_buffers=self._extra_buffers,
            embedding=settings.embedding,
        )
        self._worker = worker = await Worker.spawn(load)
        if self._closed:
            worker.kill()
        try:
            self._adopt(await worker.ready())
        except (LoadFailed, WorkerDied):
            await worker.close()
            raise
        return worker

    def _adopt(self, ready: Ready) -> None:
        known = self._caps.context
        self._caps = msgspec.structs.replace(
            self._caps, context=ready.context, template=ready.template
        )
        if known is None and 0 < ready.trained < ready.context:
            _LOG.warning(
                "The model %r was trained for a context of %d tokens and runs with %d: "
                "long answers may make no sense.",
                self.name,
                ready.trained,
                ready.context,
            )


def _check_file(model: str, path: Path) -> None:
    hint = "It has to be a file in the GGUF format."
    if path.is_dir():
        raise ConfigError(f"the path of the model {model!r} is a folder: {path}.", hint=hint)
    if not path.is_file():
        raise ConfigError(f"the file of the model {model!r} does not exist: {path}.", hint=hint)
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except OSError as error:
        raise ConfigError(f"can't read the file of the model {model!r}: {error}.") from error
    if start != _MAGIC:
        raise ConfigError(
            f"the file of the model {model!r} is not a GGUF file: {path} "
            f"begins with {start!r}, not {_MAGIC!r}.",
            hint=hint,
        )


def _pack(message: Run | Count | Embed) -> bytes:
    try:
        return pack(message)
    except UnicodeEncodeError as error:
        raise RequestError(f"The text is not valid Unicode: {error}.") from error
    except ValueError as error:
        raise RequestError(f"The text is too large: {error}") from error


def _last(report: Done) -> Delta:
    usage = Usage(report.prompt, report.completion, report.cached)
    return Delta(finish="length" if report.length else "stop", usage=usage)
