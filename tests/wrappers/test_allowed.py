"""Some of the listed tools may be called: the prompt is the same whichever they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conversations import LOOKUP, SEND, SHIP

from llmgate import grammar, resources
from llmgate.errors import OutputError, RequestError
from llmgate.styles import STYLES
from llmgate.types import Caps, ChatTemplate, Message, Request, ToolCall, ToolChoice
from llmgate.wrappers import ModelWrapper, Wrapper
from llmgate.wrappers.writing import write_calls

TAGGED = (Path(__file__).parent / "chat_templates" / "tagged.jinja").read_text(encoding="utf-8")
HELD, SCHEMAS, FREE = Caps(grammar=True), Caps(schema=True), Caps()
TOOLS = (LOOKUP, SEND, SHIP)
CALLS = {
    "lookup_order": '{"order_id": "77", "request_heartbeat": true}',
    "send_message": '{"message": "Hello."}',
    "ship": '{"to": {"street": "A", "country": "AT"}}',
}


def ask(mode="required", *allowed, name=None):
    choice = ToolChoice(mode, name, allowed)
    messages = (Message("system", "You are Iris."), Message("user", "Where is order 77?"))
    return Request("m", messages, tools=TOOLS, tool_choice=choice)


def written(wrapper, name):
    call = ToolCall("call00001", name, CALLS[name])
    return write_calls(wrapper.style, [call], {tool.name: tool.parameters for tool in TOOLS})


def wrapper_of(template, style="auto"):
    if template == "model":
        return ModelWrapper().of(Caps(template=ChatTemplate(TAGGED, "<s>", "</s>")))
    return Wrapper.load(template, {"style": style, "indent": 0, "opening_brace": "never"})


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("mode", ["auto", "required"])
def test_the_prompt_does_not_tell_which_may_be_called(style, mode):
    wrapper = wrapper_of("chatml", style)
    prompts = {
        wrapper.render(ask(mode, *allowed), caps).text
        for allowed in ((), ("ship",), ("lookup_order", "send_message"))
        for caps in (HELD, FREE)
    }
    prompts.add(wrapper.render(ask("required", name="ship"), HELD).text)
    assert len(prompts) == 1
    assert all(name in "".join(prompts) for name in CALLS)


def test_nor_does_the_prompt_of_a_models_own_template():
    wrapper = wrapper_of("model")
    prompts = {wrapper.render(ask("required", *some), HELD).text for some in ((), ("ship",))}
    assert len(prompts) == 1


@pytest.mark.parametrize("template", [*resources.names("templates"), "model"])
@pytest.mark.parametrize("allowed", [("ship",), ("lookup_order", "send_message")])
def test_the_grammar_allows_the_calls_of_these_only(template, allowed):
    wrapper = wrapper_of(template)
    made = wrapper.render(ask("required", *allowed), HELD).grammar
    for name in CALLS:
        assert grammar.matches(made, written(wrapper, name)) == (name in allowed), name


def test_the_words_of_an_answer_are_as_free_as_ever():
    wrapper = wrapper_of("chatml")
    made = wrapper.render(ask("auto", "ship"), HELD).grammar
    assert grammar.matches(made, "On its way.")
    assert grammar.matches(made, written(wrapper, "ship"))
    assert not grammar.matches(made, written(wrapper, "send_message"))


def test_a_schema_in_place_of_a_grammar_has_these_only():
    wrapper = wrapper_of("chatml")
    whole = wrapper.render(ask("required"), SCHEMAS)
    some = wrapper.render(ask("required", "ship", "lookup_order"), SCHEMAS)
    assert whole.text == some.text
    names = [way["properties"]["function"]["const"] for way in some.schema["anyOf"]]
    assert names == ["lookup_order", "ship"]
    one = wrapper.render(ask("required", "ship"), SCHEMAS)
    assert one.schema["properties"]["function"] == {"const": "ship"}


@pytest.mark.parametrize("template", [*resources.names("templates"), "model"])
@pytest.mark.parametrize("mode", ["auto", "required"])
def test_a_call_of_another_one_is_refused_where_nothing_held_it(template, mode):
    wrapper = wrapper_of(template)
    request = ask(mode, "ship", "lookup_order")
    prompt = wrapper.render(request, FREE)
    answer = wrapper.parse_text(written(wrapper, "ship"), request, prompt)
    assert [call.name for call in answer.message.tool_calls] == ["ship"]
    said = "the function to call is 'lookup_order' or 'ship', not 'send_message'"
    with pytest.raises(OutputError, match=said):
        wrapper.parse_text(written(wrapper, "send_message"), request, prompt)


def test_the_only_one_that_may_be_called_is_named_by_the_prompt():
    wrapper = Wrapper.load("chatml", {"opening_brace": "always", "indent": 0})
    one, both = ask("required", "ship"), ask("required", "ship", "send_message")
    assert wrapper.render(one, FREE).prefill == '{"function": "ship",'
    assert wrapper.render(both, FREE).prefill == '{"function":'


def test_a_forced_call_that_is_cut_is_ended_where_only_one_may_be_called():
    wrapper = wrapper_of("chatml")
    request = ask("required", "send_message")
    prompt = wrapper.render(request, HELD)
    answer = wrapper.parse_text("{", request, prompt, "length")
    (call,) = answer.message.tool_calls
    assert (call.name, set(json.loads(call.arguments))) == ("send_message", {"message"})


@pytest.mark.parametrize("caps", [HELD, SCHEMAS, FREE])
@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (ask("auto", "shop"), "there is no tool 'shop' to call. Did you mean 'ship'"),
        (ask("required", "ship", name="send_message"), "only 'ship' may be"),
    ],
)
def test_a_choice_of_tools_that_are_not_there_is_refused(request_, said, caps):
    with pytest.raises(RequestError, match=said) as caught:
        wrapper_of("chatml").render(request_, caps)
    assert caught.value.param == "tool_choice"
