"""The style of a chat template is found by what it writes, or said to be unknown."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from llmgate import resources
from llmgate.errors import ConfigError
from llmgate.styles import STYLES, style
from llmgate.types import ChatTemplate, ToolCall
from llmgate.wrappers.chat_template import ChatTemplateRenderer
from llmgate.wrappers.derivation import derive
from llmgate.wrappers.detection import detect, guess
from llmgate.wrappers.samples import SCHEMAS, Sample, read, samples_of
from llmgate.wrappers.writing import write_calls

FOLDER = os.environ.get("LLMGATE_CHAT_TEMPLATES")
OWN = Path(__file__).parent / "chat_templates"
REAL = sorted(Path(FOLDER).glob("*.jinja")) if FOLDER else []

# What the models' own templates say when a person reads them.
STYLE_OF = {
    "Apertus-8B-Instruct": "apertus",
    "Apriel-1.6-15b-Thinker-fixed": "apriel",
    "Bielik-11B-v3.0-Instruct": "hermes",
    "ByteDance-Seed-OSS": "seed",
    "Cohere2MoE": "command-r7b",
    "CohereForAI-c4ai-command-r-plus-tool_use": "command-r",
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": "command-r7b",
    "GLM-4.6": "glm",
    "GLM-4.7-Flash": "glm",
    "GigaChat3-10B-A1.8B": "gigachat",
    "GigaChat3.1-10B-A1.8B": "gigachat",
    "HuggingFaceTB-SmolLM3-3B": None,
    "Kimi-K2-Instruct": "kimi-k2",
    "Kimi-K2-Thinking": "kimi-k2",
    "Kimi-K3": "kimi-k3",
    "LFM2-8B-A1B": "lfm2",
    "LFM2.5-8B-A1B": "lfm2",
    "LFM2.5-Instruct": "lfm2",
    "MiMo-VL": "hermes",
    "MiniMax-M1": "minimax-m1",
    "MiniMax-M2": "minimax",
    "Mistral-Small-3.2-24B-Instruct-2506": "mistral-named",
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": "qwen-coder",
    "NVIDIA-Nemotron-Nano-v2": "nemotron",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": "hermes",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": "hermes",
    "Qwen-QwQ-32B": "hermes",
    "Qwen-Qwen2.5-7B-Instruct": "hermes",
    "Qwen-Qwen3-0.6B": "hermes",
    "Qwen3-Coder": "qwen-coder",
    "Qwen3.5-4B": "qwen-coder",
    "Reka-Edge": "hermes",
    "Spark2.5": "glm",
    "StepFun3.5-Flash": "qwen-coder",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": "deepseek-v3",
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": "deepseek-v3",
    "deepseek-ai-DeepSeek-V3.1": "deepseek-v3.1",
    "deepseek-ai-DeepSeek-V3.2": "deepseek-v3.2",
    "deepseek-ai-DeepSeek-V4-Flash-0731": "deepseek-v4",
    "deepseek-ai-DeepSeek-V4": "deepseek-v4",
    "fireworks-ai-llama-3-firefunction-v2": "firefunction",
    "google-gemma-2-2b-it": None,
    "google-gemma-4-31B-it-interleaved": "gemma",
    "google-gemma-4-31B-it": "gemma",
    "ibm-granite-granite-3.3-2B-Instruct": "granite",
    "ibm-granite-granite-4.0": "hermes",
    "ibm-granite-granite-4.1": "hermes",
    "inclusionai-ling-3.0-flash": "glm",
    "llama-cpp-deepseek-r1": "deepseek-v3",
    "llama-cpp-rwkv-world": None,
    "meetkai-functionary-medium-v3.1": "functionary-v3.1",
    "meetkai-functionary-medium-v3.2": "functionary-v3.2",
    "meta-llama-Llama-3.1-8B-Instruct": "llama3",
    "meta-llama-Llama-3.2-3B-Instruct": "llama3",
    "meta-llama-Llama-3.3-70B-Instruct": "llama3",
    "microsoft-Phi-3.5-mini-instruct": None,
    "mistralai-Ministral-3-14B-Reasoning-2512": "mistral-named",
    "mistralai-Mistral-Nemo-Instruct-2407": "mistral",
    "moonshotai-Kimi-K2": "kimi-k2",
    "muse-glimmer": "atem",
    "openai-gpt-oss-120b": "harmony",
    "openbmb-MiniCPM5-1B": "minicpm",
    "poolside-Laguna-S-2.1": "glm",
    "poolside-Laguna-XS-2.1": "glm",
    "poolside-Laguna-XS.2": "glm",
    "tencent-Hy3": "hunyuan",
    "unsloth-Apriel-1.5": "apriel",
    "unsloth-mistral-Devstral-Small-2507": "mistral-named",
    "upstage-Solar-Open-100B": "solar",
}


def own(name):
    text = (OWN / f"{name}.jinja").read_text(encoding="utf-8")
    return ChatTemplate(text, "<s>", "</s>")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("tagged", "hermes"), ("single", "llama3"), ("strict", "mistral"), ("plain", None)],
)
def test_a_known_style_is_found_by_what_a_template_writes(name, expected):
    found = detect(own(name))
    assert (found.style and found.style.name) == expected
    assert found.why.endswith(".")


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_the_styles_of_real_templates_are_found_or_unknown(path):
    found = detect(ChatTemplate(path.read_text(encoding="utf-8"), "<BOS>", "<EOS>"))
    assert found.why
    if path.stem in STYLE_OF:
        assert (found.style and found.style.name) == STYLE_OF[path.stem], found.why


def chatml(turn, tools=""):
    """A template whose turns with calls are written by `turn`."""
    return ChatTemplate(
        "{% if tools %}<|tools|>{{ tools | tojson }}" + tools + "<|end|>\n{% endif %}"
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
        "{% if m.tool_calls %}" + turn + "{% endif %}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )


EACH = "{% for c in m.tool_calls %}{% set f = c.function %}{}{% endfor %}"
ARGUMENTS = "{{ f.arguments | tojson }}"


def each(text, between=""):
    joined = "{{ '" + between + "' if not loop.last }}" if between else ""
    return EACH.replace("{}", text + joined)


DERIVED = {
    "an object in tags": each(
        '<|do|>{"tool": "{{ f.name }}", "args": ' + ARGUMENTS + "}<|done|>"
    ),
    "a list in tags": "<calls>["
    + each('{"tool": "{{ f.name }}", "input": ' + ARGUMENTS + "}", ", ")
    + "]</calls>",
    "the name as key": "<calls>["
    + each('{"{{ f.name }}": ' + ARGUMENTS + "}", ", ")
    + "]</calls>",
    "a name and JSON": each("<use {{ f.name }}>" + ARGUMENTS + "</use>"),
    "an identifier": each("<use {{ f.name }} id={{ c.id }}>" + ARGUMENTS + "</use>"),
    "a number": each("<use {{ f.name }} no={{ loop.index }}>" + ARGUMENTS + "</use>"),
    "arguments of their own": "<do>"
    + each(
        "<run {{ f.name }}>{% for k, v in f.arguments | items %}"
        "<set {{ k }}>{{ v }}</set>{% endfor %}</run>"
    )
    + "</do>",
    "arguments with types": each(
        "<run {{ f.name }}>{% for k, v in f.arguments | items %}"
        '<set {{ k }} type="{{ "string" if v is string else "integer" }}">{{ v }}</set>'
        "{% endfor %}</run>"
    ),
    "Python": "<|py|>["
    + each(
        "{{ f.name }}({% for k, v in f.arguments | items %}{{ k }}={{ v | tojson }}"
        "{{ ', ' if not loop.last }}{% endfor %})",
        ", ",
    )
    + "]<|/py|>",
}  # fmt: skip


@pytest.mark.parametrize("turn", DERIVED.values(), ids=DERIVED.keys())
def test_an_unknown_way_of_writing_calls_becomes_a_style(turn):
    template = chatml(turn)
    found = detect(template)
    assert found.style is not None
    assert found.style.name == "derived"
    assert found.style.name not in STYLES
    arguments = json.dumps({"zq_text": 'a "b", <c>\n[d]', "zq_number": 12})
    calls = (ToolCall("a", "zq_function", arguments), ToolCall("b", "zq_other", "{}"))
    text = write_calls(found.style, calls, SCHEMAS)
    assert read(found.style, Sample(calls, text)) == 0
    renderer = ChatTemplateRenderer(template)
    for sample in samples_of(renderer.prober, renderer.abilities):
        assert read(found.style, sample.answer) is not None


def test_derived_styles_say_what_the_rows_say():
    """Where a template's calls are in a known style, its own text tells the same marks."""
    for name in ("tagged", "strict", "single"):
        template = own(name)
        renderer = ChatTemplateRenderer(template)
        samples = samples_of(renderer.prober, renderer.abilities)
        known, made = detect(template).style, derive(samples)
        assert known is not None
        assert made is not None
        call = samples[0].calls
        squeezed = [
            "".join(write_calls(s, call, SCHEMAS).split()).replace("call_zqone", "ID")
            for s in (known, made)
        ]
        assert squeezed[0] == squeezed[1]


def test_marks_that_no_style_can_say_are_unknown():
    turn = each("<{{ f.name }}>{% for k, v in f.arguments | items %}<{{ k }}>{{ v }}</{{ k }}>"
                "{% endfor %}</{{ f.name }}>")  # fmt: skip
    found = detect(chatml(turn))
    assert found.style is None
    assert "unknown way" in found.why
    assert "<zq_text>zqvalue</zq_text>" in found.why


def test_what_a_template_tells_the_model_is_the_next_sign():
    told = 'Answer in <tool_call> with {\\"name\\": ..., \\"arguments\\": ...} </tool_call>'
    template = "{% if tools %}{{ tools | tojson }}{% endif %}" + told.replace("\\", "")
    template += "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    found = detect(ChatTemplate(template))
    assert found.style == style("hermes")
    assert "tells the model" in found.why


def test_tools_that_are_listed_and_nothing_else_leave_the_style_unknown():
    template = "{{ tools | tojson }}{% for m in messages %}{{ m.content }}\n{% endfor %}"
    found = detect(ChatTemplate(template))
    assert found.style is None
    assert "lists tools" in found.why


@pytest.mark.parametrize(
    ("turn", "pairs"),
    [
        ("<think>{{ m.reasoning_content }}</think>", (("<think>", "</think>"),)),
        ("[THINK]{{ m.reasoning }}[/THINK]", (("[THINK]", "[/THINK]"),)),
        ("<muse>{{ m.thinking }}</muse>", (("<muse>", "</muse>"),)),
        ("", ()),
    ],
)
def test_the_marks_around_thoughts_are_found(turn, pairs):
    template = "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}" + turn
    template += "{% endif %}{{ m.content }}<|end|>{% endfor %}"
    found = detect(ChatTemplate(template))
    assert found.reasoning == pairs
    assert found.stop == ("<|end|>",)


def test_thoughts_that_the_prompt_begins_are_found():
    assert detect(own("typed")).reasoning == (("<think>", "</think>"),)


def test_a_style_is_found_by_the_templates_variant_for_tools():
    with_tools = own("tagged").text
    found = detect(ChatTemplate(own("plain").text, tools=with_tools))
    assert found.style == style("hermes")


def test_a_template_that_is_none_is_an_error():
    with pytest.raises(ConfigError, match="error in line 1"):
        detect(ChatTemplate("{% if %}"))


@pytest.mark.parametrize("name", sorted(STYLES))
def test_every_style_reads_back_what_it_writes(name):
    found = STYLES[name]
    if found.arguments == "parameters" and found.parameter == ("", "", ""):
        pytest.fail("a style without marks for its parameters")
    one = ToolCall("call00001", "zq_function", '{"zq_text": "a", "zq_number": 1}')
    two = msgspec.structs.replace(one, id="call00002", name="zq_other")
    for calls in ((one,), (one, two)):
        if found.bare and len(calls) > 1:
            continue
        assert read(found, Sample(calls, write_calls(found, calls, SCHEMAS))) is not None


@pytest.mark.parametrize(
    ("model", "wrapper", "words"),
    [
        ("NousResearch/Hermes-2-Pro.gguf", "chatml", "'hermes'"),
        ("/models/zephyr-7b-beta.Q4_K_M.gguf", "zephyr", "'zephyr'"),
        ("dolphin-2.1-mistral-7b", "dolphin", "'dolphin'"),
        ("something", "chatml", "nothing is known"),
    ],
)
def test_a_models_name_is_the_last_thing_to_go_by(model, wrapper, words):
    found, why = guess(model)
    assert found == wrapper
    assert words in why
    assert found in resources.names("templates")
