"""The folder of a run: results added as they come, each on its own line, never one twice.

results.jsonl   a `Result` a line
grammars.jsonl  each grammar (or schema) once, by the hash that results name
run.json        what a run that goes on must have in common with the one before
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

import msgspec

from llmgate import __version__
from llmgate.batch.lines import add, lock
from llmgate.bench.asking import Plan, Told
from llmgate.bench.cases import Case
from llmgate.bench.cells import Group
from llmgate.bench.result import CaseKey, CellKey, Constraint, Result
from llmgate.errors import ConfigError, LlmgateError

_Line = TypeVar("_Line", bound=msgspec.Struct)
RESULTS, GRAMMARS, RUN = "results.jsonl", "grammars.jsonl", "run.json"
# What is written is safe from a kill at once, and from a power cut when it is synced: after so
# many lines or seconds, whichever comes first.
_LINES = 64
_SECONDS = 2.0
_ANOTHER = "Choose another folder with -o, or take this one away."


class Run(msgspec.Struct, frozen=True):
    """What results in one folder have in common; `suites` and `models` map names to digests."""

    llmgate: str
    seed: int
    max_tokens: int
    temperature: float | None
    shared_prefixes: bool
    suites: dict[str, str]
    models: dict[str, str]

    @classmethod
    def of(cls, plan: Plan, cases: Iterable[Case], groups: Iterable[Group]) -> Run:
        """What this run is."""
        suites: dict[str, list[Case]] = {}
        for case in cases:
            suites.setdefault(case.suite, []).append(case)
        models = {}
        for group in groups:
            # Where it is and who may ask it can change; what it is can't.
            it = group.settings
            what = (it.path, it.model, it.sampling, it.context, it.extra)
            models[f"{group.model}/{it.backend}"] = _digest(msgspec.json.encode(what))
        return cls(
            llmgate=__version__,
            seed=plan.seed,
            max_tokens=plan.max_tokens,
            temperature=plan.temperature,
            shared_prefixes=plan.shared_prefixes,
            suites={name: _digest(msgspec.json.encode(each)) for name, each in suites.items()},
            models=models,
        )


class _Stamp(msgspec.Struct, frozen=True):
    """What of a result has to be known to know that it is there."""

    model: str
    backend: str
    wrapper: str
    options: str
    constraint: Constraint
    suite: str
    case: str
    sample: int


class _Grammar(msgspec.Struct, frozen=True):
    hash: str
    text: str


class Done:
    """Which cases of which cells have a result: a byte for each that is asked for."""

    def __init__(self, cases: Iterable[Case], samples: int) -> None:
        self._samples = samples
        self._places = {(case.suite, case.id): index for index, case in enumerate(cases)}
        self._rows: dict[CellKey, bytearray] = {}

    def has(self, cell: CellKey, key: CaseKey) -> bool:
        """Whether there is a result."""
        row = self._rows.get(cell)
        return row is not None and row[self._place(key)] != 0

    def count(self, cell: CellKey) -> int:
        """How many results of a cell there are."""
        return sum(self._rows.get(cell, b""))

    def add(self, cell: CellKey, key: CaseKey) -> None:
        """Remember a result; one that nobody asks for is no matter."""
        if (key.suite, key.case) in self._places and 0 <= key.sample < self._samples:
            row = self._rows.get(cell)
            if row is None:
                row = self._rows[cell] = bytearray(len(self._places) * self._samples)
            row[self._place(key)] = 1

    def _place(self, key: CaseKey) -> int:
        return self._places[key.suite, key.case] * self._samples + key.sample


class Journal:
    """The folder, open for adding results, and locked against a second run."""

    def __init__(self, folder: Path, results: _File, grammars: _File, done: Done) -> None:
        self.folder = folder
        self.done = done
        self._results = results
        self._grammars = grammars
        self._known: set[bytes] = set()
        self._unsynced = 0
        self._synced = time.monotonic()

    @classmethod
    def open(cls, folder: Path, run: Run, done: Done) -> Self:
        """The folder with what it holds, `done` filled with it; it is made where there is none.

        A last line that was cut off is taken away. Raises `ConfigError` for a folder of another
        run, one that is being written to, and files that llmgate did not write.
        """
        with contextlib.ExitStack() as opened:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                results = opened.enter_context(_File.open(folder / RESULTS))
                _agree(folder / RUN, run, empty=results.empty)
                grammars = opened.enter_context(_File.open(folder / GRAMMARS))
                journal = cls(folder, results, grammars, done)
                for line in results.recovered(_Stamp):
                    journal._remember(line)
                for grammar in grammars.recovered(_Grammar):
                    journal._known.add(bytes.fromhex(grammar.hash))
            except OSError as error:
                raise ConfigError(f"can't use the folder {folder}: {error}.") from error
            opened.pop_all()
        return journal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._grammars, self._results, self._failing():
            self._sync()

    async def add(self, told: Told) -> None:
        """Write a result; no kill of this process can lose it any more.

        Raises `LlmgateError` when it can't be written.
        """
        result = told.result
        with self._failing():
            if told.grammar and (digest := bytes.fromhex(result.grammar)) not in self._known:
                line = _Grammar(result.grammar, told.grammar)
                self._grammars.write(msgspec.json.encode(line) + b"\n")
                self._known.add(digest)
            self._results.write(msgspec.json.encode(result) + b"\n")
            self.done.add(result.cell, result.key)
            self._unsynced += 1
            if self._unsynced >= _LINES or time.monotonic() - self._synced > _SECONDS:
                self._unsynced, self._synced = 0, time.monotonic()
                await asyncio.to_thread(self._sync)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Say what an `OSError` means here."""
        try:
            yield
        except OSError as error:
            raise LlmgateError(
                f"can't write to {self.folder}: {error.strerror or error}.",
                hint="What was written is complete: run the same command again to go on.",
            ) from error

    def _remember(self, line: _Stamp) -> None:
        cell = CellKey(line.model, line.backend, line.wrapper, line.options, line.constraint)
        self.done.add(cell, CaseKey(line.suite, line.case, line.sample))

    def _sync(self) -> None:
        self._grammars.sync()
        self._results.sync()


def read(folder: Path) -> Iterator[Result]:
    """The results in a folder, one after the other; a last line that was cut off is none.

    Raises `ConfigError` where there are none, and for lines that llmgate did not write.
    """
    path = folder / RESULTS
    decoder = msgspec.json.Decoder(Result)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                yield _decoded(decoder, line, path, number)
    except OSError as error:
        raise ConfigError(
            f"can't read {path}: {error.strerror or error}.",
            hint="`llmgate bench run -o DIR` writes such a folder.",
        ) from error


def grammars(folder: Path) -> Iterator[tuple[str, str]]:
    """The grammars in a folder by their hash. Raises `ConfigError`, as `read` does."""
    path = folder / GRAMMARS
    if not path.is_file():
        return
    decoder = msgspec.json.Decoder(_Grammar)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n"):
                grammar = _decoded(decoder, line, path, number)
                yield grammar.hash, grammar.text


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in one step, so that no kill leaves half of it. Raises `ConfigError`."""
    beside = path.with_name(f"{path.name}.new")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"can't write {path}: {error.strerror or error}.") from error


class _File:
    """A file of lines that are only ever added, and that belongs to this process alone."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._end = os.fstat(file.fileno()).st_size
        self.empty = self._end == 0

    @classmethod
    def open(cls, path: Path) -> Self:
        """Raises `ConfigError` if another process has it."""
        file: BinaryIO = path.open("a+b", buffering=0)
        try:
            lock(file, path, "llmgate bench")
        except BaseException:
            file.close()
            raise
        return cls(path, file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def recovered(self, form: type[_Line]) -> Iterator[_Line]:
        """The lines that are there; a last one without its end is cut off."""
        decoder = msgspec.json.Decoder(form)
        end = 0
        with self._path.open("rb") as reading:
            for number, line in enumerate(reading, 1):
                if not line.endswith(b"\n"):
                    # What a power cut may leave behind is NULs.
                    if line[:2] in (b"{", b'{"') or not line.strip(b"\0"):
                        break
                    raise _foreign(self._path, number)
                yield _decoded(decoder, line, self._path, number)
                end += len(line)
        if end != self._end:
            os.ftruncate(self._file.fileno(), end)
            os.fsync(self._file.fileno())
            self._end = end

    def write(self, data: bytes) -> None:
        """Add a line, all of it or none. Raises `OSError`."""
        add(self._file, data, self._end, sync=False)
        self._end += len(data)

    def sync(self) -> None:
        """Wait until all is on the disk. Raises `OSError`."""
        os.fsync(self._file.fileno())


def _agree(path: Path, run: Run, *, empty: bool) -> None:
    """Write down what the run is, or check that it is what the folder's run was."""
    try:
        before = msgspec.json.decode(path.read_bytes(), type=Run)
    except FileNotFoundError:
        if not empty:
            raise ConfigError(f"{path} is missing beside the results.", hint=_ANOTHER) from None
        write_whole(path, _pretty(run))
        return
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} was not written by llmgate bench: {error}.") from error
    for field in Run.__struct_fields__:
        old, new = getattr(before, field), getattr(run, field)
        if isinstance(old, dict):
            for name in old.keys() & new.keys():
                if old[name] != new[name]:
                    what = f"the {field.removesuffix('s')} {name!r} is not what it was"
                    raise ConfigError(f"{path.parent} holds a run in which {what}.", hint=_ANOTHER)
        elif old != new:
            raise ConfigError(
                f"{path.parent} holds a run with {field} {old!r}, not {new!r}.", hint=_ANOTHER
            )
    suites, models = {**before.suites, **run.suites}, {**before.models, **run.models}
    if (suites, models) != (before.suites, before.models):
        merged = msgspec.structs.replace(before, suites=suites, models=models)
        write_whole(path, _pretty(merged))


def _decoded(decoder: msgspec.json.Decoder[_Line], line: bytes, path: Path, number: int) -> _Line:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _foreign(path, number) from error


def _foreign(path: Path, number: int) -> ConfigError:
    return ConfigError(
        f"{path} has a line that llmgate bench did not write, line {number}.", hint=_ANOTHER
    )


def _pretty(run: Run) -> bytes:
    return msgspec.json.format(msgspec.json.encode(run)) + b"\n"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
