"""Backends that are asked with messages: nothing they answer is passed on unchecked."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate.backends.scripted import ScriptedBackend
from llmgate.errors import BackendError, ContextOverflow, OutputError, RequestError
from llmgate.gateway import Gateway, Route
from llmgate.gateway.budget import Budget
from llmgate.gateway.checks import Checks
from llmgate.gateway.native import Native, prepared
from llmgate.types import (
    CallDelta,
    Caps,
    Completion,
    Delta,
    Message,
    Note,
    Request,
    Tool,
    ToolCall,
    ToolChoice,
    Usage,
)
from llmgate.wrappers import Wrapper

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
ADD = Tool("add", "Add.", NUMBER)
SAY = Tool("say", "Say.", {"type": "object", "properties": {"text": {"type": "string"}}})
FORCED = ToolChoice("required")
HOW = pytest.mark.parametrize("stream", [False, True])


def made(*calls, text=None, reasoning=None):
    """An answer with calls: pairs of a name and arguments."""
    listed = tuple(ToolCall(f"id_{i}", name, args) for i, (name, args) in enumerate(calls))
    return Message("assistant", text, listed, reasoning=reasoning)


GOOD = made(("add", '{"n": 5}'))
BAD = made(("add", '{"n": "five"}'))


def gateway_of(*answers, budget=None):
    script = answers[0] if len(answers) == 1 and callable(answers[0]) else list(answers)
    backend = ScriptedBackend(script, caps=Caps(chat=True))
    route = Route(backend, Wrapper.load("chatml"), budget=budget or Budget())
    return Gateway({"m": route}), backend


def ask(**fields):
    return Request(model="m", **{"messages": (Message("user", "Add five."),), **fields})


async def answer(gateway, request, stream=False):
    if not stream:
        return await gateway.complete(request)
    return Completion.fold([delta async for delta in gateway.stream(request)])


def codes(completion):
    return [note.code for note in completion.notes]


def called(completion):
    return [(call.name, call.arguments) for call in completion.message.tool_calls]


@HOW
async def test_text_and_thoughts_pass_as_they_are(stream):
    gateway, backend = gateway_of(["It ", "is ", Delta(reasoning="Hm."), "five."])
    completion = await answer(gateway, ask(), stream)
    assert completion.message.content == "It is five."
    assert completion.message.reasoning == "Hm."
    assert (completion.finish, completion.notes) == ("stop", ())
    assert completion.usage.completion == 5
    assert backend.requests[0].messages == ask().messages


async def test_text_is_passed_on_as_it_comes():
    gateway, backend = gateway_of(["a ", "b ", "c"])
    deltas = gateway.stream(ask(tools=(ADD,)))
    assert (await anext(deltas)).text.strip() == "a"
    await deltas.aclose()
    assert backend.cancelled == 1


@HOW
async def test_a_valid_call_is_kept_to_the_letter(stream):
    gateway, _ = gateway_of(made(("add", '{ "n":5 }'), text="Let me see."))
    completion = await answer(gateway, ask(tools=(ADD,)), stream)
    assert completion.message.content == "Let me see."
    [call] = completion.message.tool_calls
    assert (call.id, call.name, call.arguments) == ("id_0", "add", '{ "n":5 }')
    assert completion.finish == "tool_calls"
    assert completion.notes == (Note("constraint", "checked, not constrained"),)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [("{'n': 5,}", "repaired"), ('{"n": "5"}', "coerced"), ('{"n": 5,', "repaired")],
)
@HOW
async def test_a_call_that_can_be_mended_is_mended(stream, arguments, code):
    gateway, _ = gateway_of(made(("add", arguments)))
    completion = await answer(gateway, ask(tools=(ADD,)), stream)
    assert called(completion) == [("add", '{"n": 5}')]
    assert code in codes(completion)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (BAD, '"five" is not of type "integer"'),
        (made(("ad", '{"n": 5}')), "no function 'ad'. Did you mean 'add'"),
        (made(("", "{}")), "no function ''"),
        (made(("add", "5")), "must be a JSON object"),
        (made(("add", "")), '"n" is a required property'),
        (made(("say", '{"text": "half a sent')), "cut off"),
        ([Delta(finish="tool_calls", usage=Usage(1, 1))], "not a function call"),
    ],
    ids=str,
)
@HOW
async def test_a_call_that_can_not_be_mended_is_asked_for_again(stream, bad, why):
    gateway, backend = gateway_of(bad, GOOD)
    completion = await answer(gateway, ask(tools=(ADD, SAY)), stream)
    assert called(completion) == [("add", '{"n": 5}')]
    assert "retried" in codes(completion)
    *_, refused, feedback = backend.requests[1].messages
    assert (refused.role, feedback.role) == ("assistant", "user")
    assert why.split('"')[0].split("'")[0] in feedback.content
    if isinstance(bad, Message):
        assert json.loads(refused.content)["name"] == bad.tool_calls[0].name


@HOW
async def test_after_two_refused_answers_there_is_an_error(stream):
    gateway, backend = gateway_of(BAD, BAD, GOOD)
    with pytest.raises(OutputError, match="integer"):
        await answer(gateway, ask(tools=(ADD,)), stream)
    assert len(backend.requests) == 2


@HOW
async def test_a_forced_call_that_does_not_come_is_asked_for_again(stream):
    gateway, _ = gateway_of("It is five.", GOOD)
    completion = await answer(gateway, ask(tools=(ADD,), tool_choice=FORCED), stream)
    assert (completion.message.content, called(completion)) == (None, [("add", '{"n": 5}')])


@HOW
async def test_a_call_of_another_function_than_the_forced_one_is_asked_for_again(stream):
    gateway, _ = gateway_of(made(("say", "{}")), GOOD)
    choice = ToolChoice("required", "add")
    completion = await answer(gateway, ask(tools=(ADD, SAY), tool_choice=choice), stream)
    assert called(completion) == [("add", '{"n": 5}')]


@HOW
async def test_words_before_a_forced_call_are_kept(stream):
    gateway, _ = gateway_of(made(("add", '{"n": 5}'), text="Well."))
    completion = await answer(gateway, ask(tools=(ADD,), tool_choice=FORCED), stream)
    assert completion.message.content == "Well."


@pytest.mark.parametrize(("parallel", "count"), [(False, 1), (True, 2), (None, 2)])
async def test_more_calls_than_were_asked_for_are_dropped_aloud(parallel, count):
    gateway, _ = gateway_of(made(("add", '{"n": 1}'), ("add", '{"n": 2}')))
    completion = await answer(gateway, ask(tools=(ADD,), parallel=parallel))
    assert len(called(completion)) == count
    assert ("dropped" in codes(completion)) == (count == 1)


async def test_missing_and_repeated_ids_become_ids_of_their_own():
    pieces = [
        Delta(call=CallDelta(0, '{"n": 1}', name="add")),
        Delta(call=CallDelta(1, '{"n": 2}', id="x", name="add")),
        Delta(call=CallDelta(4, '{"n": 3}', id="x", name="add")),
    ]
    gateway, _ = gateway_of(pieces)
    completion = await answer(gateway, ask(tools=(ADD,)))
    ids = [call.id for call in completion.message.tool_calls]
    assert len(set(ids)) == 3
    assert all(ids)
    assert ids[1] == "x"


async def test_calls_where_none_is_allowed():
    request = ask(tools=(ADD,), tool_choice=ToolChoice("none"))
    gateway, _ = gateway_of(made(("add", '{"n": 1}'), text="Yes."))
    completion = await answer(gateway, request)
    assert (completion.message.content, completion.message.tool_calls) == ("Yes.", ())
    assert codes(completion) == ["dropped"]
    gateway, _ = gateway_of(GOOD, "Yes.")
    assert (await answer(gateway, request)).message.content == "Yes."


@HOW
async def test_a_call_that_is_not_among_the_allowed_ones_is_asked_for_again(stream):
    say = made(("say", '{"text": "Hi"}'))
    request = ask(tools=(ADD, SAY), tool_choice=ToolChoice("required", allowed=("add",)))
    gateway, backend = gateway_of(say, GOOD)
    assert called(await answer(gateway, request, stream)) == [("add", '{"n": 5}')]
    assert "the function to call is 'add', not 'say'" in backend.requests[-1].messages[-1].content
    gateway, _ = gateway_of(say, say)
    with pytest.raises(OutputError, match="the function to call is 'add', not 'say'"):
        await answer(gateway, request, stream)


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "add", "arguments": {"n": 5}}\n</tool_call>',
        '{"name": "add", "arguments": {"n": 5}}',
    ],
)
@HOW
async def test_a_call_that_the_server_has_overlooked_is_found(stream, text):
    gateway, _ = gateway_of([*text], text)
    completion = await answer(gateway, ask(tools=(ADD,), tool_choice=FORCED), stream)
    assert called(completion) == [("add", '{"n": 5}')]
    assert completion.finish == "tool_calls"


@HOW
async def test_a_call_that_the_server_has_read_and_left_in_the_text_is_one(stream):
    text = 'Yes.\n<tool_call>{"name": "add", "arguments": {"n": 5}}</tool_call>'
    gateway, _ = gateway_of(made(("add", '{"n":5}'), ("add", '{"n":5}'), text=text))
    completion = await answer(gateway, ask(tools=(ADD,)), stream)
    assert [json.loads(arguments) for _, arguments in called(completion)] == [{"n": 5}] * 2
    assert completion.message.content == "Yes."
    assert codes(completion) == ["repaired", "dropped", "constraint"]


async def test_a_broken_call_in_the_text_is_asked_for_again():
    text = '<tool_call>{"name": "add", "arguments": {"n": "five"}}</tool_call>'
    gateway, _ = gateway_of(text, GOOD)
    assert called(await answer(gateway, ask(tools=(ADD,)))) == [("add", '{"n": 5}')]


@pytest.mark.parametrize(
    "text",
    ["Models write <tool_call> first.", "<tool_call> is a mark", "a < b, [1] and {x}", "{x}"],
)
@HOW
async def test_words_about_calls_are_words(stream, text):
    gateway, _ = gateway_of([*text])
    completion = await answer(gateway, ask(tools=(ADD,)), stream)
    assert (completion.message.content, completion.message.tool_calls) == (text, ())


@HOW
async def test_thoughts_in_the_text_are_thoughts(stream):
    gateway, _ = gateway_of(["<think>Hm", ".</think>", "Five."])
    completion = await answer(gateway, ask(), stream)
    assert (completion.message.reasoning, completion.message.content) == ("Hm.", "Five.")


@pytest.mark.parametrize(
    ("text", "content"), [('{"n": 5}', '{"n": 5}'), ("```json\n{'n': '5'}\n```", '{"n": 5}')]
)
@HOW
async def test_an_answer_has_to_satisfy_its_schema(stream, text, content):
    gateway, _ = gateway_of([*text])
    completion = await answer(gateway, ask(schema=NUMBER), stream)
    assert completion.message.content == content
    assert "constraint" in codes(completion)


@HOW
async def test_an_answer_that_breaks_its_schema_is_asked_for_again(stream):
    gateway, backend = gateway_of('{"n": "five"}', '{"n": 5}')
    completion = await answer(gateway, ask(schema=NUMBER), stream)
    assert completion.message.content == '{"n": 5}'
    assert '"five" is not of type "integer"' in backend.requests[1].messages[-1].content


@HOW
async def test_a_call_beside_a_schema(stream):
    gateway, _ = gateway_of(made(("add", '{"n": 5}'), text="Well."), '{"n": 5}')
    request = ask(schema=NUMBER, tools=(ADD,))
    first = await answer(gateway, request, stream)
    assert (first.message.content, called(first)) == ("Well.", [("add", '{"n": 5}')])
    assert (await answer(gateway, request, stream)).message.content == '{"n": 5}'


@HOW
async def test_a_call_that_the_token_limit_cut_says_so(stream):
    end = Delta(finish="length", usage=Usage(1, 1))
    whole = Delta(call=CallDelta(0, '{"n": 1}', id="a", name="add"))
    half = Delta(call=CallDelta(1, '{"n"', id="b", name="add"))
    gateway, _ = gateway_of([whole, half, end], [whole, end])
    completion = await answer(gateway, ask(tools=(ADD,)), stream)
    assert called(completion) == [("add", '{"n": 1}'), ("add", '{"n"')]
    assert (completion.finish, codes(completion)) == ("length", ["truncated", "constraint"])
    completion = await answer(gateway, ask(tools=(ADD,)), stream)
    assert (completion.finish, codes(completion)) == ("length", ["constraint"])


async def test_a_grammar_of_the_clients_own_is_refused():
    gateway, _ = gateway_of("yes")
    with pytest.raises(RequestError, match="grammar"):
        await answer(gateway, ask(grammar='root ::= "yes"'))


async def test_tools_that_are_none_are_refused_before_anything_is_asked():
    gateway, backend = gateway_of("yes")
    with pytest.raises(RequestError, match=r"tools\[0\]"):
        await answer(gateway, ask(tools=(Tool("x", "", {"type": "nothing"}),)))
    assert backend.requests == []


async def test_failures_and_notes_are_passed_on():
    note = Note("ignored_parameter", "top_k")
    gateway, _ = gateway_of([Delta(note=note), "Hi."], ["half ", BackendError("gone")])
    assert (await answer(gateway, ask())).notes == (note,)
    with pytest.raises(BackendError, match="gone"):
        await answer(gateway, ask(), stream=True)


async def test_the_observer_sees_messages_and_what_was_written():
    gateway, _ = gateway_of(BAD, GOOD)
    seen = []
    await gateway.complete(ask(tools=(ADD,)), lambda prompt, text: seen.append((prompt, text)))
    assert "Add five." in seen[0][0].text
    assert [json.loads(text)["arguments"] for _, text in seen] == ['{"n": "five"}', '{"n": 5}']


TURNS = tuple(Message(role, f"{role} {n}") for n in range(8) for role in ("user", "assistant"))


async def test_what_is_too_long_loses_its_oldest_turns_if_the_settings_say_so():
    def answered(request):
        return ContextOverflow("too long") if len(request.messages) > 5 else "Hi."

    messages = (Message("system", "Be kind."), *TURNS, Message("user", "Now?"))
    gateway, backend = gateway_of(answered, budget=Budget(overflow="drop_oldest"))
    completion = await answer(gateway, ask(messages=messages))
    assert codes(completion) == ["trimmed"]
    sent = backend.requests[-1].messages
    assert (sent[0].role, sent[1].role, sent[-1].content) == ("system", "user", "Now?")
    assert f"the {len(messages) - len(sent)} oldest" in completion.notes[0].message
    gateway, backend = gateway_of(answered)
    with pytest.raises(ContextOverflow):
        await answer(gateway, ask(messages=messages))
    assert len(backend.requests) == 1


async def test_a_last_turn_that_is_too_long_is_refused():
    gateway, backend = gateway_of(
        lambda request: ContextOverflow("too long"), budget=Budget(overflow="drop_oldest")
    )
    with pytest.raises(ContextOverflow):
        await answer(gateway, ask(messages=TURNS))
    assert len(backend.requests[-1].messages) == 2


def test_history_is_mended_and_results_find_their_calls():
    broken = ToolCall("a", "add", "{'n': 1,")
    messages = (
        Message("assistant", None, (broken, ToolCall("b", "say", ""))),
        Message("tool", "1", name="say"),
        Message("tool", "2"),
        Message("tool", "3"),
    )
    sent = prepared(Request("m", messages)).messages
    assert [call.arguments for call in sent[0].tool_calls] == ['{"n": 1}', "{}"]
    assert [message.tool_call_id for message in sent[1:]] == ["b", "a", None]


NATIVE = Native()
TEXT = st.text(max_size=30) | st.sampled_from(
    ["<tool_call>", '{"name": "add", "arguments": {"n": 1}}', "</tool_call>", "<think>", "</think>"]
)
CALL = st.builds(
    CallDelta,
    st.integers(0, 2),
    st.sampled_from(["", '{"n": 1}', '{"n": "1"}', '{"n": "x"}', "{'n': 1}", "[", '{"n"', "NaN"])
    | st.text(max_size=8),
    id=st.none() | st.sampled_from(["a", "b"]),
    name=st.none() | st.sampled_from(["add", "say", "ad", ""]),
)
DELTAS = st.lists(st.builds(Delta, TEXT) | st.builds(lambda c: Delta(call=c), CALL), max_size=6)
REQUESTS = st.builds(
    ask,
    tools=st.sampled_from([(), (ADD,), (ADD, SAY)]),
    tool_choice=st.sampled_from([ToolChoice(), FORCED, ToolChoice("none")]),
    parallel=st.sampled_from([None, True, False]),
    schema=st.sampled_from([None, NUMBER]),
)


@given(DELTAS, REQUESTS, st.sampled_from(["stop", "tool_calls"]))
def test_whatever_comes_is_refused_or_valid(deltas, request_, finish):
    """The guarantee: an answer that is no error and not cut is what was asked for."""
    task = NATIVE.task(request_)
    checks = Checks(task)
    try:
        said = [one for delta in [*deltas, Delta(finish=finish)] for one in checks.feed(delta)]
        completion = Completion.fold([*said, *checks.end()])
    except OutputError:
        return
    made_ = completion.message.tool_calls
    assert completion.finish == ("tool_calls" if made_ else "stop")
    assert bool(made_) or not task.must_call
    assert len(made_) < 2 or task.parallel
    assert len({call.id for call in made_}) == len(made_)
    for call in made_:
        value = json.loads(call.arguments, parse_constant=lambda name: pytest.fail(name))
        assert task.tools.checkers[call.name].problems(value) == []
    if request_.schema is not None and not made_:
        assert task.checker.problems(json.loads(completion.message.content)) == []


FRAGMENT = st.sampled_from(
    [
        *("<tool_call>", "</tool_call>", "<think>", "</think>", "add", "ad", "{", "}", " ", "\n"),
        *('{"name": "add", ', '"arguments": {"n": 5}', '"arguments": {"n": "x"}', "`", "words "),
    ]
)


@given(st.lists(FRAGMENT | st.text("ab <>{}\n", max_size=5), max_size=9).map("".join), st.data())
def test_text_is_the_same_however_it_is_cut(text, data):
    task = NATIVE.task(ask(tools=(ADD,)))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    def outcome(parts):
        checks = Checks(task)
        deltas = [Delta(part) for part in parts] + [Delta(finish="stop")]
        try:
            said = [one for delta in deltas for one in checks.feed(delta)]
            message = Completion.fold([*said, *checks.end()]).message
        except OutputError as error:
            return error.message
        calls = [(call.name, call.arguments) for call in message.tool_calls]
        return message.content, message.reasoning, calls

    assert outcome(pieces) == outcome([text])
