"""Marks match with elastic white space, and say when only more text will tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate.styles import REASONING, STYLES
from llmgate.wrappers.marks import MAX_SPACE, MORE, Mark, fill, search

VALUES = {"n": "12", "id": "call_1-a.b:c", "string": "true", "type": "array"}
ALL = sorted(
    {
        text
        for style in STYLES.values()
        for text in (
            *(style.open, style.close, style.begin, style.end, style.between, style.middle),
            *(*style.opens, *style.begins, *style.ends, *style.middles, *style.skip),
            *style.parameter,
            *(mark for pair in (*style.frames, *style.reasoning, *REASONING) for mark in pair),
        )
        if text.strip()
    }
)
every_mark = pytest.mark.parametrize("text", ALL)


@every_mark
def test_every_mark_matches_what_it_writes_and_only_as_a_whole(text):
    mark, written = Mark(text), fill(text, VALUES).strip()
    assert mark.match(written + "{") == len(written)
    for end in range(len(written)):
        assert mark.match(written[:end]) is MORE
        assert mark.match(f"{written[:end]}\0") is None


@every_mark
def test_every_mark_is_found_behind_other_text(text):
    mark, written = Mark(text), fill(text, VALUES).strip()
    before = "".join(c for c in "some text <, [ and | " if not written.startswith(c) or written[1:])
    assert search((mark,), f"{before}{written}{{") == (len(before), len(before) + len(written))
    for end in range(1, len(written)):
        assert search((mark,), before + written[:end])[1] is None
        assert search((mark,), before + written[:end])[0] <= len(before)
        assert search((mark,), before + written[:end], final=True)[1] is None


@pytest.mark.parametrize(
    ("mark", "text", "end"),
    [
        ("<a>\n<b>", "<a><b>", 6),
        ("<a>\n<b>", "<a> \t\r\n\n <b>", 12),
        ("<a>\n<b>", "<a>" + " " * MAX_SPACE + "<b>", 6 + MAX_SPACE),
        ("<a>\n<b>", "<a>" + " " * (MAX_SPACE + 1) + "<b>", None),
        ("<a>\n<b>", "<a>   ", MORE),
        ("<a><b>", "<a> <b>", None),
        ("call to=f.", "callto=f.", None),
        ("call to=f.", "call  to=f.", 11),
        ("\n```json\n", "```json{", 7),
        ("\n```json\n", "```jsonx", None),
        ("\n```json\n", "```json", MORE),
        (":{n}<|", ":0<|", 4),
        (":{n}<|", ":123", MORE),
        (":{n}<|", ":<|", None),
        (":{n}<|", ":٣<|", None),
        ("[ID]{id}[A]", "[ID]a1:b-2[A]", 13),
        ("[ID]{id}[A]", "[ID]a b[A]", None),
        ('" s="{string}">', '" s="false">', 12),
        ('" s="{string}">', '" s="tru', MORE),
        ("<a>", "", MORE),
    ],
)
def test_white_space_and_placeholders(mark, text, end):
    assert Mark(mark).match(text) == end


def test_the_values_at_placeholders_are_told():
    assert Mark('" type="{type}" n="{n}">').read('" type="object" n="3">') == (
        22,
        {"type": "object", "n": "3"},
    )


def test_a_word_is_kept_apart_from_the_one_before():
    mark = Mark(" to=f.")
    assert mark.match("x to=f.", 2) == 7
    assert mark.match("xto=f.", 1) is None
    assert mark.match("xto=f.", 1) is None
    assert search((mark,), "goto=f. to=f.") == (8, 13)


def test_of_two_marks_at_one_place_the_longer_counts_once_it_is_certain():
    marks = (Mark("<|call|>"), Mark("<|call|>f."))
    assert search(marks, "a <|call|>") == (2, None)
    assert search(marks, "a <|call|>", final=True) == (2, 10)
    assert search(marks, "a <|call|>f.x") == (2, 12)
    assert search(marks, "a <|call|>g") == (2, 10)
    assert search(marks[::-1], "a <|call|>g") == (2, 10)


def test_a_mark_may_begin_inside_the_beginning_of_another():
    marks = (Mark("<<<<a>"), Mark("<<<b>"))
    assert search(marks, "<<<<b>") == (1, 6)
    assert search(marks, "<<<<<<<b>x") == (4, 9)
    assert search(marks, "<<<<<<<") == (3, None)


def test_a_mark_of_white_space_is_empty():
    mark = Mark("\n")
    assert mark.empty
    assert mark.match("x") == 0
    assert search((mark,), "a\nb") == (3, None)
    assert search((), "abc") == (3, None)


@given(
    text=st.lists(st.sampled_from([*ALL, "<", "[", "x", " ", "\n", "😀"]), max_size=6).map("".join),
    marks=st.lists(st.sampled_from(ALL), min_size=1, max_size=4),
    data=st.data(),
)
def test_what_is_certain_stays_so_whatever_comes(text, marks, data):
    found = [Mark(mark) for mark in marks]
    start, end = search(found, text)
    cut = data.draw(st.integers(0, len(text)))
    early, early_end = search(found, text[:cut])
    assert early <= start
    if early_end is not None:
        assert (early, early_end) == (start, end)
    # What is held back is no longer than the longest mark with all its white space.
    assert early_end is not None or cut - early <= max(len(m) for m in marks) + 6 * MAX_SPACE
