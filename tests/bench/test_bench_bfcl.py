"""The leaderboard's files are read as cases, and its own answers pass the rules, spoilt ones don't.

The files are a small sample of our own making here and, where the environment variable
LLMGATE_BFCL names the folder that has them, the leaderboard's.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest
from mutations import mutated, right_calls

from llmgate.bench.bfcl import read, schema_of
from llmgate.bench.cases import Case
from llmgate.bench.judge import judge
from llmgate.bench.result import Call
from llmgate.bench.rules import standard
from llmgate.errors import ConfigError
from llmgate.validation import Checker

# Read at once: while tests run, no setting of this machine is seen.
FOLDER = os.environ.get("LLMGATE_BFCL", "")
SAMPLE = Path(__file__).parent / "bfcl"
FILES = sorted(SAMPLE.glob("*.jsonl")) + sorted(Path(FOLDER).glob("*.jsonl") if FOLDER else ())
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def made(name, arguments):
    return Call(name, json.dumps(arguments, ensure_ascii=False))


def spellings(case):
    """The right answers to a case: each spelling of each call, with the first of the others."""
    per_call = [list(right_calls(expected)) for expected in case.expect.calls]
    for index, choices in enumerate(per_call):
        for chosen in choices:
            first = [choices[0] for choices in per_call]
            yield [*first[:index], chosen, *first[index + 1 :]]


@every_file
def test_every_answer_of_the_data_passes(path):
    cases = [case for case in read(path) if case.language == "python"]
    for case in cases:
        if case.expect.kind == "no_call":
            assert judge(case, (), "I have no function for that.").outcome == "right"
            continue
        names = [expected.name for expected in case.expect.calls]
        for arguments in spellings(case):
            calls = [made(*pair) for pair in zip(names, arguments, strict=True)]
            for order in (calls, calls[::-1]):
                verdict = judge(case, order, "")
                assert verdict.outcome == "right", (case.id, verdict.problems)


@every_file
def test_every_spoilt_answer_of_the_data_fails(path):
    cases = [case for case in read(path) if case.language == "python"]
    seen = set()
    for case in cases:
        schemas = {tool.name: tool.parameters for tool in case.tools}
        if case.expect.kind == "no_call":
            spoilt = [made(tool.name, {}) for tool in case.tools]
            assert judge(case, spoilt, "").outcome == "unwanted_call"
            continue
        right = [next(right_calls(expected)) for expected in case.expect.calls]
        calls = [made(e.name, a) for e, a in zip(case.expect.calls, right, strict=True)]
        assert judge(case, calls[:-1], "").outcome == "missing_call"
        assert judge(case, [*calls, calls[-1]], "").outcome == "unwanted_call"
        assert judge(case, (), "done").outcome == "missing_call"
        for index, expected in enumerate(case.expect.calls):
            schema = schemas[expected.name]
            for what, name, arguments in mutated(expected.name, right[index], expected, schema):
                if what == "wrong value" and allowed(arguments, expected):
                    continue
                seen.add(what)
                bad = [*calls[:index], made(name, arguments), *calls[index + 1 :]]
                verdict = judge(case, bad, "")
                assert verdict.outcome in ("wrong_function", "wrong_arguments"), (case.id, bad)
                assert verdict.problems
    if cases and cases[0].expect.kind == "calls":
        kinds = {"wrong name", "wrong value", "wrong type", "missing argument", "extra argument"}
        assert seen == kinds


def allowed(arguments, expected):
    """Whether what was changed happens to be right too."""

    def plain(value):
        return standard(json.dumps(value, ensure_ascii=False))

    return all(
        any(plain(value) == plain(answer) for answer in expected.arguments[key])
        for key, value in arguments.items()
    )


@every_file
def test_the_tools_of_the_data_have_schemas_that_can_be_checked(path):
    for case in read(path):
        for tool in case.tools:
            checker = Checker.of(tool.parameters)
            assert checker.schema["type"] == "object"


@every_file
def test_cases_of_the_data_survive_their_own_json(path):
    for case in read(path):
        assert msgspec.json.decode(msgspec.json.encode(case), type=Case) == case
        assert case.suite == path.stem


def test_java_values_are_read_by_their_types():
    [case] = read(SAMPLE / "sample_java.jsonl")
    assert case.language == "java"
    assert case.expect.calls[0].types["names"] == "ArrayList<String>"
    assert {p["type"] for p in case.tools[0].parameters["properties"].values()} == {"string"}
    right = {
        "path": "/data/x.zip",
        "buffer": "4096",
        "offset": "12L",
        "ratio": "0.5f",
        "strict": "true",
        "options": 'new HashMap<String, Object>() {{ put("level", 9); put("mode", "fast"); }}',
        "names": 'new ArrayList<>(Arrays.asList("a.txt", "b.txt"))',
        "sizes": "new int[]{1, 2}",
        "stream": "System.out",
    }
    assert judge(case, [made("Archive.open", right)], "").outcome == "right"
    needed = {"path": "/data/x.zip", "buffer": "4096"}
    assert judge(case, [made("Archive.open", needed)], "").outcome == "right"
    for key, wrong in {
        "path": "/data/y.zip",
        "buffer": 4096,
        "offset": "12",
        "ratio": "0.5",
        "strict": "True",
        "options": 'Map.of("level", 8, "mode", "fast")',
        "names": 'List.of("b.txt", "a.txt")',
        "sizes": "new int[]{1, 2, 3}",
        "stream": '"System.err"',
    }.items():
        verdict = judge(case, [made("Archive.open", {**right, key: wrong})], "")
        assert verdict.outcome == "wrong_arguments", key
        [problem] = verdict.problems
        assert repr(key) in problem


def test_javascript_values_are_read_by_their_types():
    [case] = read(SAMPLE / "sample_javascript.jsonl")
    right = {
        "title": '"Users"',
        "max": "10",
        "id": "9007199254740993n",
        "dense": "false",
        "style": "{color: 'red', \"width\": 3,}",
        "columns": "['age', `name`]",
        "onClick": "handleClick",
        "zoom": "1.5",
    }
    assert judge(case, [made("renderList", right)], "").outcome == "right"
    for key, wrong in {
        "title": "Groups",
        "max": "10.5",
        "id": "9007199254740993",
        "dense": "no",
        "style": "{color: 'red'}",
        "columns": "['name', 'age']",
        "onClick": "handleDrag",
        "zoom": '"1.5"',
    }.items():
        verdict = judge(case, [made("renderList", {**right, key: wrong})], "")
        assert verdict.outcome == "wrong_arguments", key


def test_types_of_programming_languages_become_those_of_json_schema():
    given = {
        "type": "dict",
        "properties": {
            "a": {"type": "tuple", "items": {"type": "float"}},
            "type": {"type": "any", "description": "Whatever it is."},
            "c": {"type": "dict", "required": True, "properties": {"d": {"type": "HashMap"}}},
        },
        "required": ["a"],
    }
    assert schema_of(given) == {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": "number"}},
            "type": {"description": "Whatever it is."},
            "c": {"type": "object", "properties": {"d": {"type": "object"}}},
        },
        "required": ["a"],
    }


def test_what_is_wrong_in_a_file_is_said_with_its_line(tmp_path):
    path = tmp_path / "simple_python.jsonl"
    whole = (SAMPLE / "sample_simple_python.jsonl").read_text(encoding="utf-8").split("\n")[0]
    path.write_text(f'{whole}\n{{"id": 5}}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"line 2: Expected `str`, got `int`"):
        read(path)
    line = json.loads(whole)
    del line["ground_truth"]
    path.write_text(json.dumps(line), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"line 1: 'simple_python_0' has no ground_truth"):
        read(path)
    line["question"] *= 2
    line["ground_truth"] = []
    path.write_text(json.dumps(line), encoding="utf-8")
    with pytest.raises(ConfigError, match="has 2 turns"):
        read(path)
    with pytest.raises(ConfigError, match="can't read"):
        read(tmp_path / "nothing.jsonl")
