"""The folder of a run: nothing lost, nothing twice, and nothing mixed up."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import msgspec
import pytest
from bench_doubles import weather

from llmgate.bench.asking import Plan, Told
from llmgate.bench.cells import Choice, matrix
from llmgate.bench.journal import Done, Journal, Run, grammars, read, write_whole
from llmgate.bench.result import CaseKey, Result
from llmgate.config import ModelSettings, Settings
from llmgate.errors import ConfigError, LlmgateError

CASES = (weather("Paris"), weather("Rome"))
GROUPS, _ = matrix(
    Settings(models={"m": ModelSettings(path="m.gguf")}),
    Choice(wrappers=("chatml",), constraints=("off",)),
)
(CELL,) = GROUPS[0].cells
DIGEST = "ab" * 32


def opened(folder, cases=CASES, plan=None, groups=GROUPS):
    plan = plan or Plan()
    return Journal.open(folder, Run.of(plan, cases, groups), Done(cases, plan.samples))


def told(case="Paris", sample=0, grammar=""):
    result = Result(*CELL, "s", case, sample, 1, "calls", "right", output="ä\u2028\n")
    if grammar:
        result = msgspec.structs.replace(result, grammar=DIGEST)
    return Told(result, grammar)


async def filled(folder, *cases):
    with opened(folder) as journal:
        for case in cases:
            await journal.add(told(case))


async def test_what_was_added_is_read_again(tmp_path):
    await filled(tmp_path, "Paris", "Rome")
    assert list(read(tmp_path)) == [told("Paris").result, told("Rome").result]


async def test_what_was_added_is_known_when_it_is_opened_again(tmp_path):
    await filled(tmp_path, "Rome")
    with opened(tmp_path) as journal:
        assert journal.done.has(CELL, CaseKey("s", "Rome", 0))
        assert not journal.done.has(CELL, CaseKey("s", "Paris", 0))
        assert journal.done.count(CELL) == 1


async def test_a_line_that_was_cut_anywhere_is_taken_away(tmp_path):
    await filled(tmp_path, "Paris", "Rome")
    path = tmp_path / "results.jsonl"
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in (*range(first, first + 12), *range(first + 12, len(whole) - 9, 23), len(whole) - 1):
        path.write_bytes(whole[:end])
        with opened(tmp_path) as journal:
            assert journal.done.count(CELL) == 1
        assert path.read_bytes() == whole[:first]


async def test_what_comes_behind_a_line_that_was_cut_is_a_line_of_its_own(tmp_path):
    await filled(tmp_path, "Paris")
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(b'{"model":"m","back')
    assert len(list(read(tmp_path))) == 1
    await filled(tmp_path, "Rome")
    assert [result.case for result in read(tmp_path)] == ["Paris", "Rome"]


async def test_a_grammar_is_written_once(tmp_path):
    for sample in range(2):
        with opened(tmp_path, plan=Plan(samples=4)) as journal:
            await journal.add(told(sample=2 * sample, grammar='root ::= "a"'))
            await journal.add(told(sample=2 * sample + 1, grammar='root ::= "a"'))
    assert list(grammars(tmp_path)) == [(DIGEST, 'root ::= "a"')]
    assert len(list(read(tmp_path))) == 4


@pytest.mark.parametrize("text", ["hello\n", '{"a": 1}\n', "hello", "[1]\n{"])
def test_a_file_of_another_kind_is_left_as_it_is(tmp_path, text):
    with opened(tmp_path):
        pass
    path = tmp_path / "results.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match="did not write, line 1"):
        opened(tmp_path)
    assert path.read_text() == text


def test_results_without_what_they_belong_to_are_refused(tmp_path):
    (tmp_path / "results.jsonl").write_text("hello\n")
    with pytest.raises(ConfigError, match=r"run.json is missing"):
        opened(tmp_path)


def test_two_runs_never_write_into_one_folder(tmp_path):
    with opened(tmp_path), pytest.raises(ConfigError, match="another llmgate bench"):
        opened(tmp_path)
    with opened(tmp_path):
        pass


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"plan": Plan(seed=2)}, "seed 1, not 2"),
        ({"plan": Plan(max_tokens=9)}, "max_tokens 256, not 9"),
        ({"plan": Plan(temperature=1.0)}, "temperature"),
        ({"plan": Plan(shared_prefixes=True)}, "shared_prefixes"),
        ({"cases": (weather("Paris"),)}, "the suite 's' is not what it was"),
    ],
)
def test_a_run_goes_on_only_as_it_began(tmp_path, more, said):
    with opened(tmp_path):
        pass
    with pytest.raises(ConfigError, match=said):
        opened(tmp_path, **more)


def test_another_model_of_the_same_name_is_another_run(tmp_path):
    with opened(tmp_path):
        pass
    settings = Settings(models={"m": ModelSettings(path="n.gguf")})
    groups, _ = matrix(settings, Choice())
    with pytest.raises(ConfigError, match="the model 'm/embedded' is not what it was"):
        opened(tmp_path, groups=groups)


def test_a_run_may_grow_by_suites_models_and_samples(tmp_path):
    with opened(tmp_path):
        pass
    settings = Settings(models={"n": ModelSettings(path="n.gguf")})
    groups, _ = matrix(settings, Choice())
    with opened(tmp_path, (weather("Oslo", suite="t"),), Plan(samples=3), groups):
        pass
    run = json.loads((tmp_path / "run.json").read_text())
    assert set(run["suites"]) == {"s", "t"}
    assert set(run["models"]) == {"m/embedded", "n/embedded"}


async def test_a_full_disk_leaves_whole_lines(tmp_path, monkeypatch):
    await filled(tmp_path, "Paris")
    path = tmp_path / "results.jsonl"
    whole, write = path.read_bytes(), os.write

    def full(file, data):
        if len(data) <= 20:
            raise OSError(28, "No space left on device")
        return write(file, data[: max(20, len(data) - 20)])

    with opened(tmp_path) as journal:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(LlmgateError, match=r"No space left.*run the same command again"):
            await journal.add(told("Rome"))
        monkeypatch.undo()
        assert path.read_bytes() == whole
        assert not journal.done.has(CELL, CaseKey("s", "Rome", 0))


def test_a_folder_without_results_is_said(tmp_path):
    with pytest.raises(ConfigError, match="llmgate bench run"):
        list(read(tmp_path))
    assert list(grammars(tmp_path)) == []


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "report.html"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["report.html"]


def test_ten_thousand_cells_take_little_memory(tmp_path):
    code = """
import resource, sys
from bench_doubles import weather
from llmgate.bench.journal import Done
from llmgate.bench.result import CaseKey, CellKey
cases = [weather(str(n)) for n in range(30)]
done = Done(cases, 3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for n in range(10_000):
    cell = CellKey(str(n), "b", "w", "{}", "off")
    for case in cases:
        done.add(cell, CaseKey("s", case.id, 1))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    folder = os.path.dirname(__file__)
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder
    )
    assert float(ran.stdout) < 20
