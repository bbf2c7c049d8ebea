"""Searches over letters find what searches over code points find."""

from __future__ import annotations

import random

import pytest

from llmgate.grammar.text import automaton
from llmgate.grammar.text.automaton import determined, empty, matches
from llmgate.grammar.text.language import Language, machine
from llmgate.grammar.text.regex import TooLarge

PATTERNS = (
    "a", "ab", "^a", "b$", "^(?:ab)+$", "^[a-c]{1,3}$", "(a|bc)", r"^\S+$", "^.{2,4}$", "[^a]",
    "^$", "c{2}", "^(a|b)*c", "\U0001f600", r"^[\uD7FF\uE000]x?$",
)  # fmt: skip
TEXTS = ("", "a", "ab", "abc", "cc", "bca", "\ud7ffx", "\ue000", "\U0001f600", "a\n", "bcc")


def combined(chance: random.Random, depth: int) -> Language:
    """Some combination of patterns, texts and lengths."""
    kind = chance.randrange(10)
    if not depth or kind < 3:
        if kind % 3 == 0:
            return Language.literals(chance.sample(TEXTS, 3))
        if kind % 3 == 1:
            return Language.lengths(chance.randrange(3), chance.choice((None, 3, 4)))
        return Language.pattern(chance.choice(PATTERNS))
    one, other = combined(chance, depth - 1), combined(chance, depth - 1)
    return (~one, one & other, one | other, one - other)[kind % 4]


@pytest.mark.parametrize("seed", range(60))
def test_letters_and_code_points_give_the_same_language(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    language = combined(chance, 3)
    by_letters = determined(machine(language.part)), empty(machine(language.part))
    monkeypatch.setattr(automaton, "search", lambda machine: None)
    by_codes = determined(machine(language.part)), empty(machine(language.part))
    assert by_letters[1] == by_codes[1] == (by_letters[0].start is None)
    for text in (*TEXTS, *("".join(chance.choices("abcx\n", k=size)) for size in range(6))):
        assert matches(by_letters[0], text) == matches(by_codes[0], text) == (text in language)


def test_words_that_are_found_anywhere_combine_without_a_state_for_all_that_follows() -> None:
    words = [Language.pattern(word) for word in ("alpha", "beta", "gamma")]
    both = words[0] & words[1] & words[2]
    found = determined(machine(both.part))
    assert matches(found, "gamma beta alpha")
    assert not matches(found, "gamma beta")
    assert len(found.rows) <= 6 * 5 * 6


def test_lengths_that_would_take_too_many_states_are_seen_early() -> None:
    long = Language.pattern(r"^(?:\S+\s+){0,19}\S+$") & Language.lengths(0, 5_000)
    with pytest.raises(TooLarge):
        determined(machine(long.part))
