import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate.backends.sse import MAX_LINE, Event, Events

STREAM = (
    ": a comment\r\n\r\n"
    'data: {"content": "one\u2028two\x85three"}\n\n'
    "event: ping\nid: 7\ndata: a\ndata:b\n\n"
    "\n\n"
    'error: {"code": 500}\r\n\r\n'
    "data: last\n\n"
).encode()
EVENTS = [
    Event('{"content": "one\u2028two\x85three"}'),
    Event("a\nb", "ping"),
    Event('{"code": 500}', "error"),
    Event("last"),
]


@given(st.integers(1, len(STREAM)))
def test_events_survive_any_cutting(size):
    events = Events()
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    assert [event for piece in pieces for event in events.feed(piece)] == EVENTS
    assert events.close() is None


@pytest.mark.parametrize("rest", [b"data: half", b"data: half\n"])
def test_what_is_incomplete_at_the_end_is_told_apart(rest):
    events = Events()
    assert list(events.feed(b"data: whole\n\n" + rest)) == [Event("whole")]
    assert events.close() == Event("half")
    assert events.close() is None


def test_a_line_without_end_is_refused():
    events = Events()
    assert not list(events.feed(b"x" * MAX_LINE))
    with pytest.raises(ValueError, match="a line of more than"):
        list(events.feed(b"x"))


def lines_of(text: str) -> list[Event]:
    """The events of a text, line by line, as the standard tells it."""
    events, data, name = [], [], "message"
    for line in text.split("\n")[:-1]:
        line = line.removesuffix("\r")
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            events += [Event("\n".join(data), name)] if data else []
            data, name = [], "message"
        elif field == "data":
            data.append(value)
        elif field == "event":
            name = value
        elif field == "error":
            data.append(value)
            name = "error"
    return events


FIELDS = ["data: a", "data:b", "data: ", "data", "event: x", "event", "error: e", ": c", "id: 1"]
ENDS = ["", "", "", "", "\r", "data: \r", "data: é\r", "\rdata: z"]
LINES = st.lists(st.sampled_from([*FIELDS, *ENDS]), max_size=14)


@given(LINES, st.lists(st.sampled_from(["\n", "\r\n"]), min_size=14, max_size=14), st.data())
def test_events_are_those_of_their_lines(lines, ends, data):
    text = "".join(line + end for line, end in zip(lines, ends, strict=False))
    raw = text.encode()
    places = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    events, found = Events(), []
    for start, end in zip([0, *places], [*places, len(raw)], strict=True):
        found += events.feed(raw[start:end])
    assert found == lines_of(text)


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_mark_of_byte_order_is_no_part_of_the_first_line(size):
    data, events = b"\xef\xbb\xbfdata: first\n\ndata: \xef\xbb\xbfsecond\n\n", Events()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    found = [event for piece in pieces for event in events.feed(piece)]
    assert found == [Event("first"), Event("\ufeffsecond")]
