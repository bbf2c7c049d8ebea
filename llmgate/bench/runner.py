"""Runs a matrix: every case in every cell, as many at a time as the backend has places for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from llmgate.backends import Backend, open_backend
from llmgate.bench.asking import Asker, Judge, Plan, Told
from llmgate.bench.capacity import places
from llmgate.bench.cases import Case
from llmgate.bench.cells import Group, wrapper_of
from llmgate.bench.journal import Journal
from llmgate.bench.probe import held
from llmgate.bench.result import CaseKey, CellKey
from llmgate.config import ModelSettings
from llmgate.errors import BackendError, ConfigError
from llmgate.wrappers import FALLBACK, ModelWrapper, Wrapper, open_wrapper

# Seconds before a case is asked again whose backend failed.
_WAITS = (0.5, 2.0, 8.0)
_LONGEST = 60.0

OpenBackend = Callable[[str, ModelSettings], Backend]
Job = tuple[Case, int]


class Progress:
    """How far a run is. `done` counts earlier runs of the same folder, `asked` this one alone."""

    def __init__(self, total: int, done: int) -> None:
        self.total = total
        self.done = done
        self.asked = 0
        self.running = 0
        self.cell: CellKey | None = None
        self.outcomes: Counter[str] = Counter()
        # Cells that can't be, and models that can't be reached, each with the reason.
        self.left_out: list[str] = []
        self.failed: list[str] = []


class Runner:
    """Asks what has no result yet and writes the results down, a cell after the other."""

    def __init__(
        self,
        groups: Sequence[Group],
        cases: Sequence[Case],
        plan: Plan,
        journal: Journal,
        judge: Judge,
        *,
        user_folder: Path | None = None,
        concurrency: int | None = None,
        waits: Sequence[float] = _WAITS,
        opened: OpenBackend = open_backend,
    ) -> None:
        """`concurrency` goes over what is known of the backends' places."""
        cells = [cell for group in groups for cell in group.cells]
        self._each = len(cases) * plan.samples
        done = sum(map(journal.done.count, cells))
        self.progress = Progress(len(cells) * self._each, done)
        self._groups = groups
        self._cases = cases
        self._plan = plan
        self._journal = journal
        self._judge = judge
        self._user_folder = user_folder
        self._concurrency = concurrency
        self._waits = waits
        self._opened = opened
        self._stopping = False
        self._workers: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Ask nothing more; what is on its way comes to its end."""
        self._stopping = True

    def abort(self) -> None:
        """Ask nothing more and drop what is on its way: it has no result."""
        self._stopping = True
        for task in self._workers:
            task.cancel()

    async def run(self) -> None:
        """Ask everything that has no result yet, or as much as `stop` and `abort` allow.

        A model that can't be reached is left for another run, and said in `progress.failed`.
        Raises `LlmgateError` when results can't be written.
        """
        for group in self._groups:
            if self._stopping:
                return
            pending = [cell for cell in group.cells if self._pending(cell)]
            if not pending:
                continue
            try:
                await self._run_group(group, pending)
            except (BackendError, ConfigError) as error:
                self.progress.failed.append(f"{group.model}: {error}")

    async def _run_group(self, group: Group, cells: Sequence[CellKey]) -> None:
        """Raises `BackendError` if the backend is gone, `ConfigError` if it can't be opened."""
        backend = self._opened(group.model, group.settings)
        try:
            await backend.start()
            count = self._concurrency or await places(backend, group.settings)
            for cell in cells:
                if self._stopping:
                    return
                wrapper = self._wrapper(group, cell, backend)
                if wrapper is not None:
                    await self._run_cell(group, cell, backend, wrapper, count)
        finally:
            await backend.aclose()

    def _wrapper(
        self, group: Group, cell: CellKey, backend: Backend
    ) -> Wrapper | ModelWrapper | None:
        """The wrapper of a cell, None if there can't be such a cell."""
        allowed = held(backend.caps, cell.constraint)  # type: ignore[arg-type]  # a key's text
        reason: str | None = None
        if group.native and not allowed.chat:
            reason = "it reads no messages"
        elif group.native:
            # It is sent no prompts: this one is never asked.
            return open_wrapper(FALLBACK)
        elif allowed.chat:
            reason = "it is asked with messages (--native)"
        elif cell.constraint == "grammar" and not allowed.grammar:
            reason = "its backend takes no grammars"
        elif cell.constraint == "schema" and not allowed.schema:
            reason = "its backend takes no schemas"
        else:
            wrapper = wrapper_of(group.settings, cell, self._user_folder)
            try:
                wrapper.of(allowed)
            except ConfigError as error:
                reason = str(error)
            else:
                return wrapper
        self._leave_out(cell, reason)
        return None

    def _leave_out(self, cell: CellKey, reason: str) -> None:
        self.progress.left_out.append(f"{' '.join(cell)}: {reason}")
        self.progress.total -= self._each
        self.progress.done -= self._journal.done.count(cell)

    async def _run_cell(
        self,
        group: Group,
        cell: CellKey,
        backend: Backend,
        wrapper: Wrapper | ModelWrapper,
        count: int,
    ) -> None:
        self.progress.cell = cell
        jobs = self._jobs(cell)
        sampling = group.settings.sampling
        askers = [
            Asker(cell, backend, wrapper, sampling, self._plan, self._judge) for _ in range(count)
        ]
        await askers[0].warm(self._cases[0])
        workers = {asyncio.create_task(self._work(asker, backend, jobs)) for asker in askers}
        self._workers |= workers
        try:
            done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            self._workers -= workers
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _work(self, asker: Asker, backend: Backend, jobs: Iterator[Job]) -> None:
        progress = self.progress
        while not self._stopping and (job := next(jobs, None)) is not None:
            progress.running += 1
            try:
                told = await self._asked(asker, backend, *job)
            finally:
                progress.running -= 1
            await self._journal.add(told)
            progress.done += 1
            progress.asked += 1
            progress.outcomes[told.result.outcome] += 1

    async def _asked(self, asker: Asker, backend: Backend, case: Case, sample: int) -> Told:
        """The result of a case; what fails in a way that may pass is asked again.

        Raises the `BackendError` of a backend that is no longer there.
        """
        tries = 0
        while True:
            try:
                return await asker.ask(case, sample, tries)
            except BackendError as error:
                if tries == len(self._waits):
                    await backend.health()
                    return asker.failed(case, sample, error, tries)
                wait = max(self._waits[tries], getattr(error, "retry_after", 0.0))
                await asyncio.sleep(min(wait, _LONGEST))
                tries += 1

    def _jobs(self, cell: CellKey) -> Iterator[Job]:
        """What a cell has to be asked, in the order of the cases."""
        done = self._journal.done
        for case in self._cases:
            for sample in range(self._plan.samples):
                if not done.has(cell, CaseKey(case.suite, case.id, sample)):
                    yield case, sample

    def _pending(self, cell: CellKey) -> bool:
        return self._journal.done.count(cell) < self._each
