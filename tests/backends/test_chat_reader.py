"""Chunks of `/v1/chat/completions` as deltas: the shapes that servers are known to send."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_servers.chat import piece

from llmgate.backends.chat_reader import ChatReader, usage_of
from llmgate.errors import BackendError, ContentFiltered
from llmgate.types import Completion, Delta, Note, Usage

NAMES = ("add", "get_weather", "dodo", "do")
SAME = {name: name for name in NAMES}


def chunk(delta, finish=None):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def read(*deltas, finish="tool_calls"):
    """What all the deltas of one answer come to."""
    reader = ChatReader(SAME)
    said = [one for delta in deltas for one in reader.take(chunk(delta))]
    said += reader.take(chunk({}, finish))
    return Completion.fold([*said, Delta(finish=reader.finish)])


def calls(*deltas):
    return [(c.id, c.name, c.arguments) for c in read(*deltas).message.tool_calls]


def test_pieces_are_put_together_by_their_index():
    assert calls(
        piece(0, id="a", name="add", arguments=""),
        piece(0, arguments='{"n"'),
        piece(1, id="b", name="dodo", arguments=""),
        piece(0, arguments=": 1}"),
        piece(1, arguments="{}"),
    ) == [("a", "add", '{"n": 1}'), ("b", "dodo", "{}")]


@pytest.mark.parametrize(
    "deltas",
    [
        [piece(None, name="add", arguments="{}"), piece(None, name="dodo", arguments="{}")],
        [piece(0, name="add", arguments="{}"), piece(0, name="dodo", arguments="{}")],
        [
            {
                "tool_calls": [
                    {"function": {"name": "add", "arguments": {}}},
                    {"function": {"name": "dodo", "arguments": {}}},
                ]
            }
        ],
    ],
    ids=["no index", "one index for all", "arguments as objects"],
)
def test_whole_calls_without_an_id_of_their_own(deltas):
    assert calls(*deltas) == [("", "add", "{}"), ("", "dodo", "{}")]


def test_calls_with_one_index_and_several_ids_are_several():
    first = piece(0, id="a", name="add", arguments='{"n": 1}')
    second = piece(0, id="b", name="add", arguments='{"n": 2}')
    assert calls(first, second) == [("a", "add", '{"n": 1}'), ("b", "add", '{"n": 2}')]


def test_a_name_and_an_id_that_are_repeated_with_every_piece():
    pieces = [piece(0, id="a", name="add", arguments=text) for text in ('{"n"', ": 1", "}")]
    assert calls(*pieces) == [("a", "add", '{"n": 1}')]


@pytest.mark.parametrize(
    ("cut", "name"), [(("get_", "weather"), "get_weather"), (("do", "do"), "dodo")]
)
def test_a_name_that_is_cut(cut, name):
    first, second = cut
    deltas = piece(0, id="a", name=first), piece(0, name=second), piece(0, arguments="{}")
    assert calls(*deltas) == [("a", name, "{}")]


def test_a_call_of_the_older_kind():
    assert calls(
        {"function_call": {"name": "add", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
    ) == [("", "add", "{}")]


@pytest.mark.parametrize(
    "junk",
    [
        {"tool_calls": []},
        {"tool_calls": None},
        {"tool_calls": ["x", None, {"function": None}, {"index": "0"}][:2]},
        {"content": None, "reasoning": None},
        {"content": []},
    ],
)
def test_empty_fields_say_nothing(junk):
    got = read({"content": "Hi."}, junk, finish="stop")
    assert (got.message.content, got.message.tool_calls, got.finish) == ("Hi.", (), "stop")


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_thoughts_by_both_names(field):
    got = read({field: "Hm. "}, {field: "Yes."}, {"content": "Hi."}, finish="stop")
    assert (got.message.reasoning, got.message.content) == ("Hm. Yes.", "Hi.")


def test_thoughts_by_both_names_at_once_are_told_once():
    got = read({"reasoning": "Hm.", "reasoning_content": "Hm."}, {"content": "x"}, finish="stop")
    assert got.message.reasoning == "Hm."


def test_content_in_parts_and_a_refusal_are_text():
    parts = {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    assert read(parts, {"refusal": "c"}, finish="stop").message.content == "abc"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
    ],
)
def test_why_it_ended(reason, finish):
    assert read({"content": "x"}, finish=reason).finish == finish


def test_a_content_filter_is_no_end_but_an_error_of_the_client():
    with pytest.raises(ContentFiltered) as caught:
        read({"content": "x"}, finish="content_filter")
    assert (caught.value.status, caught.value.code) == (400, "content_filter")


@pytest.mark.parametrize("reason", ["error", "abort"])
def test_an_answer_that_was_given_up_is_a_failure(reason):
    with pytest.raises(BackendError, match=reason):
        read({"content": "x"}, finish=reason)


def test_chunks_without_choices_say_nothing_but_the_usage():
    reader = ChatReader()
    assert reader.take({"choices": [], "prompt_filter_results": [{}]}) == []
    assert reader.take({"usage": None}) == []
    assert reader.usage is None
    details = {"cached_tokens": 4}
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": details}
    assert reader.take({"choices": [], "usage": usage}) == []
    assert reader.usage == Usage(10, 3, 4)


def test_another_llmgates_notes_are_kept():
    notes = [{"code": "repaired", "message": "a"}, {"code": 5}, "x"]
    [delta] = ChatReader().take({"choices": [], "llmgate": {"notes": notes}})
    assert delta == Delta(note=Note("repaired", "a"))
    for junk in ("x", {"notes": "x"}, {}):
        assert ChatReader().take({"llmgate": junk}) == []


def test_nobody_counted_is_not_zero():
    assert usage_of({"prompt_tokens": 10, "completion_tokens": 3}) == Usage(10, 3, None)
    assert usage_of({"prompt_tokens": None, "completion_tokens": -1}) == Usage(0, 0, None)


CALL = st.tuples(
    st.sampled_from(NAMES),
    st.dictionaries(st.text(max_size=5), st.text(max_size=12) | st.integers(), max_size=3),
)


@given(st.lists(CALL, min_size=1, max_size=4), st.data())
def test_calls_are_the_same_however_they_are_cut(wanted, data):
    """Each call as one piece or many, with the id in front or in all; several ways of counting."""
    repeat = data.draw(st.booleans())
    deltas = []
    for index, (name, arguments) in enumerate(wanted):
        text = json.dumps(arguments, ensure_ascii=False)
        cuts = sorted(data.draw(st.sets(st.integers(1, len(text) - 1), max_size=4)))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        whole = data.draw(st.booleans())
        id_ = f"call_{index}"
        first, *rest = pieces if whole else ["", *pieces]
        deltas.append(piece(index, id=id_, name=name, arguments=first))
        more = {"id": id_, "name": name} if repeat else {}
        deltas += [piece(index, arguments=part, **more) for part in rest]
    got = calls(*deltas)
    assert got == [
        (f"call_{i}", name, json.dumps(arguments, ensure_ascii=False))
        for i, (name, arguments) in enumerate(wanted)
    ]


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda v: (
            st.lists(v)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "choices",
                        "delta",
                        "message",
                        "content",
                        "tool_calls",
                        "function",
                        "name",
                        "arguments",
                        "index",
                        "id",
                        "usage",
                        "finish_reason",
                    ]
                ),
                v,
            )
        ),
        max_leaves=30,
    )
)
def test_nothing_that_a_server_sends_breaks_the_reader(value):
    reader = ChatReader(SAME)
    try:
        for delta in reader.take({"choices": [value], "usage": value}):
            assert delta.finish is None
    except BackendError:
        pass
