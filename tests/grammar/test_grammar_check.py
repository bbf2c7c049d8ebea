"""What `check` refuses and why, and what the matcher makes of what it lets pass."""

from __future__ import annotations

import pytest

from llmgate.errors import GrammarError
from llmgate.grammar import Matcher, check

BAD = [
    ("", "empty"),
    ("# nothing but a comment\n", "empty"),
    ('rot ::= "a"', "Did you mean 'rot'"),
    ("root ::= thing", "'thing' is not defined"),
    ('root ::= thing\nthin ::= "x"', "Did you mean 'thin'"),
    ('root ::= "x', "no closing"),
    ('root ::= "a"\nnext ::= "b\n', "line 2"),
    ("root ::= [a-z", "no closing"),
    ("root ::= []", "class is empty"),
    ("root ::= [^]", "class is empty"),
    ("root ::= [z-a]", "runs backwards"),
    ("root ::= [^\\x00-\\U0010FFFF]", "excludes every"),
    ('root ::= "\\q"', "unknown escape"),
    ('root ::= "\\xG1"', "hexadecimal"),
    ('root ::= "\\u12"', "hexadecimal"),
    ('root ::= "\\U00110000"', "no character"),
    ('root ::= ("a"', "expected ')'"),
    ('root ::= "a")', "expected the end"),
    ('root = "a"', "expected '::='"),
    ('my_rule ::= "a"', "letters, digits"),
    ('root ::= "a"\n  | "b"', "outside parentheses"),
    ('root ::= "a" |\nnext ::= "b"', "not complete"),
    ('root ::= "a"\nroot ::= "b"', "defined twice"),
    ("root ::= *", "nothing stands before"),
    ("root ::= (+)", "nothing stands before"),
    ('root ::= ""?', "nothing stands before"),
    ('root ::= "a"{2', "expected a count"),
    ('root ::= "a"{x}', "expected a count"),
    ('root ::= "a"{-1}', "expected a count"),
    ('root ::= "a"{3,2}', "runs backwards"),
    ('root ::= "a"{2000}', "too large"),
    ('root ::= "a"{0,5000}', "too large"),
    ('root ::= "a"{99999999999999999999999}', "too large"),
    ('root ::= ("a" "b"?){0,1500}', "too many"),
    ('root ::= ("a"{50}){50}{50}', "too many"),
    ('root ::= root "a" | "b"', "left recursion: root → root"),
    ('root ::= a\na ::= b "x"\nb ::= a | "y"', "left recursion: a → b → a"),
    ('root ::= sp root "x" | "y"\nsp ::= " "?', "left recursion: root → root"),
    ('root ::= "x"\nlost ::= lost', "left recursion: lost → lost"),
    ('root ::= ("a" | root)* "b"', "left recursion"),
    ('root ::= ("a"?)*', "can be empty"),
    ("root ::= <think>", "vocabulary"),
    ("root ::= !<[7]>", "vocabulary"),
    ('root ::= "a" ; "b"', "expected the end"),
    ('root ::= "a"\0', "U+0000"),
    ('root ::= "\ud800"', "surrogate"),
    ("root ::= " + "(" * 300 + '"a"' + ")" * 300, "nested"),
]


@pytest.mark.parametrize(("text", "part"), BAD, ids=[part for _, part in BAD])
def test_a_bad_grammar_is_refused_with_the_reason(text: str, part: str) -> None:
    with pytest.raises(GrammarError) as caught:
        check(text)
    assert part in str(caught.value)
    assert caught.value.status == 400


def test_a_syntax_error_names_its_line_and_column() -> None:
    with pytest.raises(GrammarError, match="line 3, column 12"):
        check('# one\nroot ::= a\na ::= "x"  ]')


def test_a_chain_of_starts_that_would_end_the_engines_stack_is_refused() -> None:
    rules = [f"r{n} ::= r{n + 1} | r{n + 1}" for n in range(40)]
    with pytest.raises(GrammarError, match="would not get through"):
        check("root ::= r0\n" + "\n".join(rules) + '\nr40 ::= "x"')
    deep = [f"r{n} ::= r{n + 1}" for n in range(3000)]
    with pytest.raises(GrammarError, match="would not get through"):
        check("root ::= r0\n" + "\n".join(deep) + '\nr3000 ::= "x"')


GOOD = [
    ('root ::= "a"', ["a"], ["", "aa", "b"]),
    ('root ::= ""', [""], ["a"]),
    ('root ::= "a" | "b" |\n  "c" # why not\n', ["a", "b", "c"], ["d"]),
    ('root ::= (\n  "a"\n  | "b"\n)+', ["a", "abba"], [""]),
    ("root ::= [a-c]{2,3}", ["ab", "abc"], ["a", "abca", "ad"]),
    ("root ::= [a-c]{2,}", ["ab", "abcabc"], ["a"]),
    ("root ::= [a-c]{ 2 }", ["ab"], ["a", "abc"]),
    ('root ::= "ab"{2}', ["abab"], ["ab", "abb"]),
    ('root ::= "a"{2}{2}', ["aaaa"], ["aa", "aaa"]),
    ("root ::= [^a-c\\n]+", ["xyz"], ["xaz", "x\n", ""]),
    ('root ::= "\\x41\\u00e9\\U0001F600\\t\\\\\\""', ['Aé😀\t\\"'], ["A"]),
    ("root ::= [\\]\\[-]+", ["]-["], ["a"]),
    ("root ::= .+", ["a\n😀"], [""]),
    ("root ::= a? b*\na ::= [0-9]\nb ::= a [x]", ["", "1", "11x2x", "1x"], ["1x1", "x"]),
    ('root ::= "(" root ")" | ""', ["", "(())"], ["(", "())"]),
    ('root ::= "a" root "b" root | ""', ["", "ab", "aabbab"], ["ba", "aab"]),
    ('root-1 ::= "x"\r\nroot ::= root-1 2nd\r\n2nd ::= "y"', ["xy"], ["x"]),
    ('root ::= "a"{0} "b"', ["b"], ["ab"]),
    ('root ::= "a\nb"', ["a\nb"], ["ab"]),
]


@pytest.mark.parametrize(("text", "matching", "other"), GOOD, ids=[text for text, _, _ in GOOD])
def test_the_matcher_follows_the_grammar(text: str, matching: list[str], other: list[str]) -> None:
    matcher = Matcher(text)
    for sample in matching:
        assert matcher.matches(sample), sample
        assert all(matcher.accepts_prefix(sample[:end]) for end in range(len(sample) + 1))
    for sample in other:
        assert not matcher.matches(sample), sample


def test_a_prefix_is_only_accepted_where_a_match_can_follow() -> None:
    matcher = Matcher('root ::= "a" endless | "ab"\nendless ::= "b" endless')
    assert matcher.accepts_prefix("ab")
    assert not matcher.accepts_prefix("abb")
    assert not Matcher('root ::= "a" root').accepts_prefix("")


def test_long_and_deep_texts_are_followed_without_a_limit() -> None:
    matcher = Matcher('root ::= "[" root? "]" [a-z]*')
    assert matcher.matches("[" * 20_000 + "]" * 20_000)
    assert not matcher.matches("[" * 20_000 + "]" * 19_999)
    assert matcher.matches("[]" + "x" * 200_000)


def test_the_matcher_refuses_what_check_refuses() -> None:
    with pytest.raises(GrammarError):
        Matcher("root ::= nowhere")
