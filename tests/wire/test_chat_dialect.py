"""Chat completions bodies → requests, and every refusal names its field."""

from __future__ import annotations

import json
import re

import pytest

from llmgate.errors import RequestError
from llmgate.types import CallDelta, Completion, Delta, Note, ToolChoice, Usage
from llmgate.wire import chat
from llmgate.wire.chat_answers import ChatWriter

HELLO = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
OTHER = {"type": "function", "function": {"name": "g"}}


def decode(**fields):
    return chat.decode(json.dumps({"model": "m", "messages": HELLO, **fields}).encode())


def test_the_plainest_body():
    asked = decode()
    assert (asked.request.model, asked.stream, asked.legacy) == ("m", False, False)
    assert [(m.role, m.content) for m in asked.request.messages] == [("user", "hi")]
    assert asked.request.notes == ()


def test_roles_parts_and_calls_are_understood():
    messages = [
        {
            "role": "developer",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        },
        {"role": "user", "content": "q", "name": "Ann"},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "hm",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"a": 1}'},
                },
                {"id": "c2", "type": "function", "function": {"name": "f", "arguments": {"a": 2}}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "ok"},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "old"},
    ]
    got = decode(messages=messages).request.messages
    assert [m.role for m in got] == ["system", "user", "assistant", "tool", "assistant", "tool"]
    assert got[0].content == "a\nb"
    assert got[1].name == "Ann"
    assert got[2].reasoning == "hm"
    assert [(c.id, c.arguments) for c in got[2].tool_calls] == [
        ("c1", '{"a": 1}'),
        ("c2", '{"a":2}'),
    ]
    assert got[3].tool_call_id == "c1"
    assert got[4].tool_calls[0].name == "f"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice("auto")),
        ("auto", ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "function": {"name": "g"}}, ToolChoice("required", "g")),
    ],
)
def test_tool_choice(choice, expected):
    assert decode(tools=[TOOL, OTHER], tool_choice=choice).request.tool_choice == expected


def allowed_tools(*names, **fields):
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"tools": tools, **fields}}


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_allowed_tools_are_chosen_from_a_list_that_stays_whole(mode):
    request = decode(tools=[TOOL, OTHER], tool_choice=allowed_tools("g", "g", mode=mode)).request
    assert [tool.name for tool in request.tools] == ["f", "g"]
    assert request.tool_choice == ToolChoice(mode, allowed=("g",))


def test_the_flat_form_of_allowed_tools_is_understood():
    choice = {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "g"}],
    }
    request = decode(tools=[TOOL, OTHER], tool_choice=choice).request
    assert request.tool_choice == ToolChoice("required", allowed=("g",))


@pytest.mark.parametrize(
    ("choice", "param", "said"),
    [
        (allowed_tools("f", "z"), ".tools[1]", "there is no function 'z'"),
        (allowed_tools(), ".tools", "must name a function"),
        (allowed_tools("f", mode="none"), ".mode", "'none' is not one of"),
        (allowed_tools("f", mode=3), ".mode", "3 is not one of"),
        (allowed_tools(tools="f"), ".tools", "must name a function"),
        (allowed_tools(tools=[{"type": "function"}]), ".tools[0]", "names no function"),
        ({"type": "allowed_tools", "allowed_tools": 5}, "", "must be an object"),
    ],
)
def test_a_choice_of_allowed_tools_that_can_not_be_used_is_named(choice, param, said):
    with pytest.raises(RequestError, match=re.escape(said)) as caught:
        decode(tools=[TOOL, OTHER], tool_choice=choice)
    assert caught.value.param == f"tool_choice.allowed_tools{param}"


def test_legacy_functions():
    asked = decode(functions=[{"name": "f"}], function_call={"name": "f"})
    assert asked.legacy
    assert asked.request.tool_choice == ToolChoice("required", "f")


def test_response_formats():
    assert decode(response_format={"type": "text"}).request.schema is None
    assert decode(response_format={"type": "json_object"}).request.schema == {"type": "object"}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}}
    assert decode(response_format=form).request.schema == {"type": "array"}


def test_sampling_and_stop():
    request = decode(
        max_tokens=5, temperature=0, top_p=0.5, seed=7, stop="x", top_k=3, repetition_penalty=1.1
    ).request
    sampling = request.sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p) == (5, 0.0, 0.5)
    assert (sampling.seed, sampling.top_k, sampling.repeat_penalty) == (7, 3, 1.1)
    assert request.stop == ("x",)
    assert decode(max_tokens=-1).request.sampling.max_tokens is None
    assert decode(stop="").request.stop == ()
    assert decode(stop=["", "x"], top_k=-1).request.stop == ("x",)
    assert decode(top_k=-1).request.sampling.top_k == 0
    assert decode(stop=["a", "b"], max_completion_tokens=9).request.sampling.max_tokens == 9


def test_what_is_not_honoured_is_noted_and_what_asks_for_nothing_is_not():
    request = decode(
        logprobs=True, logit_bias={"1": 2}, flavour="x", n=1, user="me", top_logprobs=None
    ).request
    assert [(n.code, n.message.split()[0]) for n in request.notes] == [
        ("ignored_parameter", "logprobs"),
        ("ignored_parameter", "logit_bias"),
        ("ignored_parameter", "flavour"),
    ]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "alien", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0]",
        ),
        ({"messages": [{"role": "user", "content": "x", "name": "a|b"}]}, "messages[0].name"),
        ({"model": 5}, "model"),
        ({"n": 2}, "n"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": 5}, "stop"),
        ({"seed": "x"}, "seed"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "maybe"}, "tool_choice"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "tool_choice",
        ),
        ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"grammar": "root ::= [a]", "tools": [TOOL]}, "grammar"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_a_bad_body_is_refused_by_the_name_of_its_field(fields, param):
    with pytest.raises(RequestError) as caught:
        decode(**fields)
    assert caught.value.param == param
    assert caught.value.status == 400


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(raw):
    with pytest.raises(RequestError):
        chat.decode(raw)


CALLS = [
    Delta(text="Hm."),
    Delta(call=CallDelta(0, id="call_1", name="f")),
    Delta(call=CallDelta(0, '{"a"')),
    Delta(call=CallDelta(0, ": 1}")),
    Delta(call=CallDelta(1, id="call_2", name="g")),
    Delta(call=CallDelta(1, "{}")),
    Delta(note=Note("coerced", "x")),
    Delta(usage=Usage(5, 3, 2)),
    Delta(finish="tool_calls"),
]


def stream(deltas, **fields):
    writer = ChatWriter(decode(**fields))
    events = b"".join(writer.pieces(delta) for delta in deltas).decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]


def test_a_streamed_answer_adds_up_to_the_whole_one():
    chunks = stream(CALLS)
    whole = ChatWriter(decode()).whole(Completion.fold(CALLS))
    message = {"content": "", "calls": {}}
    for chunk in chunks:
        change = chunk["choices"][0]["delta"]
        message["content"] += change.get("content") or ""
        for piece in change.get("tool_calls", []):
            call = message["calls"].setdefault(piece["index"], {"function": {"arguments": ""}})
            if "id" in piece:
                call.update(id=piece["id"], type=piece["type"])
                call["function"]["name"] = piece["function"]["name"]
            else:
                assert set(piece) == {"index", "function"}
            call["function"]["arguments"] += piece["function"]["arguments"]
    choice = whole["choices"][0]
    assert message["content"] == choice["message"]["content"]
    assert list(message["calls"].values()) == choice["message"]["tool_calls"]
    assert chunks[-1]["choices"][0]["finish_reason"] == choice["finish_reason"] == "tool_calls"
    assert (
        chunks[-1]["llmgate"]
        == whole["llmgate"]
        == {"notes": [{"code": "coerced", "message": "x"}]}
    )
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1


def test_the_first_chunk_has_the_role_and_no_other_has():
    chunks = stream(CALLS)
    roles = [chunk["choices"][0]["delta"].get("role") for chunk in chunks]
    assert roles == ["assistant"] + [None] * (len(chunks) - 1)


def test_usage_comes_last_and_only_if_asked_for():
    assert all("usage" not in chunk for chunk in stream(CALLS))
    chunks = stream(CALLS, stream_options={"include_usage": True})
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 3,
        "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 2},
    }


def test_a_legacy_client_gets_function_call():
    fields = {"functions": [{"name": "f"}]}
    chunks = stream(CALLS, **fields)
    pieces = [c["choices"][0]["delta"].get("function_call") for c in chunks]
    assert "".join(p["arguments"] for p in pieces if p) == '{"a": 1}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"
    whole = ChatWriter(decode(**fields)).whole(Completion.fold(CALLS))
    assert whole["choices"][0]["message"]["function_call"] == {"name": "f", "arguments": '{"a": 1}'}
    assert whole["choices"][0]["finish_reason"] == "function_call"


def test_an_empty_answer_is_empty_text_in_both_forms():
    deltas = [Delta(finish="stop")]
    assert stream(deltas)[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    whole = ChatWriter(decode()).whole(Completion.fold(deltas))
    assert whole["choices"][0]["message"]["content"] == ""
    assert "llmgate" not in whole


@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("model", ["m", 'a "" name', '"content":""'])
def test_every_text_has_the_same_event_around_it(model, usage):
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    options = {"stream_options": {"include_usage": usage}}
    writer = ChatWriter(chat.decode(json.dumps({**body, **options}).encode()))
    texts = ["first", 'a "quoted" \\ word\n', "é", "\u2028", '""']
    events = b"".join(writer.pieces(Delta(text=text)) for text in texts)
    written = [json.loads(line.removeprefix(b"data: ")) for line in events.split(b"\n\n")[:-1]]
    assert [event["choices"][0]["delta"] for event in written[1:]] == [
        {"content": text} for text in texts
    ]
    assert {tuple(event) for event in written} == {tuple(written[0])}
    assert all({**event, "choices": 0} == {**written[0], "choices": 0} for event in written)
