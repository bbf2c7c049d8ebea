"""Languages are sets, and their grammars admit their strings in every spelling, and no others."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

import pytest
from grammar_walk import Walker
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmgate.grammar import Matcher, check
from llmgate.grammar.builder import Builder
from llmgate.grammar.text.language import Language
from llmgate.grammar.text.regex import Inexact, TooLarge

PATTERNS = [
    "^[a-z]+$", "wifi", "^.{1,2}$", "^[^\\s]*$", "[ab]1$", "^$|(^(?:\\S+\\s+){0,3}\\S+$)", "a|b|c",
    "^(\\w\\d)+$", "^[A-Za-z_][A-Za-z0-9_]*$", "^https?://", "\\.(png|jpe?g)$", "^\\d+(\\.\\d+)?$",
    "^a*$", "^..$", "^é+$", '^["\\\\/]+$', "\\n", "^[\\u0000-\\u001f]$", "^[^a-z]{2,4}$",
    "^\\p{Lu}", "^(?!@@)[\\w@]+$", "^(?=.*\\d).{2,}$", "\\bab\\b", "^((?!ab).)*$",
    "^[\\u{1F600}-\\u{1F64F}]$", "^(a|ab)(c|bcd)$", "^(ab|cd){2,3}$", ".", "", "^x",
]  # fmt: skip
ALPHABET = 'ab01xy.:/ \n\t"\\é\x7f\x00\u2028😀zAZ_@-'


def grammar(language: Language, *, plain: bool = False) -> str:
    """The whole grammar of a language that has strings, as every engine can load it."""
    builder = Builder()
    make = language.plain if plain else language.json
    body = make(builder, "text")
    assert body is not None
    builder.define("root", body)
    check(builder.text())
    return builder.text()


def admits(matcher: Matcher, text: str) -> bool:
    """Whether a string is admitted, which both spellings of json.dumps have to agree on."""
    raw = matcher.matches(json.dumps(text, ensure_ascii=False))
    assert matcher.matches(json.dumps(text)) == raw, text
    return raw


Model = tuple[Language, Callable[[str], bool]]


def _leaf(language: Language) -> Model:
    return language, lambda text: text in language


_words = st.lists(st.sampled_from(["", "a", "ab", "b", "é", 'x"y', "a.png", "01", "https://a"]))
_lengths = st.tuples(st.integers(0, 4), st.none() | st.integers(0, 30))
_leaves = st.one_of(
    st.sampled_from(PATTERNS).map(lambda source: _leaf(Language.pattern(source))),
    _words.map(lambda words: _leaf(Language.literals(words))),
    _lengths.map(lambda pair: _leaf(Language.lengths(*pair))),
    st.sampled_from(["date", "uuid", "ipv4", "json-pointer"]).map(
        lambda name: _leaf(Language.of_format(name) or Language.everything())
    ),
)


def _combined(inner: st.SearchStrategy[Model]) -> st.SearchStrategy[Model]:
    pairs = st.tuples(inner, inner)
    return st.one_of(
        inner.map(lambda one: (~one[0], lambda text: not one[1](text))),
        pairs.map(lambda two: (two[0][0] & two[1][0], lambda t: two[0][1](t) and two[1][1](t))),
        pairs.map(lambda two: (two[0][0] | two[1][0], lambda t: two[0][1](t) or two[1][1](t))),
        pairs.map(lambda two: (two[0][0] - two[1][0], lambda t: two[0][1](t) > two[1][1](t))),
    )


_models = st.recursive(_leaves, _combined, max_leaves=3)
_some = st.lists(st.text(ALPHABET, max_size=5), max_size=12)


@settings(max_examples=250)
@given(_models, _some, st.integers(0, 2**32))
def test_grammars_admit_just_the_strings_of_a_language(
    model: Model, texts: list[str], seed: int
) -> None:
    language, belongs = model
    texts = [*texts, "", "a", "ab", "01", "wifi", "a.png", "2020-02-29", "é"]
    for text in texts:
        assert (text in language) == belongs(text), text
    try:
        if language.is_empty():
            assert language.json(Builder(), "text") is None
            assert not any(map(belongs, texts))
            return
        text_of_json, text_of_plain = grammar(language), grammar(language, plain=True)
    except TooLarge:
        return
    matcher, plain = Matcher(text_of_json), Matcher(text_of_plain)
    for text in texts:
        assert admits(matcher, text) == belongs(text), text
        if "\0" not in text:
            assert plain.matches(text) == belongs(text), text
    random, walker = Random(seed), Walker(text_of_json, 60)
    for _ in range(8):
        assert belongs(json.loads(walker.walk(random)))
    walker = Walker(text_of_plain, 60)
    for _ in range(4):
        assert belongs(walker.walk(random))


@pytest.mark.parametrize("source", PATTERNS)
def test_a_pattern_and_its_opposite_are_everything_and_nothing(source: str) -> None:
    language = Language.pattern(source)
    assert (language & ~language).is_empty()
    assert (~(language | ~language)).is_empty()
    assert ~~language == language


def test_everything_is_the_common_rule_for_strings() -> None:
    everything = Language.everything()
    for same in ["", "^", "$", "(a|b)?", "^[\\s\\S]*$", "x*", ".*"]:
        language = Language.pattern(same)
        assert language == everything
        assert language.json(Builder(), "text") == "string"
    assert (everything & Language.pattern("a")) == Language.pattern("a")
    assert (~everything).is_empty()
    assert (~everything).json(Builder(), "text") is None


def test_only_texts_that_could_be_in_are_kept_out() -> None:
    letters = Language.pattern("^[a-z]+$")
    assert letters - Language.literals(["A", "1"]) == letters
    assert letters & Language.literals(["a", "A"]) == Language.literals(["a"])
    assert (Language.literals(["a"]) - letters).is_empty()
    assert Language.literals(["a", "b"]) & Language.literals(["b"]) == Language.literals(["b"])
    assert Language.literals(["a"]) | Language.everything() == Language.everything()


def test_a_text_that_contains_another_is_found() -> None:
    language = Language.containing("a.b")
    assert "xa.by" in language
    assert "xaxby" not in language
    assert "a.b" not in ~language


def test_lengths_count_characters_and_not_code_units() -> None:
    language = Language.lengths(2, 2)
    assert "😀é" in language
    assert "😀" not in language
    assert Language.lengths(3, 2).is_empty()
    matcher = Matcher(grammar(language))
    assert admits(matcher, "😀é")
    assert not admits(matcher, "😀")


@pytest.mark.parametrize(
    ("source", "least", "most", "longest"),
    [
        ("^[a-z]+$", 2, 300, 60),
        ("^https?://.+$", 0, 1024, 450),
        ("^[0-9]{9}$", 0, 9, 60),
        ("^(ab)+$", 3, 9, 60),
        ("^$|^a+$", 1, 5, 60),
    ],
)
def test_a_length_goes_into_the_count_that_is_there(
    source: str, least: int, most: int, longest: int
) -> None:
    language = Language.pattern(source) & Language.lengths(least, most)
    assert len(grammar(language)) < longest + 600
    assert "k0" not in grammar(language)


def test_a_common_beginning_or_end_leaves_no_automaton() -> None:
    uri = Language.of_format("uri")
    assert uri is not None
    secure = uri & Language.pattern("^https?://")
    matcher = Matcher(grammar(secure))
    assert admits(matcher, "https://example.com/a?b#c")
    assert not admits(matcher, "ftp://example.com")
    assert not admits(matcher, "https://exa mple.com")
    assert len(grammar(secure)) < 5_000
    images = Language.pattern("\\.(png|jpe?g)$") & Language.pattern("^[a-z]+(\\.[a-z]+)*$")
    matcher = Matcher(grammar(images))
    assert admits(matcher, "a.b.jpeg")
    assert not admits(matcher, "a..png")
    assert not admits(matcher, "png")


def test_escapes_spell_only_what_belongs() -> None:
    matcher = Matcher(grammar(Language.pattern("^[^a\\n]$")))
    for spelled in ('"b"', '"\\t"', '"\\u0009"', '"\\u00e9"', '"é"', '"\\ud83d\\ude00"', '"\\/"'):
        assert matcher.matches(spelled), spelled
    for spelled in ('"a"', '"\\u0061"', '"\\n"', '"\\u000a"', '"\\u000A"', '"\n"', '"\\ud83d"'):
        assert not matcher.matches(spelled), spelled
    matcher = Matcher(grammar(Language.pattern("^[é😀]$")))
    for spelled in (
        '"é"',
        '"\\u00e9"',
        '"\\u00E9"',
        '"😀"',
        '"\\ud83d\\ude00"',
        '"\\uD83D\\uDE00"',
    ):
        assert matcher.matches(spelled), spelled
    for spelled in ('"\\u00e8"', '"\\ud83d\\ude01"', '"\\ud83d"', '"e"', '""'):
        assert not matcher.matches(spelled), spelled


@settings(max_examples=60)
@given(st.lists(st.integers(0, 0x10FFFF), min_size=1, max_size=6), st.integers(0, 2**32))
@example([0xFFFF, 0x10000, 0x103FF, 0x10400], 0)
def test_any_range_of_characters_is_written_to_the_letter(codes: list[int], seed: int) -> None:
    codes = sorted(code for code in codes if not 0xD800 <= code <= 0xDFFF) or [65]
    low, high = codes[0], codes[-1]
    matcher = Matcher(grammar(Language.pattern(f"^[\\u{{{low:X}}}-\\u{{{high:X}}}]$")))
    random = Random(seed)
    near = [low - 1, high + 1, *(random.randint(0, 0x10FFFF) for _ in range(20))]
    for code in [*codes, *near]:
        if 0 <= code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF:
            assert admits(matcher, chr(code)) == (low <= code <= high), hex(code)


def test_long_texts_with_a_counted_shape_are_refused_at_last() -> None:
    words = Language.pattern("^(?:\\S+\\s+){0,29}\\S+$") & Language.lengths(0, 300)
    text = grammar(words)
    assert len(text) < 30_000
    matcher = Matcher(text)
    assert admits(matcher, "The quick brown fox jumps over the lazy dog, and so on.")
    assert admits(matcher, "a " * 25 + "a")
    assert not admits(matcher, "a " * 30 + "a")
    assert not admits(matcher, "abcdefghi " * 30 + "a")
    assert not admits(matcher, "a" * 301)
    walker, random = Walker(text, 500), Random(5)
    for _ in range(40):
        assert json.loads(walker.walk(random)) in words


@pytest.mark.parametrize(
    ("name", "most", "admitted"),
    [
        ("uri", 255, "https://www.example.com/" + "path-segment/" * 13 + "index.html?q=a&lang=en"),
        ("uri", 2048, "https://example.com/?q=hello%20world#top"),
        ("uri-reference", 2000, "../a/b?c=d"),
        ("email", 40, "john.doe@mail.example.com"),
        ("hostname", 50, "mail.cabinet-office.gov.uk"),
    ],
)
def test_formats_with_a_greatest_length_keep_what_is_common(
    name: str, most: int, admitted: str
) -> None:
    known = Language.of_format(name, most)
    assert known is not None
    language = known & Language.lengths(0, most)
    text = grammar(language)
    assert len(text) < 40_000
    assert admits(Matcher(text), admitted)
    walker, random = Walker(text, 3_000), Random(7)
    for _ in range(15):
        written = json.loads(walker.walk(random))
        assert len(written) <= most
        assert written in language


def test_plain_texts_have_no_character_that_engines_stop_at() -> None:
    everything = Language.everything()
    for language in (
        everything - Language.literals(["\0a", "b"]),
        everything - Language.containing("b"),
        Language.pattern("^(?!b)[\\0a]+$"),
        Language.pattern("^[^b]$"),
    ):
        matcher = Matcher(grammar(language, plain=True))
        assert matcher.matches("a")
        assert not matcher.matches("b")
        assert not matcher.matches("\0")
        assert not matcher.matches("\0a")
    assert Language.pattern("^\\0$").plain(Builder(), "text") is None
    assert (Language.pattern("^\\0$") - Language.containing("b")).plain(Builder(), "text") is None


def test_the_same_language_is_written_once() -> None:
    builder = Builder()
    names = {(Language.pattern("^(?!a)\\w+$")).json(builder, hint) for hint in ("one", "two")}
    assert len(names) == 1
    count = len(builder.rules)
    other = Builder()
    assert (Language.pattern("^(?!a)\\w+$")).json(other, "one") == names.pop()
    assert len(other.rules) == count


def test_rule_names_that_are_taken_are_left_alone() -> None:
    builder = Builder()
    for taken in ("one", "escape", "chars", "text", "k0", "k1"):
        builder.rule(taken, f'"{taken}"')
    language = Language.pattern("^(?!ab)[^x]+$") & Language.lengths(2, 5)
    body = language.json(builder, "text")
    assert body is not None
    builder.define("root", body)
    check(builder.text())
    assert Matcher(builder.text()).matches('"bab"')
    assert builder.rules["one"] == '"one"'


def test_words_beside_what_is_too_large_are_the_whole_text() -> None:
    hard = ~Language.pattern("(a|b).{12}$") & ~Language.pattern("^(.{3}|.{7})*c.{13}$")
    with pytest.raises(TooLarge):
        hard.json(Builder(), "text")
    matcher = Matcher(grammar(hard & Language.pattern("NEW|ON_APPROVAL")))
    assert admits(matcher, "NEW")
    assert admits(matcher, "ON_APPROVAL")
    assert not admits(matcher, "OLD")


def test_what_takes_too_many_states_says_so_quickly() -> None:
    hard = Language.pattern("(a|b).{12}$") & Language.pattern("^(.{3}|.{7})*$")
    with pytest.raises(TooLarge) as caught:
        (hard & Language.pattern("c.{11}d")).json(Builder(), "text")
    assert caught.value.why
    assert isinstance(caught.value, Inexact)
    assert "a" * 12 not in hard


def test_a_grammar_that_is_full_takes_no_more() -> None:
    builder = Builder()
    builder.rule("filler", '"' + "x" * 60_000 + '"')
    language = Language.pattern("^(?:\\S+\\s+){0,29}\\S+$") & Language.lengths(0, 300)
    with pytest.raises(TooLarge):
        language.json(builder, "text")
    assert list(builder.rules) == ["filler"]


@pytest.mark.parametrize(
    "source",
    [
        "(((^|a|$){8}b?){8}c?){8}",
        "^" + "".join(f"{letter}{{0,15}}" for letter in "abcdefghij") + "$",
        "(" * 20 + "a?" + "{2}b?)" * 20,
        "(?=a)" * 50 + "b",
        "((?=a)|(?!b)|c){10}",
        "((x{0,1000}y?){0,1000}z?){0,1000}",
        "(.*a){50}",
        "|".join(f"word{number}" for number in range(1_500)),
        "^(?:a?b?c?d?e?f?g?h?){0,50}$",
        "(\\b|a)*" * 20,
        "((((((a{0,9}b{0,9}){0,9}c){0,9}d){0,9}e){0,9}f){0,9}g){0,9}",
    ],
)
def test_expressions_made_to_explode_end_soon(source: str) -> None:
    try:
        pattern = Language.pattern(source)
    except Inexact:
        return
    for language in (pattern, ~pattern, pattern & Language.lengths(5, 100)):
        try:
            builder = Builder()
            body = language.json(builder, "text")
        except TooLarge:
            continue
        builder.define("root", body or '""')
        check(builder.text())
        assert len(builder.text()) < 64_000
