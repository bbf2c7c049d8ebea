"""What `loads` returns: valid text untouched, several values, or an error."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_values import JUNK, TEXT, mended, values

from llmgate.errors import OutputError
from llmgate.repair import Repaired, loads


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"  {TEXT}\n",
        "42",
        '"x"',
        "null",
        "[1, 2.5, -3e2]",
        "{}",
        '{"é": "\\u00e9\\ud83d\\ude00"}',
    ],
)
def test_valid_json_comes_back_untouched_and_without_notes(text: str) -> None:
    found = loads(text)
    assert found == Repaired(json.loads(text), (json.loads(text),))


@given(values, st.sampled_from([None, 2]), st.booleans())
def test_any_valid_json_is_untouched(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    found = loads(text)
    assert found.value == json.loads(text)
    assert found.values == (found.value,)
    assert not found.notes
    assert not found.truncated


@pytest.mark.parametrize(
    ("text", "value", "values"),
    [
        ('{"a": 1}{"a": 2}', {"a": 1}, ({"a": 1}, {"a": 2})),
        ('{"a": 1}\n{"a": 2}\n', {"a": 1}, ({"a": 1}, {"a": 2})),
        ('{"a": 1}, {"a": 2}', {"a": 1}, ({"a": 1}, {"a": 2})),
        ('first {"a": 1,} then {"a": 2}', {"a": 1}, ({"a": 1}, {"a": 2})),
        ('[1] and {"a": 2}', {"a": 2}, ([1], {"a": 2})),
        ('{"a": {"m": "x"}, {"a": {}}', {"a": {"m": "x"}}, ({"a": {"m": "x"}}, {"a": {}})),
        ("1 2 3", 1, (1, 2, 3)),
        ("[1] [2]", [1], ([1], [2])),
    ],
)
def test_several_values_are_all_kept(text: str, value: Any, values: tuple[Any, ...]) -> None:
    found = mended(text)
    assert found.value == value
    assert found.values == values
    assert any(f"Found {len(values)} JSON values" in note.message for note in found.notes)


def test_a_whole_object_is_preferred_to_a_cut_one_but_the_cut_is_reported() -> None:
    found = mended('{"a": 1} {"b": "x')
    assert found.value == {"a": 1}
    assert found.values == ({"a": 1}, {"b": "x"})
    assert found.truncated


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "",
        "  \n",
        "see {name} and [below]",
        "2024-01-05",
        "True",
        "NaN",
        "{name}",
        '{"a", "b"}',
        "```\n```",
    ],
)
def test_text_without_json_is_an_error_that_carries_the_text(text: str) -> None:
    with pytest.raises(OutputError) as caught:
        loads(text)
    assert caught.value.text == text


@given(st.text(JUNK, max_size=60))
@settings(max_examples=500)
def test_no_text_raises_anything_but_an_output_error(text: str) -> None:
    try:
        found = loads(text)
    except OutputError:
        return
    assert found.values
    json.dumps(found.value, allow_nan=False)


def test_importing_it_does_not_import_json_repair_or_the_reader() -> None:
    code = (
        "import sys, llmgate.repair; llmgate.repair.loads('{}');"
        "print(*(m for m in sys.modules if m.startswith(('json_repair', 'llmgate.repair'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"llmgate.repair", "llmgate.repair.strict"}
