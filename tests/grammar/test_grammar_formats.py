"""Formats admit what the validator admits, apart from what nobody writes, and nothing else."""

from __future__ import annotations

import json
from random import Random

import jsonschema_rs
import pytest
from grammar_walk import Walker
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgate.grammar import Matcher, check, compile  # noqa: A004
from llmgate.grammar.text.formats import BOUNDED, FORMATS, expression
from llmgate.grammar.text.language import Language

LABEL = "a" * 63

VALID: dict[str, list[str]] = {
    "date": ["2024-02-29", "2000-02-29", "2023-12-31", "0004-02-29", "9999-01-01"],
    "time": ["00:00:00Z", "23:59:59+05:30", "12:00:00.123456789-08:00", "23:59:60Z", "01:02:03z"],
    "date-time": ["2024-02-29T00:00:00Z", "2022-01-01T12:00:00.000+09:00", "1998-12-31T23:59:60Z"],
    "duration": ["P1Y2M3DT4H5M6S", "PT36H", "P4W", "P1YT1S", "P0D", "P1DT12H", "PT5M"],
    "email": ["joe.bloggs@example.com", "a+b@x.co", "a@b", "A_1@mail.cs.dept.univ.ac.uk",
              '"joe bloggs"@example.com', "a.b.c.d.e@f.g", f"{'a' * 64}@x.de", "te~st@example.com"],
    "idn-email": ["é@é.de", "실례@실례.테스트", "joe@example.com"],
    "hostname": ["a", "a.b", "a-b", "1", LABEL, f"{LABEL}.de", "localhost", "a--b",
                 "h0stn4me.x.y.z"],
    "idn-hostname": ["é.de", "例え.jp", "실례.테스트", "www.example.com", "яндекс.рф"],
    "ipv4": ["0.0.0.0", "255.255.255.255", "192.168.1.10"],
    "ipv6": ["::", "::1", "1::", "1:2:3:4:5:6:7:8", "::1.2.3.4", "fe80::1", "1:2:3:4:5:6:1.2.3.4",
             "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "1:2:3:4:5:6::8", "ABCD::ef01"],
    "uuid": ["2EB8AA08-AA98-11EA-B4AA-73B441D16380", "00000000-0000-0000-0000-000000000000"],
    "uri": ["http://example.com", "https://u:p@a.b:8080/c/d?e=f&g#h", "urn:isbn:1", "mailto:a@b.c",
            "file:///etc/x", "http://[::1]/", "data:,x", "a:", "tel:+1-2", "http://a/%20?x=%C3%A9",
            "ldap://[2001:db8::7]/c=GB?objectClass?one", "git+ssh://x/y.git", "a:b:c", "x:/y//z"],
    "uri-reference": ["", "a", "/a/b", "//h/p", "?q", "#f", "../x", "a/b:c", "http://x", "./a:b"],
    "iri": ["http://é/ü?ö#ä", "https://example.com", "http://例え.jp/パス?x=値"],
    "iri-reference": ["é/ü", "#ö", "", "//é", "/パス"],
    "uri-template": ["http://x/{id}", "{?a,b*}", "{+a:3}", "{/a.b}", "", "é{#x}", "%20"],
    "json-pointer": ["", "/", "/a/b", "/~0/~1", "/a b/é", "//"],
    "relative-json-pointer": ["0", "1/a", "12#", "0/~1"],
    "regex": ["", "^[a-z]+$", "\\d{3}-\\d{4}", "(a|b)*c?", "^(?:foo|bar(baz)+)$", "a(?=b)",
              "[^x-z]", "^https?://", "(?!a)b", "\\.(png|jpg)$", "((a))", "a{2,}", "x|y",
              "[\\w.-]+@[\\w.-]+"],
}  # fmt: skip
INVALID: dict[str, list[str]] = {
    "date": ["2023-02-29", "1900-02-29", "2020-13-01", "2020-1-1", "2020-04-31", "2022-12-32", "x",
             "2022-01-01T12:00:00", "20200101", "31-12-2022", "2020-00-10", "2020-01-00", ""],
    "time": ["12:00:00", "24:00:00Z", "12:60:00Z", "12:00Z", "12:00:00+24:00", "12:00:00+0000",
             "12:00:00.Z", "22:59:60Z", "12:00:61Z", "1:00:00Z"],
    "date-time": ["2024-01-01", "2024-01-01T00:00:00", "2024-02-30T00:00:00Z", "not a date",
                  "2022-01-01 12:00:00Z", "2024-12-31T23:59:61Z", "2024-01-01T24:00:00Z"],
    "duration": ["P", "PT", "1Y", "P1DT", "P1W1D", "P2D1Y", "-P1D", "P1D2H", "p1d", "PT1D", "P1",
                 "P1Y1D", "PT1H1S"],
    "email": ["abc", "", "@b", "a@", ".a@b", "a.@b", "a..b@c", "a b@c", "a@b c", "a@-b", "a@b..c",
              "a@b@c", f"{'a' * 65}@x.de", f"a@{LABEL}a.de", "Invalid Email", "é@b.c"],
    "idn-email": ["abc", "@é", "é@", "é é@é"],
    "hostname": ["", ".", "-a", "a-", "a..b", ".a", "a_b", f"{LABEL}a", "é.de", "a b", "ab--cd",
                 ".".join([LABEL] * 4)],
    "idn-hostname": ["", "-é", "é-", "é..é", "é é", "a_b", "〮한"],
    "ipv4": ["256.1.1.1", "1.2.3", "01.2.3.4", "1.2.3.4.5", "1..2.3", "1.2.3.4 ", ""],
    "ipv6": ["1:2", "1:2:3:4:5:6:7:8:9", "::1::", "12345::", "g::", "fe80::1%eth0", ":::", "",
             "1:2:3:4:5:6:7", "::256.1.1.1", "1::2:3:4:5:6:7:8", "1.2.3.4"],
    "uuid": ["2eb8aa08aa9811eab4aa73b441d16380", "2eb8aa08-aa98-11ea-b4aa-73b441d1638", "", "x"],
    "uri": ["", "a", "/a", "//a", "http://a b", "http://é", "http://a/\\", "http://a/%zz", "1a:",
            "http://[::1", "http://a/{b}", "http://a:b/", "http://a#b#c", "example.com/resource",
            "not-a-uri", ":a"],
    "uri-reference": ["a b", "\\a", "%", "#a#b", "1:b", "{a}", ":a", "é"],
    "iri": ["é", "http://a b", "//é", "http://a/<"],
    "iri-reference": ["é b", "\\\\", "é:a"],
    "uri-template": ["{", "}", "{}", "{a", "{a b}", "{a:0}", "a b", "<", "{a,}", "{$a}"],
    "json-pointer": ["a", "/~", "/~2", "#/a", "0"],
    "relative-json-pointer": ["", "/a", "01", "-1", "0##", "a"],
    "regex": ["(", "[", "*", "a**", "\\", "^(abc]", "a{2,1}", "Invalid regex pattern ["],
}  # fmt: skip


def test_every_format_is_tried() -> None:
    assert VALID.keys() == INVALID.keys() == FORMATS


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_format_holds_what_the_validator_holds(name: str) -> None:
    text = compile({"type": "string", "format": name}).text
    check(text)
    matcher = Matcher(text)
    validator = jsonschema_rs.validator_for({"format": name}, validate_formats=True)
    language = Language.of_format(name)
    assert language is not None
    for value in VALID[name]:
        assert validator.is_valid(value), value
        assert value in language, value
        assert matcher.matches(json.dumps(value)), value
        assert matcher.matches(json.dumps(value, ensure_ascii=False)), value
    for value in INVALID[name]:
        assert not validator.is_valid(value), value
        assert value not in language, value
        assert not matcher.matches(json.dumps(value)), value


@pytest.mark.parametrize("name", sorted(FORMATS))
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_what_a_format_admits_is_valid(name: str, seed: int) -> None:
    validator = jsonschema_rs.validator_for({"format": name}, validate_formats=True)
    walker, random = Walker(compile({"type": "string", "format": name}).text, 80), Random(seed)
    for _ in range(10):
        value = json.loads(walker.walk(random))
        assert validator.is_valid(value), value


@pytest.mark.parametrize("name", sorted(BOUNDED))
@pytest.mark.parametrize("most", [5, 8, 14, 30, 60, 120, 200, 254, 1000])
def test_a_format_with_a_greatest_length_is_the_format(name: str, most: int) -> None:
    language, bounded = Language.of_format(name), Language.of_format(name, most)
    assert language is not None
    assert bounded is not None
    grammar = compile({"type": "string", "format": name, "maxLength": most})
    assert grammar.exact or most < 20
    walker, random = Walker(grammar.text, 200), Random(most)
    for _ in range(15):
        value = json.loads(walker.walk(random))
        assert value in bounded
        assert value in language, value
        assert len(value) <= most or not grammar.exact


def test_a_format_that_nobody_defined_says_nothing() -> None:
    assert expression("int32") is None
    assert Language.of_format("non-blank") is None
    grammar = compile({"type": "string", "format": "non-blank"})
    assert grammar.exact
    assert Matcher(grammar.text).matches('""')
