"""Answers held by JSON Schemas where a backend takes no grammars: every call one allows is read."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

from llmgate.styles import STYLES
from llmgate.types import Caps, ChatTemplate, Message, Request, Tool, ToolChoice
from llmgate.wrappers import ModelWrapper, open_wrapper

ONLY_SCHEMAS = Caps(schema=True)
TOOLS = (
    Tool(
        "get_weather",
        "Tells the weather.",
        {
            "type": "object",
            "properties": {"city": {"$ref": "#/$defs/name"}},
            "required": ["city"],
            "$defs": {"name": {"type": "string"}},
        },
    ),
    Tool("count", "Counts.", {"type": "object", "properties": {"to": {"type": "integer"}}}),
)
# The styles that write a call as JSON, and those that write the name before its arguments.
JSON_STYLES = [name for name, style in STYLES.items() if style.head != "named"]
NAMED = ["mistral-named", "functionary-v3.1", "functionary-v3.2", "deepseek-v3", "harmony"]
FORCED = ToolChoice("required")
CHOSEN = ToolChoice("required", "get_weather")


def asked(**more: Any) -> Request:
    return Request("m", (Message("user", "hi"),), **more)


def instance(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """A value that satisfies a schema of the kinds above."""
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return instance(target, root)
    if "anyOf" in schema:
        return instance(schema["anyOf"][0], root)
    if "const" in schema:
        return schema["const"]
    if schema["type"] == "array":
        return [instance(schema["items"], root) for _ in range(schema["minItems"])]
    if schema["type"] == "object":
        return {key: instance(value, root) for key, value in schema["properties"].items()}
    return {"string": "Paris", "integer": 3}[schema["type"]]


@pytest.mark.parametrize("thoughts", ["off", "inside", "beside"])
@pytest.mark.parametrize("style", JSON_STYLES)
@pytest.mark.parametrize("parallel", [None, False])
def test_what_the_schema_of_a_forced_call_allows_is_that_call(style, thoughts, parallel):
    options = {"style": style, "inner_thoughts": thoughts}
    wrapper = open_wrapper("chatml", options, None).of(ONLY_SCHEMAS)
    for choice in (FORCED, CHOSEN):
        request = asked(tools=TOOLS, tool_choice=choice, parallel=parallel)
        prompt = wrapper.render(request, ONLY_SCHEMAS)
        assert prompt.grammar is None
        assert prompt.text.endswith(prompt.prefill)
        value = instance(prompt.schema, prompt.schema)
        assert jsonschema_rs.validator_for(prompt.schema).is_valid(value)
        got = wrapper.parse_text(json.dumps(value), request, prompt)
        (call,) = got.message.tool_calls
        assert (call.name, json.loads(call.arguments)["city"]) == ("get_weather", "Paris")
        assert got.notes == ()


@pytest.mark.parametrize("style", NAMED)
def test_where_the_name_comes_first_the_prompt_writes_it_once_it_is_clear(style):
    wrapper = open_wrapper("chatml", {"style": style}, None).of(ONLY_SCHEMAS)
    request = asked(tools=TOOLS, tool_choice=CHOSEN)
    prompt = wrapper.render(request, ONLY_SCHEMAS)
    assert "get_weather" in prompt.prefill
    got = wrapper.parse_text('{"city": "Paris"}', request, prompt)
    (call,) = got.message.tool_calls
    assert (call.name, call.arguments) == ("get_weather", '{"city": "Paris"}')
    assert wrapper.render(asked(tools=TOOLS, tool_choice=FORCED), ONLY_SCHEMAS).schema is None


def test_a_schema_never_holds_what_may_be_text():
    wrapper = open_wrapper("chatml", {"style": "hermes"}, None).of(ONLY_SCHEMAS)
    assert wrapper.render(asked(tools=TOOLS), ONLY_SCHEMAS).schema is None
    assert wrapper.render(asked(), ONLY_SCHEMAS).schema is None


def test_the_schema_of_an_answer_is_passed_on_as_it_is():
    wrapper = open_wrapper("chatml", {}, None).of(ONLY_SCHEMAS)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert wrapper.render(asked(schema=schema), ONLY_SCHEMAS).schema == schema
    both = Caps(schema=True, grammar=True)
    assert wrapper.render(asked(schema=schema), both).schema is None


def test_references_that_count_from_elsewhere_are_not_moved():
    wrapper = open_wrapper("chatml", {}, None).of(ONLY_SCHEMAS)
    tool = Tool("f", "", {"$id": "https://example.org/f", "type": "object"})
    request = asked(tools=(tool,), tool_choice=FORCED)
    assert wrapper.render(request, ONLY_SCHEMAS).schema is None


def test_thoughts_that_the_template_began_are_ended_before_a_forced_call():
    text = (
        "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
        "<|im_end|>\n{% endfor %}<|im_start|>assistant\n<think>\n"
        "{#- <tool_call> {{ tools }} </tool_call> </think> #}"
    )
    caps = Caps(schema=True, template=ChatTemplate(text))
    wrapper = ModelWrapper({"style": "hermes"}).of(caps)
    request = asked(tools=TOOLS, tool_choice=FORCED)
    prompt = wrapper.render(request, caps)
    assert prompt.schema is not None
    if "<think>" in prompt.prefill:
        assert prompt.prefill.index("</think>") < prompt.prefill.index("<tool_call>")
    assert prompt.text.endswith(prompt.prefill)
    value = instance(prompt.schema, prompt.schema)
    got = wrapper.parse_text(json.dumps(value), request, prompt)
    assert [call.name for call in got.message.tool_calls] == ["get_weather"]
    assert got.message.content is None
