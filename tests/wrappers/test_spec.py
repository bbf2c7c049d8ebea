"""A template's spec and options: what is understood, and what is refused by its name."""

from __future__ import annotations

import json

import pytest
from conversations import LOOKUP

from llmgate.errors import ConfigError
from llmgate.types import Caps, Message, Request, ToolChoice
from llmgate.wrappers import Template, Wrapper

BODY = "\n{% for message in messages %}{{ message.text }}\n{% endfor %}{{ prefill }}"


def template(toml):
    return f"{{#- +++\n{toml}\n+++ -#}}{BODY}"


def test_the_keys_of_a_call_and_the_preamble_are_the_templates_own():
    wrapper = Wrapper(
        Template(
            "mine",
            template(
                'function_key = "tool"\narguments_key = "with"\nthoughts_key = "why"\n'
                'preamble = "Use {function} and {arguments}."\n'
                '[options]\ninner_thoughts = "beside"\nindent = 0'
            ),
        )
    )
    call = ToolChoice("required")
    request = Request("m", (Message("user", "hi"),), (LOOKUP,), call)
    prompt = wrapper.render(request, Caps(grammar=True))
    assert 'Use tool and with. Before them comes "why"' in prompt.text
    text = json.dumps(
        {"why": "hm", "tool": LOOKUP.name, "with": {"order_id": "1", "request_heartbeat": False}}
    )
    answer = wrapper.parse_text(text, request, prompt)
    assert answer.message.content == "hm"
    assert answer.message.tool_calls[0].arguments == '{"order_id": "1", "request_heartbeat": false}'


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no spec", "'mine' has no spec"),
        (template("stop = 5"), "'mine'.*stop"),
        (template('stopp = ["x"]'), "unknown key 'stopp'.*'stop'"),
        (template("stop ="), "not TOML"),
        (template('[options]\nindent = "x"'), "indent"),
        (template("") + "{% for %}", "error in line"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(source, message):
    with pytest.raises(ConfigError, match=message):
        Wrapper(Template("mine", source))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inner_thought": "off"}, "no option 'inner_thought'.*'inner_thoughts'"),
        ({"inner_thoughts": "maybe"}, "inner_thoughts"),
        ({"indent": -1}, "indent"),
        ({"loud": 1}, "'loud'.*must be a bool"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Wrapper(Template("mine", template("[options]\nloud = false"), options))


@pytest.mark.parametrize(
    "expression",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ 1 / 0 }}",
        "{{ undefined_name }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{% macro loop() %}{{ loop() }}{% endmacro %}{{ loop() }}",
    ],
)
def test_a_template_gets_out_of_its_sandbox_with_nothing_but_an_error(expression):
    wrapper = Wrapper(Template("mine", template("") + expression))
    with pytest.raises(ConfigError, match="the template 'mine' failed"):
        wrapper.render(Request("m", (Message("user", "hi"),)), Caps())


def test_the_names_that_chat_templates_expect_are_there():
    source = template("") + "{{ {'é': '<'} | tojson }}{{ strftime_now('%Y') | length }}"
    text = (
        Wrapper(Template("mine", source))
        .render(Request("m", (Message("user", "hi"),)), Caps())
        .text
    )
    assert text.endswith('{"é": "<"}4')
