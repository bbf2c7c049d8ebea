"""The grammars that come with llmgate, and the user's own beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmgate import resources
from llmgate.errors import GrammarError, UnknownName
from llmgate.grammar import Matcher, load

SAMPLES = {
    "json": (
        ["{}", '{"a": [1, -2.5e3, true, null, {"b": "\\u00e9\\n"}]}', '{\n  "a": 1\n}'],
        ["[]", '{"a": 01}', "{'a': 1}", '{"a": "\n"}', "{" + " " * 40 + "}"],
    ),
    "json_array": (["[]", '["a", {"b": 2}]'], ["{}", "[1,]", "[1"]),
    "list": (["- one", "- one\n- two\n"], ["one", "- ", "- one\n\n- two", "* one"]),
}


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
