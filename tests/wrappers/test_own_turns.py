"""What the model wrote stands in the next prompt to the letter, so that a server has it cached."""

from __future__ import annotations

import json

import msgspec
import pytest
from conversations import LOOKUP, SEND

from llmgate import grammar, resources
from llmgate.styles import STYLES
from llmgate.types import Caps, Message, Request, ToolCall, ToolChoice
from llmgate.wrappers import Wrapper
from llmgate.wrappers.writing import write_calls

HELD = Caps(grammar=True)
BEFORE = (Message("system", "You are Iris."), Message("user", "Where is order 77?"))
ARGUMENTS = [
    {"order_id": "77", "request_heartbeat": True},
    {"order_id": 'a "b"\n\\é – 你', "request_heartbeat": False},
    {"order_id": "", "request_heartbeat": True},
]


def asked(*more, mode="required"):
    return Request(
        "m", (*BEFORE, *more), tools=(LOOKUP, SEND), tool_choice=ToolChoice(mode), parallel=False
    )


def written(wrapper, arguments, thoughts):
    """A call as the history shows calls, which is how a model goes on."""
    text = json.dumps(arguments, ensure_ascii=False)
    return write_calls(
        wrapper.style,
        [ToolCall("call00001", "lookup_order", text)],
        {tool.name: tool.parameters for tool in (LOOKUP, SEND)},
        thoughts=thoughts,
        thoughts_key=wrapper.spec.thoughts_key,
        place=wrapper.options.inner_thoughts,
        indent=wrapper.options.indent,
    )


def check(wrapper, answer):
    """Whether the prompt after an answer begins with all that the server has read and written."""
    request = asked()
    prompt = wrapper.render(request, HELD)
    assert grammar.matches(prompt.grammar, answer)
    message = wrapper.parse_text(answer, request, prompt).message
    (call,) = message.tool_calls
    result = Message("tool", '{"status": "OK"}', tool_call_id=call.id, name=call.name)
    after = wrapper.render(asked(message, result), HELD).text
    return after.startswith(prompt.text + answer)


# "### RESPONSE" stands before the last answer only: with it, that answer is read again.
OPTIONS = {"airoboros": {"section_separators": False}}
TEMPLATES = [name for name in resources.names("templates") if name != "summary"]


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("indent", [0, 2])
@pytest.mark.parametrize("thoughts", ["off", "inside", "beside"])
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_call_in_the_layout_of_the_history(template, thoughts, indent, arguments):
    options = {"inner_thoughts": thoughts, "indent": indent, **OPTIONS.get(template, {})}
    wrapper = Wrapper.load(template, options)
    answer = written(wrapper, arguments, "" if thoughts == "off" else 'I look "it" up – é.')
    # Behind "ASSISTANT:" a call begins on a line of its own.
    assert check(wrapper, f"\n{answer}" if template == "airoboros" else answer)


# Where the ids of calls, which are ours, stand in the text.
RENUMBERED = {name for name, style in STYLES.items() if "{id}" in style.begin + style.middle}


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("style", [name for name in STYLES if name not in RENUMBERED])
def test_a_call_in_every_style(style, arguments):
    wrapper = Wrapper.load("chatml", {"style": style, "indent": 0})
    assert check(wrapper, written(wrapper, arguments, ""))


@pytest.mark.parametrize(
    "style",
    [n for n, s in STYLES.items() if s.arguments == "json" and not s.bare and n not in RENUMBERED],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (",\n  ", ": ")])
def test_the_models_own_white_space_stays_where_calls_have_marks(style, separators):
    wrapper = Wrapper.load("chatml", {"style": style})
    text = json.dumps(ARGUMENTS[0], separators=separators)
    schemas = {tool.name: tool.parameters for tool in (LOOKUP, SEND)}
    call = ToolCall("call00001", "lookup_order", text)
    assert check(wrapper, write_calls(wrapper.style, [call], schemas))


@pytest.mark.parametrize("template", ["chatml", "zephyr", "dolphin"])
def test_words_stay_as_they_are(template):
    wrapper = Wrapper.load(template)
    request = asked(mode="auto")
    prompt = wrapper.render(request, HELD)
    answer = "It is on its way:\n\n- by train\n- to Genoa"
    message = wrapper.parse_text(answer, request, prompt).message
    more = msgspec.structs.replace(request, messages=(*BEFORE, message, Message("user", "Thanks.")))
    assert wrapper.render(more, HELD).text.startswith(prompt.text + answer)
