"""Text that is cut: closed, reported, and nothing is invented."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_values import CALL, TEXT, documents, mended

from llmgate.repair import loads


def grown_from(part: Any, whole: Any) -> bool:
    """Whether a value is a beginning of another: only its last string may be shorter."""
    if isinstance(part, dict) and isinstance(whole, dict):
        if list(part) != list(whole)[: len(part)]:
            return False
        pairs = [(part[key], whole[key]) for key in part]
    elif isinstance(part, list) and isinstance(whole, list):
        if len(part) > len(whole):
            return False
        pairs = list(zip(part, whole, strict=False))
    elif isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part)
    else:
        return type(part) is type(whole) and part == whole
    return all(p == w for p, w in pairs[:-1]) and (not pairs or grown_from(*pairs[-1]))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (TEXT[:-1], CALL),
        (TEXT[:-2], CALL),
        (TEXT[:-3], CALL),
        (TEXT[:-4], {"function": "send_message", "params": {"message": "h"}}),
        (
            '\n\n  {\n "function": "s",\n "params": {\n "query": "x y",',
            {"function": "s", "params": {"query": "x y"}},
        ),
        (
            '\n\n\n  "function": "s",\n  "params": {\n    "query": "cats",',
            {"function": "s", "params": {"query": "cats"}},
        ),
        (
            '{\n  "function":{\n  "function": "x", "params": {"a": "he',
            {"function": {"function": "x", "params": {"a": "he"}}},
        ),
        ('{"a": "b", "c', {"a": "b"}),
        ('{"a": "b", "c: d', {"a": "b"}),
        ('{"a": "b}', {"a": "b}"}),
        ('{"a": "b"\n\nI hope that helps', {"a": "b"}),
        ('{"a": "b", "c":', {"a": "b"}),
        ('{"a": tr', {}),
        ('{"a": 12', {}),
        ('{"a": 12.', {}),
        ('{"a": -', {}),
        ('{"a": true', {"a": True}),
        ('{"a": 12 ', {"a": 12}),
        ('{"a": 12<|im_end|>', {"a": 12}),
        ('{"a": "x<|im_end|>', {"a": "x"}),
        ('{"a": "x\\', {"a": "x"}),
        ('{"a": "x\\u00', {"a": "x"}),
        ('{"a": "x\\ud83d', {"a": "x"}),
        ('{"a": "say "hi" to', {"a": 'say "hi" to'}),
        ('{"a": [1, 2, {"b": "x', {"a": [1, 2, {"b": "x"}]}),
        ('{"a": {"b": 1}\nI hope this helps!', {"a": {"b": 1}}),
        ('{"a": {"b": 1}\n```\nBye', {"a": {"b": 1}}),
        ('{"left": {"left": {"n": 1}', {"left": {"left": {"n": 1}}}),
        ("{", {}),
        ('"abc', "abc"),
    ],
)
def test_a_cut_text_is_closed_reported_and_never_completed(text: str, value: Any) -> None:
    found = mended(text)
    assert found.value == value
    assert found.truncated
    assert any("text ends inside a value" in note.message for note in found.notes)


def test_a_cut_restart_is_taken_out_where_the_schema_allows_no_object_there() -> None:
    schema = {"properties": {"function": {"type": "string"}, "params": {"type": "object"}}}
    found = loads('{"function":{"function": "x", "params": {"a": "he', schema=schema)
    assert found.value == {"function": "x", "params": {"a": "he"}}
    assert found.truncated


@given(documents, st.sampled_from([None, 2]), st.booleans(), st.data())
@settings(max_examples=300)
def test_nothing_is_invented_wherever_a_text_is_cut(
    value: Any, indent: int | None, ascii_only: bool, data: st.DataObject
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    for at in data.draw(st.lists(st.integers(1, len(text) - 1), max_size=12)):
        found = loads(text[:at])
        assert found.truncated
        assert grown_from(found.value, value)
        assert [edit.rule for edit in found.edits if edit.rule == "cut"] == ["cut"]
