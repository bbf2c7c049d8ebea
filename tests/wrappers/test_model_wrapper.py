"""The model's own chat template as the wrapper: found out, used, and what happens without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmgate.backends.scripted import ScriptedBackend
from llmgate.errors import ConfigError
from llmgate.gateway import Gateway, Route
from llmgate.types import Caps, ChatTemplate, Message, Request, Tool, ToolCall, ToolChoice
from llmgate.wrappers import ModelWrapper, Wrapper, open_wrapper
from llmgate.wrappers.chat_template import ChatTemplateRenderer

TAGGED = (Path(__file__).parent / "chat_templates" / "tagged.jinja").read_text(encoding="utf-8")
PLAIN = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
THINKING = PLAIN.replace("<|assistant|>{% endif", "<|assistant|><think>\n{% endif") + (
    "{# #}{% if false %}</think>{% endif %}"
)
TOOL = Tool(
    "add", "Add.", {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
)


def ask(**fields):
    return Request(model="m", messages=(Message("user", "Add five."),), tools=(TOOL,), **fields)


def of(text, **options):
    return ModelWrapper(options).of(Caps(template=ChatTemplate(text, "<s>", "</s>")))


def test_the_style_is_that_of_the_template_and_calls_are_read_in_it():
    wrapper = of(TAGGED)
    assert wrapper.style.name == "hermes"
    prompt = wrapper.render(ask(), Caps(grammar=True))
    assert "add" in prompt.text
    assert "Available functions" not in prompt.text
    answer = wrapper.parse_text(
        '<tool_call>\n{"name": "add", "arguments": {"n": 5}}\n</tool_call>', ask(), prompt
    )
    assert answer.message.tool_calls[0].arguments == '{"n": 5}'


def test_a_template_that_knows_no_tools_gets_our_list_of_them():
    wrapper = of(PLAIN)
    prompt = wrapper.render(ask(), Caps(grammar=True))
    assert prompt.text.startswith("<|system|>You can call functions.")
    assert prompt.text.endswith("<|user|>Add five.<|end|><|assistant|>")
    assert prompt.stop == ("</s>", "<|end|>")


def test_another_style_than_the_templates_is_explained_to_the_model():
    wrapper = of(TAGGED, style="mistral")
    prompt = wrapper.render(ask(), Caps())
    assert '[TOOL_CALLS][{"name": "FUNCTION", "arguments": {"PARAMETER": "VALUE"}}' in prompt.text


def test_thoughts_that_the_prompt_opens_are_read_as_thoughts():
    wrapper = of(THINKING)
    asked = ask(tool_choice=ToolChoice("none"))
    prompt = wrapper.render(asked, Caps())
    assert prompt.prefill.strip() == "<think>"
    answer = wrapper.parse_text("Five, then.\n</think>\n\nDone.", asked, prompt)
    assert (answer.message.reasoning, answer.message.content) == ("Five, then.", "Done.")


def test_a_lazy_grammar_is_used_where_the_backend_has_triggers():
    wrapper = of(TAGGED)
    lazy = wrapper.render(ask(), Caps(grammar=True, triggers=True))
    assert lazy.triggers == ("<tool_call>",)
    forced = wrapper.render(
        ask(tool_choice=ToolChoice("required")), Caps(grammar=True, triggers=True)
    )
    assert forced.triggers == ()
    assert "<tool_call>" in lazy.preserved


def test_a_history_with_calls_is_shown():
    call = ToolCall("call_1", "add", '{"n": 5}')
    messages = (
        Message("user", "Add five."),
        Message("assistant", None, (call,)),
        Message("tool", "12", tool_call_id="call_1"),
    )
    for text in (TAGGED, PLAIN):
        shown = of(text).render(Request(model="m", messages=messages, tools=(TOOL,)), Caps()).text
        assert '{"n": 5}' in shown
        assert "12" in shown


def test_without_a_template_auto_falls_back_and_model_says_so():
    assert open_wrapper("auto").of(Caps()).name == "chatml"
    with pytest.raises(ConfigError, match="llmgate wrappers"):
        open_wrapper("model").of(Caps())


def test_wrong_options_are_found_at_once():
    with pytest.raises(ConfigError, match="inner_thoughts"):
        open_wrapper("model", {"inner_thought": "inside"})
    with pytest.raises(ConfigError, match="hermes"):
        Wrapper.load("chatml", {"style": "hermez"})


def test_a_template_that_changes_makes_another_wrapper():
    wrapper = ModelWrapper()
    first = wrapper.of(Caps(template=ChatTemplate(PLAIN)))
    assert wrapper.of(Caps(template=ChatTemplate(PLAIN))) is first
    assert wrapper.of(Caps(template=ChatTemplate(TAGGED))) is not first


async def test_the_gateway_uses_the_template_that_the_backend_tells():
    said = '<tool_call>\n{"name": "add", "arguments": {"n": 5}}\n</tool_call>'
    backend = ScriptedBackend([said], template=TAGGED)
    completion = await Gateway({"m": Route(backend, open_wrapper("auto"))}).complete(ask())
    assert completion.message.tool_calls[0].name == "add"
    assert "<|im_start|>" in backend.prompts[0].text


def test_the_same_request_is_written_once_and_another_one_anew(monkeypatch):
    wrapper = of(TAGGED)
    rendered = []
    real = ChatTemplateRenderer.render

    def counted(self, messages, *rest, **more):
        rendered.append(messages)
        return real(self, messages, *rest, **more)

    monkeypatch.setattr(ChatTemplateRenderer, "render", counted)
    first = wrapper.render(ask(), Caps(grammar=True)).text
    assert wrapper.render(ask(), Caps(grammar=True)).text == first
    assert len(rendered) == 1
    other = Request(model="m", messages=(Message("user", "Add six."),), tools=(TOOL,))
    assert "Add six." in wrapper.render(other, Caps(grammar=True)).text
    assert wrapper.render(ask(), Caps(grammar=True)).text == first
    bare = Request(model="m", messages=(Message("user", "Add five."),))
    assert "Functions:" not in wrapper.render(bare, Caps(grammar=True)).text
    assert len(rendered) == 4


def test_a_template_that_tells_the_time_is_written_each_time():
    wrapper = of("{{ strftime_now('%f') }} " + PLAIN)
    texts = {wrapper.render(ask(), Caps()).text for _ in range(5)}
    assert len(texts) > 1
