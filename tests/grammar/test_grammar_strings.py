"""What schemas say of strings goes into grammars; what is left out is said."""

from __future__ import annotations

import json

import pytest

from llmgate.grammar import Matcher, check
from llmgate.grammar.builder import MOST_REPETITIONS, Builder
from llmgate.grammar.schema.compiler import Compiler
from llmgate.grammar.schema.facts import Facts
from llmgate.grammar.schema.keys import other_key
from llmgate.grammar.schema.strings import allowed, enumeration, string
from llmgate.grammar.text.language import Language


def facts(
    *patterns: str, formats: tuple[str, ...] = (), least: int = 0, most: int | None = None
) -> Facts:
    """What a schema with these keywords says."""
    found = Facts("#")
    for number, source in enumerate(patterns):
        found.texts.append(("pattern", f"#/{number}/pattern", Language.pattern(source)))
    found.formats = list(formats)
    if least:
        found.least["Length"] = least
    if most is not None:
        found.most["Length"] = most
    return found


def matcher(found: Facts) -> Matcher:
    """The matcher of the grammar for the strings that the facts allow."""
    builder = Builder()
    body = string(builder, found, "text")
    assert body is not None
    builder.define("root", body)
    check(builder.text())
    return Matcher(builder.text())


@pytest.mark.parametrize(
    ("found", "good", "bad"),
    [
        (facts(), ["", "a", "é\n"], []),
        (facts(least=1), ["a", "é"], [""]),
        (facts(least=2, most=3), ["ab", "😀é\n"], ["a", "abcd"]),
        (facts(most=0), [""], ["a"]),
        (facts(most=70_000), ["", "a" * 300], []),
        (facts("^[a-z]+$", least=2, most=3), ["ab", "abc"], ["a", "abcd", "A"]),
        (facts("^[a-z]", "[0-9]$"), ["a1", "ab1"], ["a", "1", "1a"]),
        (facts("^a", "^a"), ["a", "ab"], ["b"]),
        (facts("wifi", most=6), ["wifi", "xwifi1"], ["wif", "abcwifi"]),
        (facts(formats=("date",)), ["2024-02-29"], ["2023-02-29", ""]),
        (facts(formats=("date", "date")), ["2024-02-29"], ["x"]),
        (facts(formats=("date", "int32")), ["2024-02-29"], ["x"]),
        (facts(formats=("int32", "non-blank")), ["", "x"], []),
        (facts(formats=("uri",), least=1), ["https://a.b"], ["", "a b"]),
        (facts("^https://", formats=("uri",)), ["https://a.b/c"], ["http://a.b", "https://a b"]),
        (facts("^2024", formats=("date",)), ["2024-01-31"], ["2023-01-01", "2024"]),
        (facts(formats=("email",), most=20), ["a.b@c.de"], ["a@b@c", "abcdefghij@abcdefghi.de"]),
        (facts(formats=("ipv4",), most=7), ["1.2.3.4"], ["10.2.3.4"]),
    ],
)
def test_all_that_is_said_of_a_string_holds(found: Facts, good: list[str], bad: list[str]) -> None:
    grammar, language = matcher(found), allowed(found)
    assert found.relaxed == []
    for value in good:
        assert value in language
        assert grammar.matches(json.dumps(value)), value
    for value in bad:
        assert value not in language
        assert not grammar.matches(json.dumps(value)), value


@pytest.mark.parametrize(
    "found",
    [
        facts(least=3, most=2),
        facts("^a$", "^b$"),
        facts("^[0-9]{4}$", least=5),
        facts("^[0-9]{4}$", most=3),
        facts("^x", formats=("date",)),
        facts(formats=("date",), most=9),
        facts(formats=("date", "uuid")),
        facts("[^\\s\\S]"),
    ],
)
def test_where_no_string_is_left_there_is_no_rule(found: Facts) -> None:
    assert string(Builder(), found, "text") is None
    assert allowed(found).is_empty()


def test_a_plain_string_is_the_common_rule() -> None:
    assert string(Builder(), facts(), "text") == "string"
    assert string(Builder(), facts(formats=("int32",)), "text") == "string"
    assert string(Builder(), facts("a*"), "text") == "string"


def test_a_format_alone_gives_its_rule_its_name() -> None:
    assert string(Builder(), facts(formats=("date-time",)), "created") == "date-time"
    assert string(Builder(), facts(formats=("date",), most=10), "created") == "created"


def test_what_is_too_large_is_left_out_and_named() -> None:
    hard = ["(a|b).{12}$", "^(.{3}|.{7})*$", "^[ab]*c.{11}d"]
    found = facts(*hard, least=3, most=500)
    grammar = matcher(found)
    left_out = [(entry.path, entry.keyword) for _, entry in found.relaxed]
    assert left_out[:2] == [("#", "maxLength"), ("#", "minLength")]
    assert left_out[2:] in (
        [("#/2/pattern", "pattern")],
        [(f"#/{n}/pattern", "pattern") for n in (2, 1)],
    )
    assert all(entry.why for _, entry in found.relaxed)
    assert grammar.matches(json.dumps("a" * 21))
    assert not grammar.matches(json.dumps("c" * 21))


def test_lengths_that_nobody_writes_are_bounded() -> None:
    found = facts(most=10**9)
    text = string(builder := Builder(), found, "text")
    assert text is not None
    builder.define("root", text)
    assert f"{MOST_REPETITIONS}" not in builder.text()
    check(builder.text())
    assert found.relaxed == []
    found = facts(least=10**9)
    assert matcher(found).matches('""')
    assert [entry.keyword for _, entry in found.relaxed] == ["minLength"]


@pytest.mark.parametrize("names", [["name"], ["id", "identity", "é", "", "a-b", "idea"]])
def test_other_keys_are_all_but_the_named_ones(names: list[str]) -> None:
    builder = Builder()
    builder.define("root", other_key(builder, names))
    check(builder.text())
    grammar = Matcher(builder.text())
    near = [name[:-1] for name in names] + [name + "x" for name in names] + ["zz", "É", "ide", "ü"]
    for name in {*names, *near}:
        assert grammar.matches(json.dumps(name, ensure_ascii=False)) == (name not in names), name
        assert name not in names or not grammar.matches(json.dumps(name)), name
    assert not grammar.matches('"\\u006eame"') or names[0] != "name"


def test_long_enumerations_share_their_beginnings() -> None:
    values = [f"value-{number}" for number in range(200)] + ["é", "value-", 1, None, True]
    builder = Builder()
    body = enumeration(builder, values, "choice")
    assert body is not None
    builder.define("root", body)
    check(builder.text())
    assert builder.text().count("value-") < 5
    grammar = Matcher(builder.text())
    for value in values:
        assert grammar.matches(json.dumps(value))
        assert grammar.matches(json.dumps(value, ensure_ascii=False))
    for value in ("value-200", "value", "", 2, False):
        assert not grammar.matches(json.dumps(value))


@pytest.mark.parametrize("value", ["a\u2028b", "\u2029", "\x80\x9f", "\x7f"])
def test_line_separators_and_controls_are_themselves_in_literals(value: str) -> None:
    builder = Builder()
    body = enumeration(builder, [value], "choice")
    assert body is not None
    builder.define("root", body)
    grammar = Matcher(builder.text())
    assert grammar.matches(json.dumps(value, ensure_ascii=False))
    assert grammar.matches(json.dumps(value))
    assert not grammar.matches('"a 28b"')


def test_what_is_too_large_in_one_schema_does_not_loosen_the_next() -> None:
    large = {
        "allOf": [{"pattern": "((c1d3).{4,8}){6,6}"}, {"pattern": "(t|8){10,10}$"}],
        "pattern": "^([a-z][0-9])+$",
        "type": "string",
    }
    small = {"type": "string", "allOf": [{"pattern": "a.{4}b"}, {"pattern": "c.{3}d"}]}
    builder = Builder()
    first = Compiler(builder, large, "#")
    first.compile("large")
    assert first.relaxed
    assert builder.hasty
    second = Compiler(builder, small, "#")
    builder.define("root", second.compile("small"))
    assert not second.relaxed
    matcher = Matcher(builder.text())
    assert matcher.matches('"a123cb56d"')
    assert not matcher.matches('"a123cb5d6"')
