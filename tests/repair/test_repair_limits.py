"""Any depth, and hostile text: linear work, a value or a clean error."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from llmgate.errors import OutputError
from llmgate.repair import MAX_DEPTH, loads, salvage
from llmgate.repair.reader import Reader


def depth_of(value: Any) -> int:
    depth = 0
    while value:
        value = next(iter(value.values())) if isinstance(value, dict) else value[0]
        depth += 1
    return depth + isinstance(value, (dict, list))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "{" + "}" * 100_001,
        '[{"a":' * 50_000 + "[,]" + "}]" * 50_000,
    ],
)
def test_any_depth_is_read(text: str) -> None:
    # `{"a":` at the very end has no value.
    assert depth_of(loads(text).value) >= 99_999


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "[" * 1000 + "]" * 1000, "[" * 251 + "]" * 251]
)
def test_a_limit_of_depth_is_a_clean_error(text: str) -> None:
    with pytest.raises(OutputError, match=f"deeper than {MAX_DEPTH}"):
        loads(text, max_depth=MAX_DEPTH)
    assert loads("[" * 250 + "]" * 250, max_depth=MAX_DEPTH).values


def test_a_whole_value_before_text_nested_too_deep_is_kept() -> None:
    found = loads('{"a": 1}' + "[" * 100_000, max_depth=MAX_DEPTH)
    assert found.value == {"a": 1}
    assert found.notes


@pytest.mark.parametrize("start", ["", "{", '{"a":"', '{"a":1}'])
@pytest.mark.parametrize(
    "unit",
    ["{", '"', "\\", '{"a', '","', '":"', "[{", '{"a":1,', '"/*', "'", " ", '{"a": "b", {', "1"],
)
def test_hostile_text_ends_in_a_value_or_a_clean_error(start: str, unit: str) -> None:
    # Quadratic work on 200,000 characters would take minutes and trip the job's time limit.
    try:
        values = loads(start + unit * (200_000 // len(unit))).values
    except OutputError:
        return
    assert values


@pytest.mark.parametrize(
    "unit",
    [
        *("{", '"', "\\", "[", '{"', '"a":', ",", '","', '":"', '{"a":1 ', '"/*', "'", "[{"),
        *('"x", "y": "', '"a": "b "c" d", ', '["a" ', '{"a":"{"', '"}', "{'a':'b',", '"//\n'),
    ],
)
@pytest.mark.parametrize("start", ["", '{"a": "', '["'])
def test_the_work_grows_with_the_text_and_no_faster(
    start: str, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[Reader] = []

    class Counted(Reader):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            readers.append(self)

    monkeypatch.setattr(salvage, "Reader", Counted)

    def work(length: int) -> int:
        readers.clear()
        with contextlib.suppress(OutputError):
            loads(start + unit * (length // len(unit)))
        return sum(reader.work for reader in readers)

    assert work(40_000) <= 2.5 * work(20_000) + 40_000
    assert work(40_000) <= 80 * 40_000
