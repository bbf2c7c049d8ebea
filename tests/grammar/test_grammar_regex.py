"""Expressions mean what ECMA-262 says; Python's `re` agrees where the two are alike."""

from __future__ import annotations

import re

import jsonschema_rs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmgate.grammar.text.charsets import ALL, both, category, complement, folded, has, of, union
from llmgate.grammar.text.expressions import Chars, Repeat
from llmgate.grammar.text.language import Language
from llmgate.grammar.text.regex import Inexact, TooLarge, parse

# What each is found in, and what it is not found in, with bars between; None where there is none.
MEANINGS: dict[str, tuple[str | None, str | None]] = {
    "": ("a|", None),
    "b": ("b|abc", "|a"),
    "^b": ("b|bc", "ab|"),
    "b$": ("b|ab", "ba|b\n"),
    "^$": ("", "a|\n"),
    "$^": ("", "a"),
    "a$b": (None, "a|ab|"),
    "^a|b$": ("ax|xb|ab", "xax"),
    "^(a|^b|c$)+$": ("a|b|c|ac|bac|aa", "ab|ca|"),
    "(^|,)a(,|$)": ("a|a,b|b,a", "ba|ab"),
    "^([^,]+(,|$)){3,}$": ("a,b,c|a,b,c,d,", "a,b|,,,"),
    "^a{2}$": ("aa", "a|aaa"),
    "^a{2,}$": ("aa|aaaa", "a"),
    "^a{1,2}$": ("a|aa", "|aaa"),
    "^a{0}$": ("", "a"),
    "^a{0,0}b$": ("b", "ab"),
    "^(a{2}){2,3}$": ("aaaa|aaaaaa", "aaa|aaaaa"),
    "^(a*)*$": ("|aaa", "b"),
    "^(a*b*)*$": ("|abba", "c"),
    "^(a?b?){2}$": ("|ab|abab|ba", "aaa|bbab"),
    "^(a|)+b$": ("b|aab", "a"),
    "^a+?b??$": ("a|ab|aa", "b"),
    "^a{$": ("a{", "a"),
    "^a{,3}$": ("a{,3}", "a|aaa"),
    "^}]$": ("}]", "}"),
    "^[a-c]$": ("a|b|c", "d|-|"),
    "^[^a-c]$": ("d|\n|😀", "a|b|"),
    "^[-a]$": ("-|a", "b"),
    "^[a-]$": ("-|a", "b"),
    r"^[\w-.]$": ("-|.|a|_", ","),
    r"^[a\]b]$": ("a|]|b", "\\"),
    "^[[]$": ("[", "]"),
    "^[[:alpha:]]+$": ("a]|[]]|:]", "abc|b"),
    "^[a&&b]$": ("a|&|b", "c"),
    "^[+--]$": ("+|,|-", "."),
    r"^[\b]$": ("\b", "b"),
    "^[$.^]$": ("$|.|^", "a"),
    "^.$": ("a|😀|\x0b|\x85", "\n|\r|\u2028|\u2029|ab|"),
    "(?s)^.$": ("a|\n", None),
    r"^\d$": ("0|9", "a|٣"),
    r"^\D$": ("a|٣", "0"),
    r"^\w$": ("a|Z|0|_", "é|-"),
    r"^\W$": ("é|-", "a|_"),
    r"^\s$": (" |\t|\n|\xa0|\u2028|\ufeff", "a|\x85|\u180e"),
    r"^\S$": ("a|\x85", " |\xa0"),
    r"^\t\n\v\f\r\0$": ("\t\n\x0b\x0c\r\0", "tnvfr0"),
    r"^\x41\u0042\u{43}\cA$": ("ABC\x01", "ABCA"),
    r"^\uD83D\uDE00[\u{1F600}-\u{1F64F}]$": ("😀😃", "a😀"),
    r"^\.\*\[\(\-\/\"\_\@$": (r'.*[(-/"_@', "a"),
    r"\bfoo\b": ("foo|a foo-b", "afoo|foob|"),
    r"\Boo": ("foo", "oo|x oo"),
    r"^\p{Lu}\p{Ll}\p{L}\p{N}\p{gc=Nd}\p{Letter}$": ("Abc٣5é", "abc٣5é|AbbBBé"),
    r"^\P{L}$": ("1|-", "a|é"),
    r"^\pL$": ("a", "1"),
    "^(?:a)(?<n>b)(?P<m>c)(d)$": ("abcd", "abc"),
    "(?i)^ab[c-d]$": ("ABC|abD", "abe"),
    "(?i)^[^k]$": ("j", "k|K|\u212a"),
    "(?i)^é$": ("é|É", "e"),
    r"(?i)^\W$": ("-", "ſ|\u212a|a"),
    "^a(?i:b)c$": ("abc|aBc", "aBC"),
    "^(a(?i)b)c$": ("aBc", "ABc|abC"),
    r"\Aab\z": ("ab", "xab|abx|ab\n"),
    "^(?=a)..$": ("ab|ac", "ba|a"),
    "^(?!a)..$": ("ba|bc", "ab"),
    r"^(?=.*\d)(?=.*[a-z]).{4,}$": ("ab12|1xyz", "abcd|1234|a1"),
    "^(?!.*--)[a-z-]+$": ("a-b|-", "a--b"),
    "^((?!foo).)*$": ("fo|bar", "foo|a foo b"),
    "a(?=b$)": ("ab|aab", "abc|a"),
    "a(?!b)": ("a|ac|aba", "ab"),
    "(?<=a)b": ("ab|xab", "b|cb"),
    "^(?<!a)b": ("b", "ab"),
    "(?<!a|bc)d": ("d|xd|ad d", "ad|bcd"),
    "^[a-z](?!.*--)[a-z-]*(?<!-)$": ("a|a-b", "a-|a--b|"),
    "^(?!(?:con|nul)$)[a-z]+$": ("co|conx", "con|nul"),
    r"^(?=(?:.*\d){2})\w+$": ("a1b2|11", "a1|ab"),
    "/^abc$/": (None, "abc|/abc/"),
}
REFUSED = [
    r"(a)\1", r"(?<n>a)\k<n>", "a**", "a{2}{3}", "a++", "*a", "(?:a", "a)", "[a", "[b-a]",
    "a{2,1}", "\\", "(?x)a b", "(?m)^a$", "(?#x)a", "(?>a)b", r"\Z", r"\h", r"\e", r"\y", r"\<",
    r"\u12", r"\x1", r"\c1", r"\u{110000}", r"\p{Greek}", r"\p{", r"\uD800", r"[\uD800-\uDBFF]",
    "[]a]", "[^]a]", "(?<n", "(?<=a|b$)c", "(?<=\\bx)c", "?", "a|*",
]  # fmt: skip


@pytest.mark.parametrize("source", MEANINGS)
def test_an_expression_is_found_where_it_should_be(source: str) -> None:
    found, not_found = MEANINGS[source]
    language = Language.pattern(source)
    for text in [] if found is None else found.split("|"):
        assert text in language, text
    for text in [] if not_found is None else not_found.split("|"):
        assert text not in language, text


@pytest.mark.parametrize("source", REFUSED)
def test_what_is_no_expression_or_not_regular_is_refused(source: str) -> None:
    with pytest.raises(Inexact) as caught:
        Language.pattern(source)
    assert caught.value.why


def test_the_refusal_says_where() -> None:
    with pytest.raises(
        Inexact, match=r"in the expression 'ab\(c', character 4: a '\(' has no '\)'"
    ):
        parse("ab(c")


def test_an_expression_without_end_is_too_large() -> None:
    with pytest.raises(TooLarge):
        parse("a" * 30_000)
    with pytest.raises(Inexact, match="nested too deep"):
        parse("(" * 100 + ")" * 100)


def test_counts_of_counts_become_one() -> None:
    one = Chars(((0x61, 0x61),))
    assert parse("(a{10}){10}") == Repeat(one, 100, 100)
    assert parse("(a{0,3}){0,4}") == Repeat(one, 0, 12)
    assert parse("(a{1,3}){2,}") == Repeat(one, 2, None)
    assert parse("(a+)*") == parse("(a*)+") == parse("(?:(a?)*)?") == Repeat(one, 0, None)
    assert parse("(a{2}){0,4}") == Repeat(Repeat(one, 2, 2), 0, 4)
    assert parse("(a{2,3}){0,4}") != Repeat(one, 0, 12)
    assert parse("(a{2,}){1,4}") == Repeat(one, 2, None)


# Sources that `re` reads alike, except for the end of the text.
_ATOMS = ["a", "b", "0", " ", "-", "_", "é", "[ab]", "[^a]", ".", r"\w", r"\d", r"\W", r"\\", '"']
_COUNTS = ["*", "+", "?", "{2}", "{1,2}", "{0,2}", "{2,}", "*?"]
_plain = st.sampled_from(_ATOMS)


def _more(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(inner, inner)
    return st.one_of(
        pairs.map("".join),
        pairs.map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(_COUNTS)).map(lambda two: f"({two[0]}){two[1]}"),
        st.tuples(st.sampled_from(["^", "$", ""]), inner).map(lambda two: f"({two[0]}|{two[1]})"),
    )


def _conditions(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    marks = st.sampled_from(["(?=", "(?!"])
    return st.one_of(
        _more(inner),
        st.tuples(marks, inner, st.sampled_from(["", "$"])).map(lambda t: f"{t[0]}{t[1]}{t[2]})"),
        st.tuples(st.sampled_from(["(?<=", "(?<!"]), _plain).map(lambda two: f"{two[0]}{two[1]})"),
        st.sampled_from([r"\b", r"\B"]),
    )


_trees = st.recursive(_plain, _more, max_leaves=8)
_anchored = st.tuples(st.sampled_from(["^", ""]), _trees, st.sampled_from(["$", ""])).map("".join)
_looking = st.recursive(_plain, _conditions, max_leaves=8)
_texts = st.lists(st.text('ab01 -_é\n"\\x', max_size=7), min_size=5, max_size=12)


def _agree(source: str, texts: list[str]) -> None:
    language = Language.pattern(source)
    # In `re` an empty text has no place that is not at the edge of a word.
    peer = re.compile(source.replace("$", r"\Z").replace(r"\B", r"(?!\b)"), re.ASCII)
    for text in texts:
        found = peer.search(text) is not None
        assert (text in language) == found, text
        assert (text in ~language) != found, text


@settings(max_examples=400)
@given(_anchored, _texts)
@example("^(a|^b|c$){2}$", ["ba", "ac", "bc", "ab", "a", "cc"])
def test_expressions_with_anchors_agree_with_re(source: str, texts: list[str]) -> None:
    _agree(source, texts)


@settings(max_examples=300)
@given(_looking, _texts)
@example("^(?=(?:ab|a)$)$", ["", "a", "ab"])
def test_expressions_with_conditions_agree_with_re(source: str, texts: list[str]) -> None:
    _agree(source, texts)


@settings(max_examples=150)
@given(_anchored, _texts)
def test_expressions_agree_with_the_validator(source: str, texts: list[str]) -> None:
    language = Language.pattern(source)
    validator = jsonschema_rs.validator_for({"pattern": source})
    for text in texts:
        assert (text in language) == validator.is_valid(text), text


_codes = st.lists(st.integers(0, 0x10FFFF) | st.integers(0, 300), max_size=12)


@given(_codes, _codes)
def test_sets_of_characters_are_sets(left: list[int], right: list[int]) -> None:
    one, other = of(left), of(right)
    for code in {*left, *right, 0, 65, 0x10FFFF}:
        assert has(one, code) == (code in left)
        assert has(union([one, other]), code) == (code in left or code in right)
        assert has(both(one, other), code) == (code in left and code in right)
        assert has(complement(one), code) == (code not in left)
    assert union([one, complement(one)]) == ALL


@pytest.mark.parametrize("name", ["L", "Lu", "Nd", "P", "Zs", "C", "Any", "Punctuation", "LC"])
def test_categories_have_the_characters_of_the_table(name: str) -> None:
    import unicodedata

    found = category(name)
    assert found is not None
    short = {"Punctuation": "P"}.get(name, name)
    for code in [*range(0x500), 0x4E00, 0x1F600, 0xE000, 0xF0000, 0x10FFFF, 0x2FFFF]:
        kind = unicodedata.category(chr(code))
        expected = kind in ("Lu", "Ll", "Lt") if short == "LC" else kind.startswith(short)
        assert has(found, code) == (expected or name == "Any"), hex(code)


def test_case_is_folded_one_to_one() -> None:
    assert has(folded(of([0xE9])), 0xC9)
    assert has(folded(of([ord("k")])), 0x212A)
    assert has(folded(of([0x3C3])), 0x3C2)
    assert folded(of([ord("1")])) == of([ord("1")])
    assert not has(folded(of([0xDF])), ord("s"))


@pytest.mark.parametrize(
    ("source", "right", "wrong"),
    [
        ("^(?:ab)(?i:(?:ab))(?:ab)$", ["ababab", "abABab"], ["ABabab", "ababAB"]),
        ("^(?:ab)(?:(?i)(?:ab))(?:ab)$", ["ababab", "abABab"], ["ABabab", "ababAB"]),
        ("^(?:a.c)(?s:(?:a.c))$", ["abca\nc"], ["a\nca\nc"]),
        ("^(a|bc)(a|bcd)(a|bc)*$", ["abcdbc", "bca"], ["bcbc", "abcdd"]),
        ("^(?=(?:ab)+$)(?:ab|ba)+$", ["ab", "abab"], ["abba"]),
    ],
)
def test_equal_groups_mean_the_same_under_the_same_flags_only(
    source: str, right: list[str], wrong: list[str]
) -> None:
    language = Language.pattern(source)
    assert [text for text in right if text not in language] == []
    assert [text for text in wrong if text in language] == []
