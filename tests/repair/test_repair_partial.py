"""`Partial` says of a growing text what `loads` says of each of its beginnings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_values import JUNK, documents

from llmgate.errors import OutputError
from llmgate.repair import Partial, Repaired, loads


def read(text: str) -> Repaired | None:
    try:
        return loads(text)
    except OutputError:
        return None


@given(documents, st.sampled_from([None, 2]), st.booleans(), st.integers(1, 5))
@settings(max_examples=150)
def test_a_growing_text_has_the_value_that_each_beginning_has(
    value: Any, indent: int | None, ascii_only: bool, step: int
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    partial = Partial()
    for at in range(0, len(text), step):
        partial.feed(text[at : at + step])
        found = read(text[: at + step])
        assert partial.value == (None if found is None else found.value)
        assert partial.truncated == (found is None or found.truncated)
    assert partial.value == value
    assert partial.text == text


@given(st.text(JUNK, max_size=30))
@settings(max_examples=200)
def test_so_does_any_other_text(text: str) -> None:
    partial = Partial()
    for at, char in enumerate(text):
        partial.feed(char)
        found = read(text[: at + 1])
        assert partial.value == (None if found is None else found.value)
        assert partial.truncated == (found is None or found.truncated)


def test_the_value_is_one_object_that_grows() -> None:
    partial = Partial()
    partial.feed('{"a": [1, "x')
    value = partial.value
    assert value == {"a": [1, "x"]}
    partial.feed('y", 2')
    assert partial.value is value
    assert value == {"a": [1, "xy"]}
    partial.feed("]}")
    assert partial.value == {"a": [1, "xy", 2]}
    assert not partial.truncated


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("  ", None),
        ("-", None),
        ("[-", []),
        ("[.", None),
        ("[-.5", []),
        ("tru", None),
        ("12", 12),
        ('"ab', "ab"),
        ('{"a": 12', {}),
        ('{"a": 12 ', {"a": 12}),
        ('{"a": tru', {}),
        ('{"a": true', {"a": True}),
        ('{"a": "b\\', {"a": "b"}),
        ('{"a": "\\ud83d', {"a": ""}),
        ('{"a": "\\ud83d\\ude00', {"a": "😀"}),
        ('{"a": "\\ud83dx', {"a": "\ud83dx"}),
        ('{"a": 1, "b', {"a": 1}),
        ('{"a": 1} {"b": 2}', {"a": 1}),
        ('{"a": 1e999, "b": 2', {}),
        ("{'a': 1, 'b': 'x", {"a": 1, "b": "x"}),
    ],
)
def test_what_is_certain_of_a_beginning(text: str, value: Any) -> None:
    partial = Partial()
    partial.feed(text)
    assert partial.value == value


def test_a_restart_shows_when_its_object_is_whole() -> None:
    partial = Partial()
    partial.feed('{"function": {"function": "x", "params": {}')
    assert partial.value == {"function": {"function": "x", "params": {}}}
    partial.feed("}")
    assert partial.value == {"function": "x", "params": {}}
    assert not partial.truncated
