"""Wrappers that a file of marks describes, and the one for summaries."""

from __future__ import annotations

import json

import pytest

from llmgate.errors import ConfigError
from llmgate.types import Message, Request, Tool, ToolCall
from llmgate.wrappers import configured
from llmgate.wrappers.configured import source
from llmgate.wrappers.template import Template

HELLO = (Message("system", "Be brief"), Message("user", "Hi"))
LONGER = (*HELLO, Message("assistant", "Yes?"), Message("user", " Go on "))
CALLED = (
    Message("user", "Ask"),
    Message("assistant", tool_calls=(ToolCall("1", "clock", "{}"),)),
    Message("tool", "12:00", tool_call_id="1"),
)
LLAMA2 = {
    "pre_prompt": "<s>",
    "system": {"start": "<<SYS>>\n", "end": "\n<</SYS>>\n\n"},
    "user": {"start": "[INST] ", "end": " [/INST]"},
    "assistant": {"start": " ", "end": " </s><s>"},
    "system_in_first_user_message": True,
    "strip": True,
}
CHATML = {
    "sys_prompt_start": "<|im_start|>system\n",
    "sys_prompt_end": "<|im_end|>\n",
    "user_prompt_start": "<|im_start|>user\n",
    "user_prompt_end": "<|im_end|>\n",
    "assistant_prompt_start": "<|im_start|>assistant\n",
    "assistant_prompt_end": "<|im_end|>\n",
    "tool_prompt_start": "<|im_start|>tool\n",
    "tool_prompt_end": "<|im_end|>\n",
    "assistant_prefix_extra": '\n{\n  "function":',
    "assistant_prefix_extra_first_message": '\n{\n  "function": "send_message",',
    "allow_custom_roles": True,
    "custom_roles_prompt_start": "<|im_start|>",
    "custom_post_role": "\n",
    "custom_roles_prompt_end": "<|im_end|>\n",
    "include_sys_prompt_in_first_user_message": False,
    "default_stop_sequences": ["<|im_end|>", "<|im_start|>"],
    "simplify_json_content": True,
    "strip_prompt": True,
    "json_indent": 0,
    "clean_function_args": True,
    "post_prompt": None,
}


def written(data, messages, appendix="", prefill="", **options):
    return Template("mine", source(data), options).write(
        Request("m", tuple(messages)), appendix, prefill
    )


def test_the_system_text_can_stand_in_the_first_user_message():
    assert written(LLAMA2, LONGER, "Functions:") == (
        "<s>[INST] <<SYS>>\nBe brief\nFunctions:\n<</SYS>>\n\nHi [/INST] Yes? </s><s>"
        "[INST] Go on [/INST] "
    )
    only = written(LLAMA2, (Message("system", "Be brief"),))
    assert only == "<s>[INST] <<SYS>>\nBe brief\n<</SYS>>\n\n [/INST] "
    before = written(LLAMA2, (Message("system", "S"), Message("assistant", "A")))
    assert before == "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\n [/INST] A </s><s> "


def test_stops_are_the_marks_of_turns_if_none_are_given():
    assert Template("mine", source(LLAMA2)).spec.stop == ("</s>", "[INST]")


def test_the_first_answer_can_be_begun_in_another_way():
    data = {**LLAMA2, "answer_prefix": "A:", "first_message_prefix": "First:"}
    assert written(data, HELLO).endswith("[/INST] First:")
    assert written(data, LONGER).endswith("[/INST] A:")
    assert written({**LLAMA2, "answer_prefix": "A:"}, HELLO).endswith("[/INST] A:")


def test_a_post_prompt_stands_before_the_answer():
    assert written({**LLAMA2, "post_prompt": "(now)"}, HELLO).endswith("[/INST](now) ")


def test_files_of_the_old_wrapper_are_understood():
    template = Template("mine", source(CHATML))
    assert template.spec.stop == ("<|im_end|>", "<|im_start|>")
    # What begins a call is written where a call is forced, and its reader knows it.
    assert template.spec.prefill == "key"
    assert template.options.json_content == "simplified"
    assert template.options.indent == 0
    named = (Message("user", "Hello", name="Bob"), *CALLED[1:])
    assert written(CHATML, named) == (
        "<|im_start|>bob\nHello<|im_end|>\n"
        '<|im_start|>assistant\n{"function": "clock", "params": {}}<|im_end|>\n'
        "<|im_start|>tool\n12:00<|im_end|>\n<|im_start|>assistant\n"
    )


def test_results_without_a_role_of_their_own_are_said_by_the_assistant():
    text = written(LLAMA2, CALLED)
    assert " FUNCTION RETURN: 12:00 </s><s>" in text
    text = written({**LLAMA2, "tool_prefix": "RESULT "}, CALLED)
    assert " RESULT 12:00 </s><s>" in text


def test_a_prefill_stands_behind_the_prefix():
    assert written(LLAMA2, HELLO, prefill="{").endswith("[/INST] {")


def test_style_indent_and_options_are_the_templates_defaults():
    data = {**LLAMA2, "style": "hermes", "options": {"function_list": "json"}}
    template = Template("mine", source(data))
    assert template.style.name == "hermes"
    assert template.options.function_list == "json"
    assert "<tool_call>" in written(data, CALLED)
    assert Template("mine", source(data), {"style": "auto"}).style.name == "json"


def test_texts_of_any_kind_survive():
    odd = '#} "quoted" \\ {{ x }} {% if %} \x7f ß\n+++ -#}'
    text = written({"user_start": odd, "assistant_start": "A"}, (Message("user", "Hi"),))
    assert text == f"{odd}HiA"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"user_strat": "x"}, "Did you mean 'user_start'"),
        ({"user": {"begin": "x"}}, "unknown key 'user_begin'"),
        ({"user_start": 3}, "user_start: Expected `?str"),
        ({"user_start": "x", "indent": 9}, "indent"),
        ({"user_start": "x", "stop": "y"}, "stop: Expected"),
        ({}, "nothing is said"),
        ({"user_start": "x", "custom_roles": True}, "custom_role_start"),
        (["a"], "no table"),
    ],
)
def test_a_file_that_can_not_be_used_says_why(data, message):
    with pytest.raises(ConfigError, match=message):
        source(data)


def test_unknown_options_are_found_when_the_template_is_made():
    with pytest.raises(ConfigError, match="no call style"):
        Template("mine", source({**LLAMA2, "style": "hermse"}))


def test_files_are_found_in_the_users_folder(tmp_path):
    folder = tmp_path / "wrappers"
    folder.mkdir()
    (folder / "mine.toml").write_text('[user]\nstart = "U:"\n[assistant]\nstart = "A:"\n')
    (folder / "other.yaml").write_text(json.dumps(CHATML))
    (folder / "note.txt").write_text("not one")
    assert configured.names(tmp_path) == ["mine", "other"]
    text = configured.read("mine", tmp_path)
    assert text is not None
    assert Template("mine", text).write(Request("m", HELLO[1:]), "", "") == "U:HiA:"
    for name in ("nothing", "../mine", "", ".mine", "note"):
        assert configured.read(name, tmp_path) is None
    assert configured.names(None) == []
    assert configured.names(tmp_path / "empty") == []
    assert configured.read("mine", None) is None


def test_yaml_says_the_same(tmp_path):
    folder = tmp_path / "wrappers"
    folder.mkdir()
    (folder / "mine.yml").write_text('user_start: "U:"\nassistant_start: "A:"\npost_prompt:\n')
    text = configured.read("mine", tmp_path)
    assert text is not None
    assert Template("mine", text).write(Request("m", HELLO[1:]), "", "") == "U:HiA:"
    (folder / "mine.yml").write_text("a: [b")
    with pytest.raises(ConfigError, match=r"mine\.yml: is not valid YAML"):
        configured.read("mine", tmp_path)


def test_errors_name_the_file(tmp_path):
    (tmp_path / "wrappers").mkdir()
    file = tmp_path / "wrappers" / "mine.toml"
    file.write_text("a = ")
    with pytest.raises(ConfigError, match=r"mine\.toml: is not valid TOML"):
        configured.read("mine", tmp_path)
    file.write_text('user_strat = "x"')
    with pytest.raises(ConfigError, match=r"mine\.toml: unknown key 'user_strat'"):
        configured.read("mine", tmp_path)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"mine\.toml: can't be read"):
        configured.read("mine", tmp_path)


def test_the_summary_wrapper_asks_for_words():
    template = Template.load("summary")
    packaged = Message("user", '{"type": "user_message", "message": "Hello", "time": "9"}')
    text = template.write(Request("m", (HELLO[0], packaged)), "", "")
    head, _, end = text.partition("\n### RESPONSE (")
    assert head == "Be brief\n### INPUT\nUSER: Hello"
    assert end.endswith(")\nSUMMARY:")
    assert "plain English" in end
    assert "JSON" in end
    plain = Template.load("summary", options={"section_separators": False, "instruction": "Brief."})
    shown = plain.write(Request("m", HELLO), "", "")
    assert shown == "Be brief\nUSER: Hi\n(Brief.)\nSUMMARY:"


def test_the_summary_wrapper_does_not_forbid_calls_where_there_are_functions():
    request = Request("m", HELLO, tools=(Tool("clock"),))
    text = Template.load("summary").write(request, "Functions: clock", "")
    assert "### RESPONSE\nSUMMARY:" in text
    assert "No JSON" not in text
