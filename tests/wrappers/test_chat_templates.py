"""Conversations by models' own templates: everything is said, in the form that each can show."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import msgspec
import pytest

from llmgate.errors import ConfigError, RequestError
from llmgate.styles import style
from llmgate.types import ChatTemplate, Message, Tool, ToolCall
from llmgate.wrappers.chat_template import ChatTemplateRenderer, Form

FOLDER = os.environ.get("LLMGATE_CHAT_TEMPLATES")
OWN = sorted((Path(__file__).parent / "chat_templates").glob("*.jinja"))
REAL = sorted(Path(FOLDER).glob("*.jinja")) if FOLDER else []
WEATHER = Tool(
    "get_weather",
    "Asks.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where."},
            "days": {"type": "integer", "description": "How many."},
        },
        "required": ["city"],
    },
)
CLOCK = Tool("clock")
FORM = Form(style=style("hermes"))


def renderer(name, **more):
    text = (Path(__file__).parent / "chat_templates" / f"{name}.jinja").read_text("utf-8")
    return ChatTemplateRenderer(ChatTemplate(text, "<s>", "</s>", **more))


def call(city, number=1, name="get_weather", days=3):
    text = f'{{"city":"{city}","days":{days}}}'
    return ToolCall(f"call_abcdef{number}", name, text)


def asked(*calls, content=None, reasoning=None):
    return Message("assistant", content, calls, reasoning=reasoning)


def result(text, number=1):
    return Message("tool", text, tool_call_id=f"call_abcdef{number}")


ROME, OSLO = '{"city":"Rome","days":3}', '{"city":"Oslo","days":3}'
USER, SYSTEM = Message("user", "Ask"), Message("system", "Be brief")
TWO_CALLS = (
    SYSTEM,
    USER,
    asked(call("Rome"), call("Oslo", 2), content="Let me see"),
    result("warm"),
    result("cold", 2),
    Message("assistant", "Warm and cold"),
    Message("user", "Thanks"),
)


def test_a_templates_own_form_is_used_where_it_has_one():
    found = renderer("tagged")
    assert found.lists_tools
    text = found.render(TWO_CALLS, (WEATHER,), form=FORM)
    # Arguments stay as the model wrote them: the server's prefix cache knows that text.
    assert text.endswith(
        "<|im_start|>user\nAsk<|im_end|>\n"
        "<|im_start|>assistant\nLet me see\n"
        f'<tool_call>\n{{"name": "get_weather", "arguments": {ROME}}}\n</tool_call>\n'
        f'<tool_call>\n{{"name": "get_weather", "arguments": {OSLO}}}\n</tool_call>'
        "<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\nwarm\n</tool_response>\n"
        "<tool_response>\ncold\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\nWarm and cold<|im_end|>\n"
        "<|im_start|>user\nThanks<|im_end|>\n<|im_start|>assistant\n"
    )
    assert json.dumps(WEATHER.parameters) in text


def test_several_calls_become_turns_of_their_own_with_their_results():
    text = renderer("single").render(TWO_CALLS, (WEATHER,), form=FORM)
    assert text.startswith("<s>[system] Be brief</s>[user] Functions: [{")
    assert text.endswith(
        "Ask</s>[assistant] Let me see</s>"
        '[assistant] {"name": "get_weather", "parameters": {"city": "Rome", "days": 3}}</s>'
        "[tool] warm</s>"
        '[assistant] {"name": "get_weather", "parameters": {"city": "Oslo", "days": 3}}</s>'
        "[tool] cold</s>[assistant] Warm and cold</s>[user] Thanks</s>[assistant]"
    )


def test_identifiers_get_the_length_that_a_template_demands():
    text = renderer("strict").render(TWO_CALLS, (WEATHER,), form=FORM)
    ids = re.findall(r'"(?:id|call_id)": "([^"]*)"', text)
    assert len(ids) == 4
    assert ids[:2] == ids[2:]
    assert ids[0] != ids[1]
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", found) for found in ids)


def test_identifiers_name_the_function_where_nothing_else_does():
    text = (
        "{% for m in messages %}{% for c in m.tool_calls or [] %}"
        "<|call|>{{ c.id }}<|args|>{{ c.function.arguments }}{% endfor %}"
        "{{ m.content }}{{ m.tool_call_id }}<|end|>{% endfor %}"
    )
    found = ChatTemplateRenderer(ChatTemplate(text))
    shown = found.render(TWO_CALLS, (WEATHER,), form=FORM)
    assert f"<|call|>functions.get_weather:0<|args|>{ROME}" in shown
    assert f"<|call|>functions.get_weather:1<|args|>{OSLO}" in shown
    assert "coldfunctions.get_weather:1<|end|>" in shown


def test_turns_of_one_role_are_joined_where_they_have_to_alternate():
    messages = (SYSTEM, USER, Message("user", "More"), Message("assistant", "A"))
    messages += (Message("assistant", "B"), Message("user", "C"))
    text = renderer("strict").render(messages, form=FORM)
    assert text == "<s>[INST]Ask\n\nMore[/INST]A\n\nB</s>[INST]Be brief\n\nC[/INST]"


def test_a_result_that_was_never_answered_breaks_no_alternation():
    messages = (USER, asked(call("Rome")), result("warm"), Message("user", "And?"))
    text = renderer("strict").render(messages, (WEATHER,), form=FORM)
    assert "warm" in text
    assert text.endswith("[INST]And?[/INST]")


def test_a_template_without_system_and_tools_says_everything_in_plain_turns():
    form = Form(style=style("hermes"), appendix="Functions: get_weather")
    assert not renderer("plain").lists_tools
    text = renderer("plain").render(TWO_CALLS, (WEATHER,), form=form)
    assert text == (
        "<turn>user\nBe brief\n\nFunctions: get_weather\n\nAsk</turn>\n"
        "<turn>model\nLet me see\n"
        f'<tool_call>\n{{"name": "get_weather", "arguments": {ROME}}}\n</tool_call>\n'
        f'<tool_call>\n{{"name": "get_weather", "arguments": {OSLO}}}\n</tool_call>'
        "</turn>\n"
        "<turn>user\nFUNCTION RETURN (get_weather):\nwarm\n\n"
        "FUNCTION RETURN (get_weather):\ncold</turn>\n"
        "<turn>model\nWarm and cold</turn>\n<turn>user\nThanks</turn>\n<turn>model\n"
    )


def test_calls_are_words_where_another_style_than_the_templates_is_chosen():
    form = Form(style=style("functionary-v3.1"), native=False)
    text = renderer("tagged").render(TWO_CALLS, form=form)
    assert '<function=get_weather>{"city":"Rome","days":3}</function>' in text
    assert "<tool_call>" not in text


def test_arguments_are_text_and_content_null_where_a_template_needs_that():
    text = renderer("literal").render(TWO_CALLS, form=FORM)
    assert text == (
        "<s>Be brief<|User|>Ask<|Assistant|>Let me see</s><|Assistant|><|calls|>"
        '<|call|>get_weather<|sep|>{"city":"Rome","days":3}<|end_call|>'
        '<|call|>get_weather<|sep|>{"city":"Oslo","days":3}<|end_call|><|end_calls|></s>'
        "<|Result|>call_abcdef1: warm<|Result|>call_abcdef2: cold"
        "<|Assistant|>Warm and cold</s><|User|>Thanks<|Assistant|>"
    )


def test_thoughts_are_shown_under_the_templates_own_key():
    messages = (USER, asked(call("Rome"), reasoning="Ask the service"), result("warm"))
    text = renderer("typed").render(messages, (WEATHER,), form=FORM)
    assert "<think>Ask the service</think>" in text
    assert '<with key="days" text="false">3</with>' in text
    assert renderer("tagged").render(messages, (WEATHER,), form=FORM).count("Ask the service") == 1


def test_a_template_that_fails_on_a_schema_gets_a_fuller_one():
    bare = Tool("find", "Finds.", {"type": "object", "properties": {"what": {"$ref": "#/$defs/w"}},
                                   "$defs": {"w": {"enum": ["a", "b"]}}})  # fmt: skip
    text = renderer("typed").render((USER,), (bare,), form=FORM)
    assert "what (string): " in text
    assert "clock" in renderer("typed").render((USER,), (CLOCK,), form=FORM)


def test_thoughts_inside_calls_are_the_first_argument_and_a_parameter():
    form = Form(style=style("hermes"), place="inside")
    messages = (USER, asked(call("Rome"), content="I look"), result("warm"))
    text = renderer("tagged").render(messages, (WEATHER,), form=form)
    assert '{"inner_thoughts": "I look", "city":"Rome","days":3}' in text
    assert '"required": ["inner_thoughts", "city"]' in text
    assert "assistant\nI look" not in text


def test_broken_arguments_of_a_client_are_mended():
    messages = (USER, asked(ToolCall("call_1", "clock", '{"zone": "CET"')), result("12"))
    text = renderer("tagged").render(messages, (CLOCK,), form=FORM)
    assert '{"name": "clock", "arguments": {"zone": "CET"}}' in text


def test_a_result_without_a_call_is_told_by_the_user():
    text = renderer("tagged").render((result("warm"), USER), form=FORM)
    assert "<|im_start|>user\nFUNCTION RETURN (unknown):\nwarm<|im_end|>" in text


def test_further_variables_reach_the_template():
    text = renderer("tagged").render((USER,), form=FORM, template_args={"enable_thinking": False})
    assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_conversations_with_tools_use_the_models_second_template():
    found = ChatTemplateRenderer(
        ChatTemplate("plain", tools="{% for t in tools or [] %}{{ t | tojson }}{% endfor %}tools")
    )
    assert found.render((USER,), form=FORM) == "plain"
    assert found.render((USER,), (CLOCK,), form=FORM).endswith("tools")
    assert found.render((USER, asked(call("Rome")), result("x")), form=FORM) == "tools"


def test_what_no_form_helps_against_is_refused_with_the_templates_words():
    text = "{% if messages | length > 3 %}{{ raise_exception('too long!') }}{% endif %}x"
    found = ChatTemplateRenderer(ChatTemplate(text))
    many = [Message("user" if n % 2 == 0 else "assistant", "a") for n in range(5)]
    with pytest.raises(RequestError, match="too long!"):
        found.render(many, form=FORM)


def test_a_template_that_always_fails_can_not_be_used():
    with pytest.raises(ConfigError, match="division by zero"):
        ChatTemplateRenderer(ChatTemplate("{{ 1 / 0 }}"))


CONVERSATIONS = {
    "plain": (SYSTEM, USER),
    "two calls": TWO_CALLS,
    "pending": (USER, asked(call("Rome")), result("warm")),
    "no answer": (USER, asked(call("Rome")), result("warm"), Message("user", "And?")),
    "orphan": (result("warm"), USER),
    "late system": (
        USER,
        Message("assistant", "A1"),
        Message("system", "S2"),
        Message("user", "B"),
    ),
    "twice": (
        USER,
        Message("user", "U2"),
        Message("assistant", "A1"),
        Message("assistant", "A2"),
        Message("user", "U3"),
    ),
    "assistant first": (Message("assistant", "A1"), USER),
    "system alone": (SYSTEM,),
}


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("path", OWN + REAL, ids=lambda path: path.stem)
def test_every_template_says_everything(path, conversation, request):
    messages = CONVERSATIONS[conversation]
    found = request.getfixturevalue("renderers")(path)
    tools = () if conversation == "plain" else (WEATHER, CLOCK)
    appendix = "" if found.lists_tools or not tools else "Functions: get_weather, clock"
    form = msgspec.structs.replace(FORM, appendix=appendix)
    text = found.render(messages, tools, form=form)
    for message in messages:
        # Words beside calls have no place in templates whose turns have to alternate.
        if not message.tool_calls:
            assert (message.content or "") in text
        assert all(made.name in text for made in message.tool_calls)
        assert all(c in text for m in message.tool_calls for c in json.loads(m.arguments).values()
                   if isinstance(c, str))  # fmt: skip
    assert not tools or "get_weather" in text or conversation == "system alone"


@pytest.fixture(scope="module")
def renderers():
    made: dict[Path, ChatTemplateRenderer] = {}

    def of(path):
        if path not in made:
            text = path.read_text(encoding="utf-8")
            made[path] = ChatTemplateRenderer(ChatTemplate(text, "<BOS>", "<EOS>"))
        return made[path]

    return of
