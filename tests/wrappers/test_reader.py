"""Reading answers: text, calls, both; live where a grammar holds the backend, held elsewhere."""

from __future__ import annotations

import itertools
import json

import pytest
from conversations import LOOKUP, SEND
from hypothesis import given
from hypothesis import strategies as st

from llmgate import resources
from llmgate.errors import OutputError
from llmgate.types import Caps, Completion, Delta, Message, Request, Tool, ToolCall, ToolChoice
from llmgate.wrappers import Wrapper

TEMPLATES = resources.names("templates")
CALL = '{"function": "lookup_order", "params": {"order_id": "77", "request_heartbeat": true}}'
ARGUMENTS = '{"order_id": "77", "request_heartbeat": true}'


def ask(**fields):
    fields.setdefault("tools", (LOOKUP, SEND))
    return Request(model="m", messages=(Message("user", "Where is order 77?"),), **fields)


def deltas(text, request=None, *, cuts=(), held=False, options=None, reason="stop"):
    """The deltas for `text`, fed in pieces; `held`: the backend has no grammar."""
    request = request or ask()
    wrapper = Wrapper.load("chatml", {"opening_brace": "never", **(options or {})})
    reader = wrapper.reader(request, wrapper.render(request, Caps(grammar=not held)))
    edges = [0, *sorted(cuts), len(text)]
    out: list[Delta] = []
    for start, end in itertools.pairwise(edges):
        out += reader.feed(text[start:end])
    return [*out, *reader.finish(reason)]


def read(text, request=None, **how):
    return Completion.fold(deltas(text, request, **how))


def shape(completion):
    """An answer without the ids, which are random."""
    message = completion.message
    calls = [(call.name, call.arguments) for call in message.tool_calls]
    return message.content, calls, completion.finish, completion.notes


@pytest.mark.parametrize("held", [False, True])
def test_text_is_text(held):
    answer = read("  It is on its way.\nBye", held=held)
    assert shape(answer) == ("It is on its way.\nBye", [], "stop", ())


@pytest.mark.parametrize("held", [False, True])
def test_a_call_is_a_call(held):
    answer = read(CALL, held=held)
    assert shape(answer) == (None, [("lookup_order", ARGUMENTS)], "tool_calls", ())
    assert answer.message.tool_calls[0].id.startswith("call_")


@pytest.mark.parametrize("held", [False, True])
def test_valid_arguments_stay_as_the_model_wrote_them(held):
    raw = '{"order_id":"\\u0037\\/7",\n "request_heartbeat" : false}'
    answer = read(f'{{"function": "lookup_order", "params": {raw}}}', held=held)
    assert answer.message.tool_calls[0].arguments == raw


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("where", ["inside", "beside"])
def test_thoughts_become_the_content(held, where):
    call = json.loads(CALL)
    if where == "inside":
        call["params"] = {"inner_thoughts": "Let me see – é", **call["params"]}
    else:
        call = {"inner_thoughts": "Let me see – é", **call}
    answer = read(json.dumps(call), held=held, options={"inner_thoughts": where})
    assert shape(answer)[:2] == ("Let me see – é", [("lookup_order", ARGUMENTS)])


def test_a_live_call_is_passed_on_while_it_is_written():
    request = ask(tool_choice=ToolChoice("required"))
    wrapper = Wrapper.load("chatml")
    reader = wrapper.reader(request, wrapper.render(request, Caps(grammar=True)))
    first = list(reader.feed('{"function": "lookup_order", "params": {"order'))
    assert first[0].call.name == "lookup_order"
    assert "".join(delta.call.arguments for delta in first) == '{"order'


def test_a_held_call_is_kept_back_until_it_is_checked():
    request = ask(tool_choice=ToolChoice("required"))
    wrapper = Wrapper.load("chatml", {"opening_brace": "never"})
    reader = wrapper.reader(request, wrapper.render(request, Caps()))
    assert list(reader.feed(CALL)) == []
    assert [delta.finish for delta in reader.finish("stop")][-1] == "tool_calls"


@pytest.mark.parametrize("held", [False, True])
def test_words_before_a_call_are_content(held):
    answer = read(f"I should look it up.\n{CALL}", held=held)
    assert shape(answer)[:3] == (
        "I should look it up.",
        [("lookup_order", ARGUMENTS)],
        "tool_calls",
    )


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{CALL}\n```",
        f"Sure:\n```json\n{CALL}\n```",
        f"```\n{CALL}\n```",
        CALL + "<|im_end|>",
        "{" + CALL,
        CALL.replace('"lookup_order"', CALL),
        CALL[:-2],
        CALL.replace('"', "'").replace("true", "True"),
        CALL.replace("true", "true,"),
        CALL.replace("true", '"true"'),
        CALL.replace("params", "arguments"),
        CALL.replace("function", "name").replace("params", "arguments"),
        json.dumps({"function": "lookup_order", "params": ARGUMENTS}),
        '{"function": "lookup_order", "order_id": "77", "request_heartbeat": true}',
    ],
)
def test_a_spoilt_call_is_mended_and_the_mending_noted(text):
    answer = read(text, held=True)
    [call] = answer.message.tool_calls
    assert (call.name, json.loads(call.arguments)) == ("lookup_order", json.loads(ARGUMENTS))
    assert answer.notes or "```" in text or "arguments" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CALL.replace("lookup_order", "lookup_ordr"), "no function 'lookup_ordr'.*lookup_order"),
        (CALL.replace('"order_id"', '"order"'), "order_id"),
        (CALL.replace('"77"', "[7]"), "order_id"),
        ('{"function": "lookup_order", "params": [1]}', "must be a JSON object"),
        ('{"function": "send_message", "params": {"message": "I will co', "cut off in the middle"),
    ],
)
def test_a_call_that_cannot_be_mended_is_refused_with_the_reason(text, message):
    with pytest.raises(OutputError, match=message):
        read(text, held=True)


@pytest.mark.parametrize(
    "text", ['{"temperature": 21}', "{not a call", "```python\nprint({})\n```"]
)
def test_braces_that_are_no_call_are_text(text):
    assert shape(read(text, held=True))[:2] == (text, [])


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("text", ["Just words.", "", "{}", "[1, 2]"])
def test_a_required_call_that_does_not_come_is_refused(held, text):
    with pytest.raises(OutputError):
        read(text, ask(tool_choice=ToolChoice("required")), held=held)


@pytest.mark.parametrize("held", [False, True])
def test_only_the_named_function_will_do(held):
    with pytest.raises(OutputError, match="send_message"):
        read(CALL, ask(tool_choice=ToolChoice("required", "send_message")), held=held)


@pytest.mark.parametrize("held", [False, True])
def test_with_no_tools_allowed_a_call_is_text(held):
    assert shape(read(CALL, ask(tool_choice=ToolChoice("none")), held=held))[:2] == (CALL, [])


@pytest.mark.parametrize("held", [False, True])
def test_parallel_calls_are_all_read(held):
    other = '{"function": "send_message", "params": {"message": "hi"}}'
    answer = read(f"{CALL}\n{other}", ask(parallel=True), held=held)
    assert shape(answer)[1] == [("lookup_order", ARGUMENTS), ("send_message", '{"message": "hi"}')]


def test_a_list_of_calls_is_read_too():
    other = '{"function": "send_message", "params": {"message": "hi"}}'
    answer = read(f"[{CALL}, {other}]", ask(parallel=True), held=True)
    assert [name for name, _ in shape(answer)[1]] == ["lookup_order", "send_message"]
    for text in ("[1, 2]", "[a link](https://example.org)", "["):
        assert shape(read(text, held=True))[:2] == (text, [])


@pytest.mark.parametrize("held", [False, True])
def test_a_second_call_is_dropped_with_a_note_where_one_is_allowed(held):
    answer = read(f"{CALL}\n{CALL}", held=held)
    assert len(answer.message.tool_calls) == 1
    assert "dropped" in [note.code for note in answer.notes]


@pytest.mark.parametrize("held", [False, True])
def test_a_call_cut_by_the_token_limit_says_length_and_is_not_closed(held):
    answer = read(CALL[:60], held=held, reason="length")
    [call] = answer.message.tool_calls
    assert answer.finish == "length"
    assert call.arguments == ARGUMENTS[: len(call.arguments)]
    assert [note.code for note in answer.notes] == ["truncated"]


@pytest.mark.parametrize("at", range(len('{"function": "lookup_order"'), len(CALL)))
def test_a_forced_call_is_ended_at_the_token_limit_and_says_so(at):
    forced = ask(tool_choice=ToolChoice("required"))
    answer = read(CALL[:at], forced, reason="length")
    [call] = answer.message.tool_calls
    assert set(json.loads(call.arguments)) == {"order_id", "request_heartbeat"}
    assert answer.finish == "length"
    [note] = answer.notes
    assert note.code == "closed"
    assert repr(call.arguments[-1])[1] in note.message


def test_a_forced_call_that_is_held_back_is_ended_and_then_checked():
    """`uniqueItems` is more than the grammar holds, so what was added has to be checked too."""
    unique = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
    schema = {"type": "object", "properties": {"x": unique, "n": {"type": "integer"}}}
    tool = Tool("f", "", schema | {"required": ["x", "n"]})
    forced = ask(tools=(tool,), tool_choice=ToolChoice("required"))
    answer = read('{"function": "f", "params": {"x": [1, 2', forced, reason="length")
    assert json.loads(answer.message.tool_calls[0].arguments) == {"x": [1, 2], "n": 0}
    assert (answer.finish, [note.code for note in answer.notes]) == ("length", ["closed"])
    with pytest.raises(OutputError, match="x"):
        read('{"function": "f", "params": {"x": [1, 1', forced, reason="length")


def test_the_function_to_call_is_never_made_up():
    forced = ask(tool_choice=ToolChoice("required"))
    for at in range(len('{"function": "lookup_order')):
        answer = read(CALL[:at], forced, reason="length")
        assert answer.message.tool_calls == ()
        assert answer.finish == "length"


def test_a_live_answer_that_the_grammar_did_not_hold_is_refused():
    with pytest.raises(OutputError, match="not valid"):
        read('{"function": "lookup_order", "params": {"order_id": 7}}')


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("cuts", [(), (10, 20, 60)])
def test_a_refused_answer_is_told_as_a_whole(held, cuts):
    wrong = CALL.replace('"77"', "[7]")
    with pytest.raises(OutputError) as caught:
        read(wrong, held=held, cuts=cuts)
    assert caught.value.text == wrong


SCHEMA = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}


@pytest.mark.parametrize("held", [False, True])
def test_an_answer_by_a_schema_is_passed_on_as_written(held):
    assert shape(read('{"id" : 5}', ask(tools=(), schema=SCHEMA), held=held))[0] == '{"id" : 5}'


def test_an_answer_by_a_schema_is_mended_and_coerced():
    answer = read('```json\n{"id": "5",}\n```', ask(tools=(), schema=SCHEMA), held=True)
    assert json.loads(answer.message.content) == {"id": 5}
    assert {note.code for note in answer.notes} == {"repaired", "coerced"}


@pytest.mark.parametrize("held", [False, True])
def test_an_answer_that_breaks_its_schema_is_refused(held):
    with pytest.raises(OutputError):
        read('{"id": "five"}', ask(tools=(), schema=SCHEMA), held=held)


def test_with_tools_and_a_schema_either_will_do():
    both = ask(schema=SCHEMA)
    assert shape(read(CALL, both))[1] == [("lookup_order", ARGUMENTS)]
    assert shape(read('{"id": 5}', both))[:2] == ('{"id": 5}', [])


pieces = st.sampled_from(
    [
        "",
        " ",
        "\n",
        "{",
        "}",
        "`",
        "```json\n",
        "```",
        '"',
        '{"function"',
        '{"inner_',
        "Hi",
        "é😀",
        CALL,
        CALL[:30],
        CALL[30:],
        ": ",
        "USER:",
        "\\",
    ]
)
texts = st.one_of(
    st.lists(pieces, max_size=6).map("".join),
    st.builds("{}\n{}{}".format, st.text(max_size=20), st.just(CALL), st.text(max_size=5)),
    st.just(CALL),
)


@given(text=texts, held=st.booleans(), parallel=st.booleans(), data=st.data())
def test_the_cuts_of_a_stream_change_nothing(text, held, parallel, data):
    request = ask(parallel=parallel)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=len(text) + 1))
    reason = data.draw(st.sampled_from(["stop", "length"]))

    def outcome(cuts):
        try:
            return shape(read(text, request, held=held, cuts=cuts, reason=reason))
        except OutputError:
            return "refused"

    assert outcome(cuts) == outcome(())


@given(
    arguments=st.fixed_dictionaries({"message": st.text()}),
    thoughts=st.text(min_size=1).map(str.strip).filter(len),
    template=st.sampled_from(TEMPLATES),
    where=st.sampled_from(["inside", "beside"]),
    indent=st.sampled_from([0, 2]),
    held=st.booleans(),
)
def test_a_call_written_by_a_wrapper_is_read_back_the_same(
    arguments, thoughts, template, where, indent, held
):
    from llmgate.wrappers.writing import write_calls

    wrapper = Wrapper.load(template, {"inner_thoughts": where, "indent": indent})
    call = ToolCall("c", "send_message", json.dumps(arguments, ensure_ascii=False))
    schemas = {SEND.name: SEND.parameters}
    how = {"thoughts": thoughts, "place": where, "indent": indent}
    text = write_calls(wrapper.style, [call], schemas, **how)
    request = ask()
    prompt = wrapper.render(request, Caps(grammar=not held))
    answer = wrapper.parse_text(text, request, prompt)
    assert answer.message.content == thoughts
    assert [(c.name, json.loads(c.arguments)) for c in answer.message.tool_calls] == [
        ("send_message", arguments)
    ]
    assert answer.notes == ()


@pytest.mark.parametrize("held", [False, True])
def test_a_parameter_of_the_tools_own_is_not_taken_for_thoughts(held):
    """Agents of MemGPT's kind add `inner_thoughts` to their tools themselves."""
    own = Tool(
        "think",
        "Think.",
        {
            "type": "object",
            "properties": {"inner_thoughts": {"type": "string"}, "n": {"type": "integer"}},
            "required": ["inner_thoughts", "n"],
        },
    )
    request = ask(tools=(own,))
    options = {"inner_thoughts": "inside", "opening_brace": "never"}
    raw = '{"inner_thoughts": "hm", "n": 1}'
    answer = read(f'{{"function": "think", "params": {raw}}}', request, held=held, options=options)
    assert shape(answer)[:2] == (None, [("think", raw)])
    prompt = Wrapper.load("chatml", options).render(request, Caps()).text
    assert prompt.count("inner_thoughts") == 1
