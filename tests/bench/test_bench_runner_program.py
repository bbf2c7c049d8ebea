"""`llmgate bench` as a person uses it: what is written, what is said, and what is refused."""

from __future__ import annotations

import json

import click.testing
import msgspec
import pytest
from bench_doubles import CALL, weather

from llmgate.bench.journal import read
from llmgate.cli import main

CITIES = ("Paris", "Rome")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a model that is right once held by a grammar, and a suite."""
    right = [CALL % city for city in CITIES]
    warm = "Hello."
    answers = [warm, CALL % "Nowhere", *right[:1], warm, *right]
    for name, said in (("m", answers), ("n", [warm, *right, warm, *right])):
        (tmp_path / f"{name}.json").write_text(json.dumps(said))
    (tmp_path / "llmgate.toml").write_text(
        '[models.m]\nbackend = "scripted"\npath = "m.json"\n\n'
        '[models.n]\nbackend = "scripted"\npath = "n.json"\n'
    )
    cases = [msgspec.json.encode(weather(city, suite="")) for city in CITIES]
    (tmp_path / "mine.jsonl").write_bytes(b"\n".join(cases))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(*arguments, **more):
    return click.testing.CliRunner().invoke(main, ["bench", *arguments], **more)


def run(*arguments, folder="out"):
    more = ("--suite", "mine.jsonl", "--wrappers", "chatml", "-o", folder)
    return ask("run", *more, *arguments)


def test_a_run_writes_results_and_a_report(here):
    ran = run("--models", "m")
    assert ran.exit_code == 0, ran.output
    assert "4 of 4 results: out" in ran.stderr
    assert "m on scripted" in ran.stdout
    found = {path.name for path in (here / "out").iterdir()}
    assert found >= {"results.jsonl", "grammars.jsonl", "run.json", "report.html", "results.csv"}
    outcomes = [result.outcome for result in read(here / "out")]
    assert outcomes == ["wrong_arguments", "wrong_arguments", "right", "right"]


def test_the_report_is_written_anew_from_the_results_alone(here):
    shown = run("--models", "m").stdout
    before = {path.name: path.read_bytes() for path in (here / "out").iterdir()}
    for name in ("report.html", "results.csv", "summary.md"):
        (here / "out" / name).unlink()
    again = ask("report", "out")
    assert again.stdout == shown
    assert {path.name: path.read_bytes() for path in (here / "out").iterdir()} == before


def test_two_runs_are_compared(here):
    run("--models", "m", folder="a")
    run("--models", "m", folder="b")
    compared = ask("compare", "a", "b")
    assert compared.exit_code == 0, compared.output
    assert compared.stdout.strip()
    assert ask("compare", "a", "b", "--markdown").exit_code == 0


def test_the_best_wrapper_is_applied_after_it_was_shown(here):
    run("--models", "m,n")
    text = (here / "llmgate.toml").read_text()
    refused = ask("apply", "out", input="n\n")
    assert (here / "llmgate.toml").read_text() == text
    applied = ask("apply", "out", "--yes")
    assert applied.exit_code == 0, applied.output
    changed = (here / "llmgate.toml").read_text() != text
    assert changed == ("Written" in applied.output)
    assert changed == ("Write this into" in refused.output)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--constraints", "grammer"), "grammar"),
        (("--models", "x"), "model 'x'"),
        (("--options", "style"), "KEY=A,B"),
        (("--options", "style=hermess"), "hermess"),
        (("--options", "stile=hermes"), "style"),
        (("--suite", "cals"), "calls"),
        (("--suite", "none.jsonl"), "can't read the suite"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(here, arguments, said):
    ran = run(*arguments)
    assert ran.exit_code == 2
    assert said in ran.stderr
    assert ran.stderr.startswith("llmgate: ")
    assert not (here / "out").exists()


def test_options_are_values_of_toml_or_words(here):
    ran = run("--models", "n", "--constraints", "off", "--options", "indent=0,4")
    assert ran.exit_code == 0, ran.output
    assert {result.options for result in read(here / "out")} == {'{"indent":0}', '{"indent":4}'}


def test_a_model_that_cannot_be_reached_ends_in_failure_and_the_others_are_asked(here):
    with (here / "llmgate.toml").open("a") as file:
        file.write('\n[models.gone]\nbackend = "openai-chat"\nurl = "http://127.0.0.1:9"\n')
    ran = run("--models", "gone,n", "--native")
    assert ran.exit_code == 1
    assert "Failed: gone: " in ran.stderr
    assert "4 of 6 results" in ran.stderr
    assert "run the same command again" in ran.stderr


def test_speed_is_told_at_each_depth(here):
    words = ["word"] * 40
    (here / "n.json").write_text(json.dumps([words] * 7))
    told = ask("speed", "--models", "n", "--depths", "16,64", "--repeat", "3", "--json")
    assert told.exit_code == 0, told.output
    low, high = [json.loads(line) for line in told.stdout.splitlines()]
    assert (low["depth"], high["depth"]) == (16, 64)
    assert abs(low["prompt"] - 16) <= 1
    assert abs(high["prompt"] - 64) <= 1
    assert low["read_per_second"] > 0
    assert low["written_per_second"] > 0


def test_speed_is_a_table_for_people(here):
    (here / "n.json").write_text(json.dumps([["a", " b", " c"]] * 9))
    told = ask("speed", "--models", "n", "--depths", "8", "--repeat", "1")
    assert told.stdout.splitlines()[0] == "n"
    assert "tok/s" in told.stdout.splitlines()[2]
    assert ask("speed", "--depths", "8,x").exit_code == 2
