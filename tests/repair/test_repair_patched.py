"""What one edit mends is read by the decoder: it comes to the same as reading it tolerantly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_values import JUNK, objects

from llmgate.errors import OutputError
from llmgate.repair import Repaired, loads, patched


def read(text: str) -> Repaired | None:
    try:
        return loads(text)
    except OutputError:
        return None


def read_slowly(text: str, monkeypatch: pytest.MonkeyPatch) -> Repaired | None:
    with monkeypatch.context() as context:
        context.setattr(patched, "read", lambda text, error: None)
        return read(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "x" "b": [1 2, "y" "z"], "c": [{} {}]}',
        '{"a" 1, "b" = "x", "c" => [], "d":: {"e" {}}}',
        '{"a": [1, 2,], "b": {"c": 1,},, "d": [1,, 2]}',
        '{"a": True, "b": [None, False], "c": NaN, "d": -Infinity, "e": undefined}',
        '{"a": .5, "b": +1, "c": 5., "d": 1_000, "e": 0x1F, "f": -.5, "g": 007}',
        '{"a": 1, // one\n "b": 2 /* two */, "c": /* three */ 3}',
        "{'a': 'x', 'b': ['y', 'z \\n'], 'c': True}",
        "{“a”: “x”, “b”: [“y”]}",
        '{a: 1, b_c: [2], $d: "x"}',
        '{"a": hello world, "b": [one, two]}',
        '{"a": x", "b": y z", "c": 1}',
        '{"a": "x, "b": "y", "c": 1}',
        '{"a": 1, b": 2, "c": 3}',
        '{"a: "x", "b": 1}',
        '{"a": "say "hi" to me", "b": ["x "y" z", "w"]}',
        '{"a": "x\ny", "b": ["\t"], "c": "\\d+"}',
        '{"a": [1, 2}, "b": {"c": 3]}',
        '{"a": [1, 2, "b": 3}',
        '[{"a": 1, {"a": 2}]',
        '{"a": [1]], "b": 2}',
        '{"a": {"b": 1}}, "c": 2}',
        '{"a": {"b": [1, {"c": "x"}',
        '{"a": "é" "b": "größe", "c": True}',
    ],
)
def test_both_ways_make_the_same_of_a_fault_and_report_the_same_edits(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quickly, slowly = read(text), read_slowly(text, monkeypatch)
    assert quickly is not None
    assert slowly is not None
    assert quickly.value == slowly.value
    assert quickly.truncated == slowly.truncated
    assert {edit.rule for edit in quickly.edits} == {edit.rule for edit in slowly.edits}


@given(objects, st.data())
@settings(max_examples=150)
def test_a_text_without_one_of_its_commas_or_colons_is_what_it_was(
    value: dict[str, Any], data: st.DataObject
) -> None:
    text = json.dumps(value)
    drop = data.draw(st.sampled_from([": ", ", "]))
    outside = [at for at in range(len(text)) if text.startswith(drop, at)]
    outside = [at for at in outside if not _in_string(text, at)]
    if outside:
        at = data.draw(st.sampled_from(outside))
        spoilt = text[:at] + text[at + 1 :]
        assert read(spoilt) is not None
        if text[at + 2] in '{["' and text[at - 1] in '}]"' and "\\" not in text:
            found = loads(spoilt)
            assert [edit.rule for edit in found.edits] == ["comma" if drop == ", " else "colon"]
            assert found.value == value


def _in_string(text: str, at: int) -> bool:
    return len(text[:at].replace("\\\\", "").replace('\\"', "").split('"')) % 2 == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # what stood on both sides of a bracket does not grow together
        ('{"a": 1]8}', {"a": 1}),
        ('{"a": acknowle]dged"}', {"a": "acknowle"}),
        # nor does a quote that was put in become a part of the contents
        ('{"a": Tr "e}', {"a": "Tr"}),
        ('{"a": 10.\n0}', {"a": "10."}),
    ],
)
def test_nothing_is_made_of_what_was_put_in(text: str, value: Any) -> None:
    assert loads(text).value == value


@given(st.text(JUNK, max_size=40))
@settings(max_examples=300)
def test_it_makes_something_of_junk_or_nothing_but_never_fails(text: str) -> None:
    found = read("{" + text)
    if found is not None:
        assert found.value == json.loads(json.dumps(found.value))
