"""The matcher follows texts exactly, whatever the grammar, and says where they go wrong."""

from __future__ import annotations

import itertools
import json
from random import Random

import pytest
from grammar_walk import Walker

from llmgate.errors import GrammarError
from llmgate.grammar import Matcher, begins, check, matches
from llmgate.grammar.gbnf.program import Program, Symbol

# Each of these has a number of ways to read a text that doubles with every character.
AMBIGUOUS = [
    ('root ::= "a" root "x" | "a" root "y" | ""', "a" * 400 + "xy" * 200, "a" * 400 + "xz" * 200),
    ('root ::= "a" root root? | "a"', "a" * 150, "a" * 149 + "b"),
    ('root ::= x root | y root | ""\nx ::= "a" "b"?\ny ::= "a"? "b"', "ab" * 500, "ab" * 500 + "c"),
    ('root ::= ("a" | "a" "a" | "aaa")* "!"', "a" * 2_000 + "!", "a" * 2_000),
    ('root ::= e\ne ::= "(" e ")" | t\nt ::= "n" "+" e | "n" "-" e | "n"', "n+" * 999 + "n", "n+"),
]


@pytest.mark.parametrize(("text", "good", "bad"), AMBIGUOUS, ids=[row[0] for row in AMBIGUOUS])
def test_ambiguity_does_not_multiply_what_is_followed(text: str, good: str, bad: str) -> None:
    matcher = Matcher(text)
    assert matcher.matches(good)
    assert not matcher.matches(bad)


def everything(text: str, alphabet: str, longest: int) -> set[str]:
    """All texts up to a length that a grammar has, found by trying all ways to take it apart."""
    program = Program().read(text)

    def ends(symbol: Symbol, sample: str, start: int) -> set[int]:
        if not isinstance(symbol, int):
            fits = start < len(sample) and symbol.has(ord(sample[start]))
            return {start + 1} if fits else set()
        found: set[int] = set()
        for production in program.productions[symbol] or ():
            here = {start}
            for one in production:
                here = {end for at in here for end in ends(one, sample, at)}
            found |= here
        return found

    samples = (
        "".join(chars)
        for length in range(longest + 1)
        for chars in itertools.product(alphabet, repeat=length)
    )
    return {s for s in samples if len(s) in ends(program.index["root"], s, 0)}


def test_the_matcher_agrees_with_trying_everything() -> None:
    random = Random(7)
    pieces = ['"a"', '"b"', "[ab]", "x", "y", "(", ")", "|", "*", "?", "{2}", "{0,2}", '""', "x?"]
    seen = 0
    while seen < 150:
        rules = [" ".join(random.choices(pieces, k=random.randint(1, 6))) for _ in range(3)]
        text = f'root ::= {rules[0]}\nx ::= "a" ({rules[1]})\ny ::= "b" ({rules[2]}) | x\n'
        try:
            check(text)
        except GrammarError:
            continue
        seen += 1
        right = everything(text, "ab", 5)
        matcher = Matcher(text)
        found = {
            "".join(chars)
            for length in range(6)
            for chars in itertools.product("ab", repeat=length)
            if matcher.matches("".join(chars))
        }
        assert found == right, text
        starts = {sample[:end] for sample in right for end in range(len(sample) + 1)}
        assert all(matcher.accepts_prefix(start) for start in starts), text


def test_whole_characters_are_followed_and_not_their_bytes() -> None:
    matcher = Matcher('root ::= [α-ω€😀]{2} "ﬀ" [^\\U00010000-\\U0010FFFF]')
    assert matcher.matches("ω😀ﬀx")
    assert not matcher.matches("ω😀ﬀ😀")
    assert not matcher.matches("ωxﬀx")


def test_a_deep_text_is_followed_to_its_end() -> None:
    matcher = Matcher('root ::= "[" (root ("," root)*)? "]"')
    deep = "[" * 10_000 + "]" * 10_000
    assert matcher.matches(deep)
    assert matcher.mismatch(deep[:-1]) is not None


def test_a_mismatch_says_where_and_what_was_expected() -> None:
    matcher = Matcher('root ::= "say: " ("yes" | "no") [!?]?')
    assert matcher.mismatch("say: yes") is None
    found = matcher.mismatch("say: maybe")
    assert found is not None
    assert (found.at, found.expected) == (5, ('"no"', '"yes"'))
    found = matcher.mismatch("say: no, never")
    assert found is not None
    assert (found.at, found.expected) == (7, ("[!?]", "the end"))
    found = matcher.mismatch("say")
    assert found is not None
    assert (found.at, found.expected) == (3, ('": "',))


def test_a_text_is_matched_without_making_a_matcher() -> None:
    text = 'root ::= "a"+ "b"'
    assert matches(text, "aab")
    assert not matches(text, "aa")
    assert begins(text, "aa")
    assert not begins(text, "ba")
    with pytest.raises(GrammarError, match="not defined"):
        matches("root ::= x", "")


def test_what_a_grammar_writes_matches_it() -> None:
    text = (
        'root ::= item ("," item)*\n'
        'item ::= [a-z]{1,3} "=" ("(" root ")" | [0-9]+ | string)\n'
        'string ::= "\\"" ([^"\\\\] | "\\\\" [^\\n])* "\\""\n'
    )
    walker, matcher, random = Walker(text), Matcher(text), Random(3)
    for _ in range(200):
        sample = walker.walk(random)
        assert matcher.matches(sample)
        assert all(matcher.accepts_prefix(sample[:end]) for end in range(len(sample)))


def test_json_of_many_kilobytes_is_followed() -> None:
    rows = [{"n": n, "text": f'Zeile "{n}" \\ 😀', "deep": [[[n]]]} for n in range(300)]
    text = (
        'root ::= "[" v ("," " "? v)* "]"\n'
        'v ::= "{" p ("," " "? p)* "}" | "[" v ("," " "? v)* "]" | s | [0-9]+\n'
        'p ::= s ":" " "? v\n'
        's ::= "\\"" ([^"\\\\] | "\\\\" ["\\\\])* "\\""\n'
    )
    sample = json.dumps(rows, ensure_ascii=False)
    assert matches(text, sample)
    assert not matches(text, sample + "]")
