"""The grammars that come with llmgate, and the user's own beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmgate import resources
from llmgate.errors import GrammarError, UnknownName
from llmgate.grammar import Matcher, load

FUNCTIONS = (
    "send_message",
    "pause_heartbeats",
    "core_memory_append",
    "core_memory_replace",
    "conversation_search",
    "conversation_search_date",
    "archival_memory_insert",
    "archival_memory_search",
)
SAMPLES = {
    "json": (
        ["{}", '{"a": [1, -2.5e3, true, null, {"b": "\\u00e9\\n"}]}', '{\n  "a": 1\n}'],
        ["[]", '{"a": 01}', "{'a': 1}", '{"a": "\n"}', "{" + " " * 40 + "}"],
    ),
    "json_array": (["[]", '["a", {"b": 2}]'], ["{}", "[1,]", "[1"]),
    "list": (["- one", "- one\n- two\n"], ["one", "- ", "- one\n\n- two", "* one"]),
}


MEMORY: list[tuple[str, dict[str, Any]]] = [
    ("send_message", {"message": 'Salut! "é" \\ [1] {2} 😀\n'}),
    ("pause_heartbeats", {"minutes": 360}),
    ("core_memory_append", {"name": "human", "content": "x", "request_heartbeat": True}),
    (
        "core_memory_replace",
        {"name": "persona", "old_content": "", "new_content": "y", "request_heartbeat": False},
    ),
    ("conversation_search", {"query": "code: f(x)[0]", "page": 0, "request_heartbeat": True}),
    ("conversation_search", {"query": "q", "request_heartbeat": True}),
    (
        "conversation_search_date",
        {"start_date": "2023-11-30", "end_date": "2023-12-01", "request_heartbeat": True},
    ),
    ("archival_memory_insert", {"content": "z", "request_heartbeat": False}),
    ("archival_memory_search", {"query": "q", "page": 12, "request_heartbeat": True}),
]
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("send_message", {}),
    ("send_message", {"message": "x", "request_heartbeat": True}),
    ("pause_heartbeats", {"minutes": -1}),
    ("pause_heartbeats", {"minutes": "5"}),
    ("core_memory_append", {"name": "other", "content": "x", "request_heartbeat": True}),
    ("core_memory_append", {"name": "human", "content": "x"}),
    ("conversation_search", {"page": 0, "query": "q", "request_heartbeat": True}),
    (
        "conversation_search_date",
        {"start_date": "2023-13-01", "end_date": "2023-12-01", "request_heartbeat": True},
    ),
    ("archival_memory_insert", {"content": "z", "request_heartbeat": "true"}),
    ("archival_memory_delete", {"content": "z", "request_heartbeat": True}),
]


@pytest.mark.parametrize("thinking", [False, True])
def test_the_memory_functions_have_a_grammar_of_their_own(thinking: bool) -> None:
    name = "memory_calls_with_inner_thoughts" if thinking else "memory_calls"
    matcher = Matcher(load(name).text)
    thoughts = {"inner_thoughts": "Hm: {'a'}…"} if thinking else {}

    def forms(function: str, params: dict[str, Any]) -> list[str]:
        call = {"function": function, "params": {**thoughts, **params}}
        return [
            json.dumps(call, indent=2, ensure_ascii=False),
            json.dumps(call),
            json.dumps(call, separators=(",", ":")),
        ]

    for function, params in MEMORY:
        for form in forms(function, params):
            assert matcher.matches(form), matcher.mismatch(form)
    for function, params in WRONG:
        for form in forms(function, params):
            assert not matcher.matches(form), form
    assert {function for function, _ in MEMORY} == set(FUNCTIONS)
    for function, params in MEMORY:
        other = json.dumps({"function": function, "params": params})
        assert matcher.matches(other) != thinking


@pytest.mark.parametrize("name", SAMPLES)
def test_a_shipped_grammar_takes_the_good_and_refuses_the_bad(name: str) -> None:
    matcher = Matcher(load(name).text)
    good, bad = SAMPLES[name]
    assert [sample for sample in good if not matcher.matches(sample)] == []
    assert [sample for sample in bad if matcher.matches(sample)] == []


def test_every_shipped_grammar_loads() -> None:
    for name in resources.names("grammars"):
        assert load(name).exact


def test_the_users_own_grammar_comes_first(tmp_path: Path) -> None:
    folder = tmp_path / "grammars"
    folder.mkdir()
    (folder / "json.gbnf").write_text('root ::= "mine"', encoding="utf-8")
    assert load("json", tmp_path).text == 'root ::= "mine"'
    (folder / "json.gbnf").write_text("root ::= yours", encoding="utf-8")
    with pytest.raises(GrammarError, match=r"json\.gbnf.*'yours' is not defined"):
        load("json", tmp_path)


def test_an_unknown_grammar_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'json'"):
        load("jsn")
