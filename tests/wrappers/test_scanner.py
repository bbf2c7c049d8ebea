"""A call is read the same however its text is cut, and its arguments are never changed."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate.wrappers.scanner import CallScanner, Unreadable
from llmgate.wrappers.spec import Spec

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def scan(text, thoughts, cuts=()):
    scanner = CallScanner(Spec(), thoughts)
    parts = {"thoughts": [], "name": [], "arguments": [], "end": []}
    edges = [0, *sorted(cuts), len(text)]
    for start, end in itertools.pairwise(edges):
        for event in scanner.feed(text[start:end]):
            parts[event.kind].append(event.text)
    del parts["end"]
    return {kind: "".join(texts) for kind, texts in parts.items()}, scanner.done


@given(
    arguments=st.dictionaries(st.text().filter(lambda key: key != "inner_thoughts"), values),
    thought=st.text(),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1, 4]),
    thoughts=st.sampled_from(["off", "inside", "beside"]),
    data=st.data(),
)
def test_any_call_is_read_whatever_the_cuts(arguments, thought, ascii_only, indent, thoughts, data):
    inner = {"inner_thoughts": thought, **arguments} if thoughts == "inside" else arguments
    call = {"function": "f", "params": inner}
    if thoughts == "beside":
        call = {"inner_thoughts": thought, **call}
    text = json.dumps(call, ensure_ascii=ascii_only, indent=indent)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=12))
    parts, done = scan(text, thoughts, cuts)
    assert done
    assert parts["name"] == "f"
    assert json.loads(parts["arguments"]) == arguments
    assert parts["thoughts"] == ("" if thoughts == "off" else thought)


def test_arguments_are_passed_on_to_the_letter():
    raw = '{ "a":1.50,"b" : "\\u00e9\\/ é",\n\t"c":[ ] }'
    parts, _ = scan(f'{{"function": "f", "params": {raw}}}', "off", range(1, 40))
    assert parts["arguments"] == raw


def test_thoughts_are_cut_out_of_the_arguments_and_nothing_else():
    text = '{"function": "f", "params": {"inner_thoughts": "hm", "x": 1}}'
    assert scan(text, "inside")[0] == {"thoughts": "hm", "name": "f", "arguments": '{"x": 1}'}
    text = '{"function": "f", "params": {"inner_thoughts": "hm"}}'
    assert scan(text, "inside")[0]["arguments"] == "{}"
    text = '{"function": "f", "params": {"x": 1}}'
    assert scan(text, "inside")[0]["arguments"] == '{"x": 1}'


@pytest.mark.parametrize("escaped", ["\\ud83d\\ude00", "\\uD83D\\uDE00"])
def test_a_surrogate_pair_is_one_character_even_if_cut(escaped):
    text = f'{{"inner_thoughts": "a{escaped}b", "function": "f", "params": {{}}}}'
    for cut in range(len(text)):
        assert scan(text, "beside", [cut])[0]["thoughts"] == "a😀b"


def test_half_a_surrogate_pair_becomes_a_replacement_character():
    text = '{"inner_thoughts": "a\\ud83d b\\ud83d\\n\\udc00", "function": "f", "params": {}}'
    for cut in range(len(text)):
        assert scan(text, "beside", [cut])[0]["thoughts"] == "a� b�\n�"


def test_what_follows_the_call_is_kept():
    scanner = CallScanner(Spec(), "off")
    assert [e.kind for e in scanner.feed('{"function": "f", "params": {}} {"fun')][-1] == "end"
    assert scanner.rest == ' {"fun'


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "[1]",
        '{"name": "f"}',
        '{"params": {}, "function": "f"}',
        '{"function": 5}',
        '{"function": "f", "params": 5}',
        '{"function": "f" "params": {}}',
        '{"function": "\\x", "params": {}}',
    ],
)
def test_what_is_no_such_call_is_unreadable(text):
    with pytest.raises(Unreadable):
        scan(text, "off")


@pytest.mark.parametrize("piece", [20, 10_000_000])
def test_long_arguments_take_linear_work(piece):
    # Quadratic work on 4 MB would not end within the suite's time.
    raw = json.dumps({"items": [{"k": "v" * 8} for _ in range(200_000)]})
    text = f'{{"function": "f", "params": {raw}}}'
    parts, done = scan(text, "off", range(piece, len(text), piece))
    assert done
    assert parts["arguments"] == raw
