from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from llmgate.backends.stops import Stops

TEXT = st.text("abc", max_size=40)
STOPS = st.lists(st.text("abc", max_size=5), max_size=4)


def run(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    finder = Stops(stops)
    passed = "".join(finder.feed(piece) for piece in pieces)
    return passed + finder.flush(), finder.found


def cut(text: str, places: list[int]) -> list[str]:
    ends = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(ends)]


@given(TEXT, STOPS)
def test_the_text_ends_where_the_first_stop_string_begins(text, stops):
    places = [text.find(stop) for stop in stops if stop and stop in text]
    expected = text[: min(places)] if places else text
    assert run(stops, [text]) == (expected, bool(places))


@given(TEXT, STOPS, st.lists(st.integers(0, 100), max_size=10))
def test_any_cutting_gives_the_same_result(text, stops, places):
    assert run(stops, cut(text, places)) == run(stops, [text])


@given(TEXT, STOPS)
def test_nothing_that_is_passed_on_is_taken_back(text, stops):
    finder = Stops(stops)
    passed = ""
    for char in text:
        passed += finder.feed(char)
        assert run(stops, [text])[0].startswith(passed)


def test_what_cannot_begin_a_stop_string_is_passed_on_at_once():
    finder = Stops(["USER:"])
    assert finder.feed("Hello. U") == "Hello. "
    assert finder.feed("S is large") == "US is large"
    assert not finder.found


def test_the_earliest_of_overlapping_stop_strings_wins():
    assert run(["c", "bcd"], ["a", "b", "c", "d"]) == ("a", True)
    assert run(["c", "bcd"], ["a", "b", "c", "x"]) == ("ab", True)


def test_after_the_end_nothing_is_passed_on():
    finder = Stops(["."])
    assert finder.feed("One. Two. ") == "One"
    assert finder.feed("Three") == ""
    assert finder.flush() == ""
