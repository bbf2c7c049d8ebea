"""`llmgate grammar --check` and its listings, run as a person runs them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def grammar(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmgate", "grammar", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_a_text_that_matches_exits_with_0():
    done = grammar("--check", "json", stdin='{"a": [1, null]}\n')
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "the text matches json.\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            '{"a": 1,\n  "b": 02}',
            'line 2, column 9: \'2\' where " ", ",", ".", "\\n", "}", [eE] was',
        ),
        ('{"a"', 'line 1, column 5: the text ends where ":" was expected.'),
        ("{} {}", "line 1, column 3: ' ' where the end was expected."),
    ],
)
def test_a_text_that_does_not_match_exits_with_1_and_says_where(text, line):
    done = grammar("--check", "json", stdin=text)
    assert done.returncode == 1
    assert done.stdout.startswith(line)
    assert done.stdout.count("\n") == 1


def test_a_grammar_may_be_a_file(tmp_path):
    file = tmp_path / "answer.gbnf"
    file.write_text('root ::= "yes" | "no"', encoding="utf-8")
    assert grammar("--check", str(file), stdin="yes").returncode == 0
    done = grammar("--check", str(file), stdin="maybe")
    assert done.returncode == 1
    assert '\'m\' where "no", "yes" was expected' in done.stdout


def test_a_bad_grammar_exits_with_2_and_one_line(tmp_path):
    file = tmp_path / "bad.gbnf"
    file.write_text('root ::= item\nitm ::= "x"', encoding="utf-8")
    done = grammar("--check", str(file), stdin="x")
    assert done.returncode == 2
    assert done.stderr.startswith("llmgate: grammar, line 1, column 10: the rule 'item'")
    assert done.stderr.count("\n") == 1


def test_an_unknown_grammar_exits_with_2_and_the_known_names():
    done = grammar("--check", "jsno", stdin="")
    assert done.returncode == 2
    assert "Did you mean 'json'?" in done.stderr


def test_what_a_grammar_cannot_hold_is_listed_alone(tmp_path):
    file = tmp_path / "schema.json"
    file.write_text(json.dumps({"type": "string", "pattern": "(a)\\1"}), encoding="utf-8")
    done = grammar("--relaxed", str(file))
    assert done.returncode == 0
    assert done.stdout.startswith("#/pattern: pattern: ")
    file.write_text('{"type": "integer"}', encoding="utf-8")
    assert grammar("--relaxed", str(file)).stdout == ""


def test_neither_a_schema_nor_a_grammar_is_a_usage_error():
    assert grammar().returncode == 2
    assert "Missing a schema" in grammar().stderr
    assert grammar("--check", "json", "schema.json").returncode == 2
