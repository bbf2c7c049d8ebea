"""Oracle round trip: every call, written in every style and read back, is the same call.

The calls are a small set of hard ones here and, where the environment variable LLMGATE_BFCL
names the folder that has them (files of JSON lines), those of the Berkeley Function-Calling
Leaderboard with the answers that it expects.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import random
from pathlib import Path

import pytest
from styled import RAW, call_of, canonical, one_call, scanned

from llmgate.styles import STYLES, style
from llmgate.wrappers.lenient import read_calls
from llmgate.wrappers.writing import unwritable, write_calls

# Read at once: while tests run, no setting of this machine is seen.
FOLDER = os.environ.get("LLMGATE_BFCL", "")
TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}
every_style = pytest.mark.parametrize("name", STYLES)

STRING = {"type": "string"}
HARD = [
    ({}, {}),
    ({"x": ""}, {"x": STRING}),
    ({"x": "\n"}, {"x": STRING}),
    ({"x": "\nline\n\n"}, {"x": STRING}),
    ({"x": " \t padded \r\n "}, {"x": STRING}),
    ({"x": "Straße 😀 你好 \u200b\u2028 e\u0301"}, {"x": STRING}),
    ({"x": 'He said "no", it\'s `so` \\ \\\\ \\n \\"'}, {"x": STRING}),
    ({"x": "5", "y": "null", "z": "true"}, {"x": STRING, "y": STRING, "z": STRING}),
    ({"x": '{"a": [1]}', "y": "[1, 2]", "z": '"x"'}, {"x": STRING, "y": STRING, "z": STRING}),
    ({"x": "5", "y": "null", "z": '"5"', "w": '"\\"5\\""'}, {}),
    ({"x": "None", "y": "nul", "z": "5 km"}, {"x": {"type": ["string", "null"]}}),
    ({"x": None, "y": None}, {"x": {"type": ["string", "null"]}, "y": {"type": "null"}}),
    ({"x": True, "y": False}, {"x": {"type": "boolean"}, "y": {"enum": [False, "no"]}}),
    ({"x": 0, "y": -0.0, "z": 1e-7, "w": 1.5e300}, {"x": {"type": "integer"}}),
    ({"x": 10**40, "y": -(2**63)}, {"x": {"type": "integer"}, "y": {"type": "number"}}),
    ({"x": [], "y": {}, "z": [[]], "w": [{}]}, {"x": {"type": "array"}}),
    ({"x": [1, "a", None, True, {"k": [1.5]}]}, {"x": {"type": "array"}}),
    ({"x": {"a": {"b": {"c": ["d", {"e": "f"}]}}}}, {"x": {"type": "object"}}),
    ({"x": {"key with space": 1, "": 2, "a:b": "c", "'": '"'}}, {"x": {"type": "object"}}),
    ({"x": ["a, b", "c)", "]", "}", "'", "x=1", "f(y='z')"]}, {"x": {"type": "array"}}),
    ({"x": "a, y=2) f(z='", "y": "]} {["}, {"x": STRING, "y": STRING}),
    ({"x": "</", "y": "<parameter", "z": "</parameter"}, {"x": STRING, "y": STRING, "z": STRING}),
    ({"x": "<b>bold</b> & <|x|>", "y": "]]>"}, {"x": STRING, "y": STRING}),
    ({"x": "def f():\n    return '''x'''\n"}, {"x": STRING}),
    ({"x": ["</parameter>", "</arg_value>", "<|close|>argument<|sep|>"]}, {"x": {"type": "array"}}),
    ({"x-y": 1, "$ref": "a", "@id": "b", "from": "c"}, {"x-y": {"type": "integer"}}),
    ({"x": "a"}, {"x": {"anyOf": [{"$ref": "#/$defs/s"}, {"type": "null"}]}}),
    ({"x": "b", "y": 2}, {"x": {"enum": ["a", "b"]}, "y": {"enum": [1, 2]}}),
]
# Strings in JSON may hold any mark; raw strings all but their own.
MARKS = sorted({own.parameter[2].strip() for own in RAW} | {'<|"|>', "</tool_call>", "[ARGS]"})


def as_json_schema(schema):
    if isinstance(schema, list):
        return [as_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: as_json_schema(value) for key, value in schema.items() if key != "type"}
    named = schema.get("type")
    if not isinstance(named, str):
        return {**made, "type": as_json_schema(named)} if "type" in schema else made
    named = TYPES.get(named, named)
    return {"type": named, **made} if named else made


@functools.cache
def leaderboard():
    """Every call that the leaderboard expects, with each spelling of its arguments, and schemas."""
    return list(read_leaderboard())


def read_leaderboard():
    for path in sorted(Path(FOLDER).glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            schemas = {f["name"]: as_json_schema(f["parameters"]) for f in case["function"]}
            for expected in case.get("ground_truth", ()):
                for name, choices in expected.items():
                    for number in range(max(map(len, choices.values()), default=1)):
                        chosen = {key: vs[number % len(vs)] for key, vs in choices.items()}
                        # An empty string stands for an argument that may be left out.
                        arguments = {key: value for key, value in chosen.items() if value != ""}
                        yield name, arguments, schemas


def check(own, name, arguments, schemas, cuttings):
    call = call_of(name, arguments)
    assert unwritable(own, call, schemas) == ""
    text = one_call(own, call, schemas)
    for cuts in cuttings(text):
        parts, scanner, error = scanned(own, text, schemas, cuts)
        assert (error, scanner.done, parts["name"]) == (None, True, name)
        assert canonical(json.loads(parts["arguments"])) == canonical(arguments)
    (found,) = read_calls(write_calls(own, [call], schemas), own, schemas)
    assert (found.name, found.notes, found.cut) == (name, (), "no")
    assert canonical(found.arguments) == canonical(arguments)


@every_style
def test_hard_calls_come_back_the_same(name):
    def cuttings(text):
        return [(), range(1, len(text)), range(1, len(text), 3), range(2, len(text), 7)]

    for arguments, properties in HARD:
        schemas = {"f": {"properties": properties, "$defs": {"s": STRING}}}
        check(style(name), "f", arguments, schemas, cuttings)


@every_style
def test_marks_inside_strings_come_back_the_same(name):
    own = style(name)
    ending = own.parameter[2].strip() if own.arguments == "parameters" else '<|"|>'
    for mark in MARKS:
        if own in RAW and mark == ending and not own.cdata:
            continue  # see the tests of `unwritable`
        for value in (mark, f"a {mark}\n{mark} b", f"{mark[:-1]}{mark}"):
            if own in RAW and ending in value and not own.cdata:
                continue
            schemas = {"f": {"properties": {"x": STRING}}}
            check(own, "f", {"x": value}, schemas, lambda text: [(), range(1, len(text))])


@every_style
def test_several_hard_calls_come_back_the_same(name):
    own = style(name)
    calls = [call_of(f"f{n}", arguments) for n, (arguments, _) in enumerate(HARD)]
    schemas = {f"f{n}": {"properties": schema} for n, (_, schema) in enumerate(HARD)}
    calls = [call for call in calls if not unwritable(own, call, schemas)]
    assert len(calls) == len(HARD)
    for first, second in itertools.pairwise(calls):
        found = read_calls(write_calls(own, [first, second], schemas), own, schemas)
        assert [call.name for call in found] == [first.name, second.name]
        for call, meant in zip(found, (first, second), strict=True):
            assert canonical(call.arguments) == canonical(json.loads(meant.arguments))
            assert call.notes == ()


@pytest.mark.skipif(not FOLDER, reason="LLMGATE_BFCL names no folder with the leaderboard's files")
@every_style
def test_every_call_of_the_leaderboard_comes_back_the_same(name):
    dice = random.Random(name)

    def cuttings(text):
        return [(), sorted(dice.sample(range(len(text)), 9))]

    assert leaderboard()
    for function, arguments, schemas in leaderboard():
        check(style(name), function, arguments, schemas, cuttings)
