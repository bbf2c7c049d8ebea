"""Long texts are cut where a reader would cut them, and nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate.memory.chunks import TOKENS, estimate, split


def letters(text):
    return "".join(text.split())


def test_a_short_text_stays_whole():
    assert split("One sentence. Another one.\n\nA paragraph.") == (
        "One sentence. Another one.\n\nA paragraph.",
    )


@pytest.mark.parametrize("text", ["", " ", "\n\n\t"])
def test_of_nothing_there_are_no_pieces(text):
    assert split(text) == ()


def test_paragraphs_are_kept_together():
    paragraphs = [f"Paragraph {n}. " + "More of it. " * 8 for n in range(8)]
    pieces = split("\n\n".join(paragraphs), 60)
    assert len(pieces) == 4
    assert all(piece.startswith("Paragraph") and piece.endswith("it.") for piece in pieces)


def test_long_paragraphs_are_cut_at_sentences():
    pieces = split(" ".join(f"This is sentence {n}!" for n in range(200)), 50)
    assert all(piece.endswith("!") and piece.startswith("This") for piece in pieces)


def test_sentences_of_other_scripts_are_cut_there_too():
    pieces = split("这是一个句子。" * 100, 50)
    assert all(piece.endswith("。") and piece.startswith("这") for piece in pieces)


def test_a_word_without_end_is_cut_anywhere():
    pieces = split("x" * 10_000, 100)
    assert "".join(pieces) == "x" * 10_000
    assert max(map(estimate, pieces)) <= 100


def test_a_tokenizer_can_count():
    pieces = split("one two three four five six seven", 2, lambda text: len(text.split()))
    assert pieces == ("one two", "three four", "five six", "seven")


@given(st.text(max_size=3000), st.integers(1, TOKENS))
def test_all_of_a_text_comes_in_pieces_that_are_short_enough(text, tokens):
    pieces = split(text, tokens)
    assert letters("".join(pieces)) == letters(text)
    assert all(estimate(piece) <= max(tokens, 2) for piece in pieces)
    assert all(piece == piece.strip() != "" for piece in pieces)
