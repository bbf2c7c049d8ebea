"""Suites: read from JSONL and YAML, with errors that say where and what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from llmgate.bench import loading
from llmgate.errors import ConfigError, UnknownName
from llmgate.types import ToolChoice

CASE = {
    "id": "one",
    "messages": [{"role": "user", "content": "The weather in Paris?"}],
    "tools": [{"name": "get_weather", "parameters": {"type": "object"}}],
    "expect": {"kind": "calls", "calls": [{"name": "get_weather", "arguments": {"city": ["P"]}}]},
}


def suite(tmp_path, *cases, name="mine.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(case) + "\n" for case in cases), encoding="utf-8")
    return str(path)


def changed(**fields):
    return {**CASE, **fields}


def test_a_file_is_a_suite_of_its_name(tmp_path):
    (case,) = loading.load(suite(tmp_path, CASE))
    assert (case.suite, case.id, case.choice) == ("mine", "one", ToolChoice())
    assert case.expect.calls[0].arguments == {"city": ["P"]}


def test_yaml_says_the_same(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump([CASE]), encoding="utf-8")
    assert loading.load(str(path)) == loading.load(suite(tmp_path, CASE))


def test_what_looks_like_a_date_in_yaml_is_a_text(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "- id: one\n"
        "  messages: [{role: user, content: When}]\n"
        "  tools: [{name: f}]\n"
        "  expect: {kind: calls, calls: [{name: f, arguments: {day: [2024-05-06]}}]}\n"
    )
    assert loading.load(str(path))[0].expect.calls[0].arguments == {"day": ["2024-05-06"]}


def test_the_example_of_the_documentation_is_a_suite(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "bench.md").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(text.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")
    (case,) = loading.load(str(path))
    assert case.turns[0].results == ("Rain, 4 degrees.",)


def test_all_that_comes_along_can_be_read():
    cases = loading.load_all(())
    assert {case.suite for case in cases} == set(loading.shipped())
    assert len(cases) > 100


def test_a_limit_is_for_each_suite(tmp_path):
    cases = [changed(id=str(number)) for number in range(5)]
    names = [suite(tmp_path, *cases, name=name) for name in ("a.jsonl", "b.jsonl")]
    assert [case.suite for case in loading.load_all(names, 2)] == ["a", "a", "b", "b"]


def test_line_separators_in_strings_end_no_line(tmp_path):
    path = tmp_path / "mine.jsonl"
    text = json.dumps(
        changed(messages=[{"role": "user", "content": "a\u2028b"}]), ensure_ascii=False
    )
    path.write_text(text + "\r\n\n", encoding="utf-8")
    assert loading.load(str(path))[0].messages[0].content == "a\u2028b"


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (changed(expct={}), "line 1, 'one': unknown field 'expct'.*expect"),
        (changed(expect={"kind": "call"}), "line 1, 'one': expect.kind: Invalid enum value 'call'"),
        (changed(expect={"kind": "calls"}), "expect.calls is empty"),
        (changed(expect={"kind": "no_call", "calls": CASE["expect"]["calls"]}), "not 'no_call'"),
        (changed(expect={"kind": "text", "cals": []}), "unknown field 'expect.cals'"),
        (changed(messages=[]), "there are no messages"),
        (changed(messages=[{"role": "usr"}]), r"messages\[0\].role"),
        (changed(messages=[{"role": "user", "text": "x"}]), r"unknown field 'messages\[0\].text'"),
        (changed(tools=[{"name": "a"}, {"name": "a"}]), "two tools have the same name"),
        (changed(tools=[{"name": "get_wether"}]), "get_weather.*none of the tools.*get_wether"),
        (changed(choice={"mode": "required", "name": "x"}), "choice.name is 'x'"),
        (changed(choice={"type": "auto"}), "unknown field 'choice.type'"),
        (changed(id=" "), "id is empty"),
        (changed(turns=[{"expect": {"kind": "no_call"}}]), "neither results nor messages"),
        (
            changed(turns=[{"results": ["a", "b"], "expect": {"kind": "no_call"}}]),
            "2 results for 1 calls",
        ),
        (
            changed(turns=[{"results": ["a"], "expect": {"kind": "no_call", "x": 1}}]),
            r"unknown field 'turns\[0\].expect.x'",
        ),
        ([CASE], "a case must be an object"),
        ({"id": "one"}, "missing required field"),
    ],
)
def test_what_is_wrong_with_a_case_is_said_with_its_place(tmp_path, case, said):
    with pytest.raises(ConfigError, match=said) as caught:
        loading.load(suite(tmp_path, case))
    assert "mine.jsonl, line 1" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "no case"), (b"{", "line 1"), (b"\n\n[1, 2\n", "line 3"), (b"\xff\xfe", "can't read")],
)
def test_what_is_no_suite_at_all_is_refused(tmp_path, content, said):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        loading.load(str(path))


@pytest.mark.parametrize(("content", "said"), [("a: [", "not valid YAML"), ("a: 1", "a list")])
def test_what_is_no_suite_in_yaml_is_refused(tmp_path, content, said):
    path = tmp_path / "mine.yml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        loading.load(str(path))


def test_a_name_that_is_no_suite_is_answered_with_the_known_ones():
    with pytest.raises(UnknownName, match="calls"):
        loading.load("cals")


def test_the_same_case_twice_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="two cases 'one'"):
        loading.load_all([suite(tmp_path, CASE, CASE)])
