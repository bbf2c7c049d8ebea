"""The pipeline over scripted models: retry, notes, usage, what is passed on and when."""

from __future__ import annotations

import json

import pytest
from scripted_models import FakeClock, model_of

from llmgate.backends.scripted import ScriptedBackend
from llmgate.config import ModelSettings, Settings
from llmgate.errors import (
    BackendError,
    ConfigError,
    ContextOverflow,
    OutputError,
    UnknownModel,
)
from llmgate.gateway import Gateway, Route
from llmgate.types import Caps, Completion, Message, Note, Request, Sampling, Tool, ToolChoice
from llmgate.wrappers import Wrapper

TOOL = Tool(
    "add",
    "Add.",
    {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
)
UNSAID = Sampling()
GOOD = '{"function": "add", "params": {"n": 5}}'
BAD = '{"function": "add", "params": {"n": "five"}}'


def gateway_of(*answers, grammar=False, sampling=UNSAID):
    backend = ScriptedBackend(list(answers), caps=Caps(grammar=grammar))
    wrapper = Wrapper.load("chatml", {"opening_brace": "never"})
    return Gateway({"m": Route(backend, wrapper, sampling)}), backend


def ask(**fields):
    return Request(model="m", messages=(Message("user", "Add five."),), **fields)


def codes(completion):
    return [note.code for note in completion.notes]


async def streamed(gateway, request):
    return Completion.fold([delta async for delta in gateway.stream(request)])


@pytest.mark.parametrize("how", [Gateway.complete, streamed])
async def test_text_and_usage(how):
    gateway, _ = gateway_of("It is five.")
    completion = await how(gateway, ask())
    assert completion.message.content == "It is five."
    assert completion.finish == "stop"
    assert completion.usage.completion == 3
    assert completion.notes == ()


@pytest.mark.parametrize("how", [Gateway.complete, streamed])
async def test_a_refused_call_is_asked_for_once_more_with_the_reason(how):
    gateway, backend = gateway_of(BAD, GOOD)
    completion = await how(gateway, ask(tools=(TOOL,)))
    [call] = completion.message.tool_calls
    assert json.loads(call.arguments) == {"n": 5}
    assert codes(completion) == ["constraint", "retried"]
    assert '"five" is not of type "integer"' in backend.prompts[1].text
    assert BAD in backend.prompts[1].text
    first, second = (len(p.text.split()) for p in backend.prompts)
    assert completion.usage.prompt >= first + second
    assert completion.usage.completion == len(BAD.split()) + len(GOOD.split())


@pytest.mark.parametrize("how", [Gateway.complete, streamed])
async def test_there_is_one_retry_and_then_an_error_with_the_text(how):
    gateway, backend = gateway_of(BAD, BAD, GOOD)
    with pytest.raises(OutputError, match="integer") as caught:
        await how(gateway, ask(tools=(TOOL,)))
    assert caught.value.text == BAD
    assert caught.value.status == 422
    assert len(backend.prompts) == 2


@pytest.mark.parametrize(
    ("times", "answers"), [(0, (BAD,)), (2, (BAD, BAD, GOOD)), (2, (BAD, BAD, BAD))]
)
async def test_an_answer_is_asked_for_again_as_often_as_the_model_allows(times, answers):
    backend = ScriptedBackend([*answers, GOOD], caps=Caps(grammar=False))
    clock = FakeClock()
    gateway = Gateway({"m": model_of("m", backend, clock=clock, corrections=times)}, clock=clock)
    if answers[-1] == GOOD:
        completion = await gateway.complete(ask(tools=(TOOL,)))
        assert json.loads(completion.message.tool_calls[0].arguments) == {"n": 5}
        assert codes(completion) == ["constraint", "retried"]
    else:
        with pytest.raises(OutputError):
            await gateway.complete(ask(tools=(TOOL,)))
    assert len(backend.prompts) == len(answers)


async def test_a_stream_that_has_begun_is_not_retried():
    gateway, backend = gateway_of(["Let me see.\n", BAD], GOOD)
    deltas = gateway.stream(ask(tools=(TOOL,)))
    assert (await anext(deltas)).text == "Let me see."
    with pytest.raises(OutputError):
        async for _ in deltas:
            pass
    assert len(backend.prompts) == 1


async def test_a_whole_answer_is_retried_even_after_words():
    gateway, _ = gateway_of(["Let me see.\n", BAD], GOOD)
    completion = await gateway.complete(ask(tools=(TOOL,)))
    assert completion.message.content is None
    assert codes(completion) == ["constraint", "retried"]


async def test_a_retry_that_no_longer_fits_reports_the_first_failure():
    def answer(prompt):
        return BAD if BAD not in prompt.text else ContextOverflow("too long")

    backend = ScriptedBackend(answer, caps=Caps())
    gateway = Gateway({"m": Route(backend, Wrapper.load("chatml"))})
    with pytest.raises(OutputError):
        await gateway.complete(ask(tools=(TOOL,)))


async def test_failures_of_the_backend_are_passed_on():
    gateway, _ = gateway_of(BackendError("gone"), ["half", BackendError("gone")])
    for _ in range(2):
        with pytest.raises(BackendError, match="gone"):
            await gateway.complete(ask())


async def test_what_the_request_could_not_have_is_noted():
    gateway, _ = gateway_of("ok")
    note = Note("ignored_parameter", "logprobs is not supported")
    assert (await gateway.complete(ask(notes=(note,)))).notes == (note,)


async def test_sampling_comes_from_the_request_else_from_the_route():
    gateway, backend = gateway_of("a", "b", sampling=Sampling(temperature=0.1, top_k=7))
    await gateway.complete(ask(sampling=Sampling(temperature=0.9)))
    await gateway.complete(ask())
    assert [p.sampling.temperature for p in backend.prompts] == [0.9, 0.1]
    assert [p.sampling.top_k for p in backend.prompts] == [7, 7]


async def test_leaving_a_stream_stops_the_generation():
    gateway, backend = gateway_of(["a ", "b ", "c "])
    deltas = gateway.stream(ask())
    await anext(deltas)
    await deltas.aclose()
    assert backend.cancelled == 1


async def test_the_observer_sees_prompt_and_raw_text_of_each_generation():
    gateway, backend = gateway_of(BAD, GOOD)
    seen = []
    await gateway.complete(ask(tools=(TOOL,)), lambda prompt, text: seen.append((prompt, text)))
    assert seen == [(backend.prompts[0], BAD), (backend.prompts[1], GOOD)]


async def test_an_unknown_model_is_refused_with_the_known_ones():
    gateway, _ = gateway_of()
    with pytest.raises(UnknownModel, match="Known: m") as caught:
        await gateway.complete(Request(model="n", messages=()))
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ModelSettings(wrapper="chatmel"), "models.x: unknown wrapper 'chatmel'.*'chatml'"),
        (ModelSettings(backend="lamacpp"), "models.x: unknown backend 'lamacpp'.*'llamacpp'"),
        (ModelSettings(options={"indnet": 2}), "no option 'indnet'.*'indent'"),
        (ModelSettings(options={"indent": "x"}), "indent"),
        (ModelSettings(backend="llamacpp"), "url"),
    ],
)
def test_settings_that_cannot_be_used_name_the_model(model, message):
    with pytest.raises(ConfigError, match=message):
        Gateway.open(Settings(models={"x": model}))


async def test_a_backend_that_ignores_its_grammar_is_found_out():
    gateway, backend = gateway_of("Five it is.", GOOD, grammar=True)
    request = ask(tools=(TOOL,), tool_choice=ToolChoice("required"))
    completion = await gateway.complete(request)
    assert completion.message.tool_calls[0].arguments == '{"n": 5}'
    assert codes(completion) == ["retried", "unconstrained"]
    assert backend.prompts[0].grammar is not None


async def test_an_answer_that_does_not_match_a_clients_own_grammar_is_asked_for_again():
    gateway, _ = gateway_of("perhaps", "yes", grammar=True)
    completion = await gateway.complete(ask(grammar='root ::= "yes" | "no"'))
    assert completion.message.content == "yes"
    assert codes(completion) == ["retried", "unconstrained"]


async def test_what_no_grammar_holds_is_refused_without_blaming_the_backend():
    schema = {"type": "object", "properties": {"n": {"type": "integer", "not": {"const": 5}}}}
    tool = Tool("add", "Add.", {**schema, "required": ["n"], "uniqueItems": True})
    gateway, _ = gateway_of(GOOD, GOOD.replace("5", "6"))
    completion = await gateway.complete(ask(tools=(tool,), tool_choice=ToolChoice("required")))
    assert codes(completion) == ["constraint", "retried"]


async def test_a_cut_call_that_no_ending_makes_valid_is_asked_for_again():
    tool = Tool("say", "Say.", {"type": "object", "properties": {"x": {"maxLength": 3}}})
    good = '{"function": "say", "params": {"x": "ok"}}'
    gateway, _ = gateway_of(
        '{"function": "say", "params": {"x": "long and longer"}}', good, grammar=True
    )
    request = ask(
        tools=(tool,), tool_choice=ToolChoice("required"), sampling=Sampling(max_tokens=6)
    )
    completion = await gateway.complete(request)
    assert completion.message.tool_calls[0].arguments == '{"x": "ok"}'
    assert codes(completion) == ["retried", "unconstrained"]
